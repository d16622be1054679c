"""Probes are a fair, repeatable draw; the bound holds as often as it says."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.config.infer import AuditSettings
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.audit import Round, conclude, draw, is_due, missed_share
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.verdict import Verdict

GRID = ChunkGrid((4, 5, 6), (1, 1, 1))
SETTINGS = AuditSettings(probes=12, directed=5, share=1)
SCORES = np.random.default_rng(0).random(GRID.counts).astype(np.float32)


def finished(grid: ChunkGrid = GRID, seeds: int = 20) -> Frontier:
    """A walk that has closed over its first chunks; the last layer is masked."""
    mask = np.zeros(grid.counts, bool)
    mask[-1] = True
    frontier = Frontier(grid, list(grid)[:seeds], mask=mask)
    settle(frontier, set())
    return frontier


def settle(frontier: Frontier, neurite: set[ZYX], failed: frozenset[ZYX] = frozenset()) -> None:
    """Run what is queued; no verdict opens anything."""
    for index in frontier.take(10**6):
        if index in failed:
            frontier.fail(index)
        else:
            frontier.record(index, Verdict(index in neurite, 0, 0, 0))


def rounds_of(
    frontier: Frontier, neurite: set[ZYX], settings: AuditSettings, run: str
) -> list[Round]:
    """Audit until nothing is due."""
    rounds: list[Round] = []
    scores = np.zeros(frontier.grid.counts, np.float32)
    while is_due(rounds, frontier, settings):
        rounds.append(draw(frontier, scores, settings, run, len(rounds) + 1))
        frontier.add_probes(rounds[-1].probes)
        settle(frontier, neurite)
    return rounds


def test_probes_are_unexplored_distinct_and_the_same_again() -> None:
    frontier = finished()

    chosen = draw(frontier, SCORES, SETTINGS, "run", 1)

    assert len(set(chosen.probes)) == len(chosen.probes) == 12 + 5
    assert set(chosen.probes) <= set(frontier.chunks("unexplored"))
    assert draw(finished(), SCORES, SETTINGS, "run", 1) == chosen
    assert draw(frontier, SCORES, SETTINGS, "another run", 1).random != chosen.random
    assert draw(frontier, SCORES, SETTINGS, "run", 2).random != chosen.random


def test_directed_probes_have_the_highest_scores_and_do_not_touch() -> None:
    frontier = finished()

    chosen = draw(frontier, SCORES, SETTINGS, "run", 1).directed

    best = max(frontier.chunks("unexplored"), key=lambda index: SCORES[index])
    assert chosen[0] == best
    for index in chosen:
        assert not set(GRID.neighbours(index)) & set(chosen)


def test_random_probes_are_one_from_each_share_of_the_rest() -> None:
    frontier = finished()

    chosen = draw(frontier, SCORES, SETTINGS, "run", 1)

    rest = sorted(
        set(frontier.chunks("unexplored")) - set(chosen.directed), key=lambda i: SCORES[i]
    )
    assert chosen.pool == len(rest)
    assert len(chosen.random) == 12
    for k, index in enumerate(chosen.random):
        assert k * len(rest) // 12 <= rest.index(index) < (k + 1) * len(rest) // 12


def test_every_chunk_of_the_pool_is_drawn_equally_often() -> None:
    frontier = finished()
    settings = AuditSettings(probes=5, directed=0, share=1)

    drawn = [c for k in range(400) for c in draw(frontier, SCORES, settings, f"{k}", 1).random]

    counts = [drawn.count(c) for c in frontier.chunks("unexplored")]
    assert np.mean(counts) == pytest.approx(400 * 5 / 70)
    assert max(counts) < 2 * np.mean(counts)


def test_an_audit_costs_a_small_share_of_what_it_audits() -> None:
    grid = ChunkGrid((10, 20, 30), (1, 1, 1))
    scores = np.random.default_rng(0).random(grid.counts)
    settings = AuditSettings(probes=500, directed=400, share=0.1)

    chosen = draw(finished(grid, seeds=2000), scores, settings, "run", 1)
    few = draw(finished(grid, seeds=3), scores, settings, "run", 1)

    assert (len(chosen.random), len(chosen.directed)) == (200, 200)
    assert (len(few.random), len(few.directed)) == (20, 20)


def test_a_small_rest_is_probed_whole_and_then_nothing_is_left_to_bound() -> None:
    frontier = finished(seeds=60)
    settings = AuditSettings(probes=10**6, share=1, directed=0)

    audit = conclude(rounds_of(frontier, set(), settings, "run"), frontier, 0.95)

    assert audit is not None
    assert audit.probes == 30
    assert (audit.unexplored, audit.missed, audit.share) == (0, 0, 0.0)
    assert "no chunk is left unexplored" in str(audit)


def test_there_is_another_round_only_after_a_hit_and_never_too_many() -> None:
    frontier = finished()
    everything = set(GRID)
    assert is_due([], frontier, SETTINGS)
    assert not is_due([], frontier, AuditSettings(probes=0))

    assert len(rounds_of(finished(), set(), SETTINGS, "run")) == 1
    assert len(rounds_of(finished(), everything, SETTINGS, "run")) > 1
    two = SETTINGS.model_copy(update={"rounds": 2})
    assert len(rounds_of(finished(), everything, two, "run")) == 2


def test_whoever_asks_for_more_probes_gets_another_round() -> None:
    frontier = finished()
    rounds = rounds_of(frontier, set(), SETTINGS, "run")

    assert not is_due(rounds, frontier, SETTINGS)
    assert is_due(rounds, frontier, SETTINGS.model_copy(update={"probes": 13}))


def test_nothing_is_due_where_nothing_is_unexplored() -> None:
    frontier = Frontier(GRID, GRID)
    settle(frontier, set())

    assert not is_due([], frontier, SETTINGS)
    assert conclude([], frontier, 0.95) is None


def test_a_round_survives_its_way_through_a_file() -> None:
    chosen = draw(finished(), SCORES, SETTINGS, "run", 1)

    assert Round.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_without_a_hit_the_bound_is_three_over_n() -> None:
    for n in (10, 100, 3000):
        assert missed_share(0, n) == pytest.approx(1 - 0.05 ** (1 / n))


def test_the_bound_is_broken_at_most_as_often_as_it_admits() -> None:
    rng = np.random.default_rng(0)
    for share in (0.005, 0.02, 0.3):
        hits = rng.binomial(200, share, 4000).tolist()
        below = np.mean([missed_share(h, 200) < share for h in hits])
        assert below <= 0.06


@pytest.mark.parametrize("share", [0.005, 0.03, 0.2])
def test_what_an_audit_states_holds_in_95_of_100_runs(share: float) -> None:
    """Whatever the rounds find: chunks with neurite that are unexplored at the end, bounded."""
    grid = ChunkGrid((10, 15, 20), (1, 1, 1))
    settings = AuditSettings(probes=40, directed=0, share=1, rounds=3)
    broken = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        neurite = {i for i, there in zip(grid, rng.random(len(grid)) < share, strict=True) if there}
        frontier = finished(grid, seeds=300)

        audit = conclude(rounds_of(frontier, neurite, settings, f"{trial}"), frontier, 0.95)

        assert audit is not None
        left = neurite & set(frontier.chunks("unexplored"))
        broken += len(left) > audit.missed
    assert broken <= 10


def test_what_the_walk_finds_after_the_probes_is_taken_off_the_bound() -> None:
    frontier = finished()
    rounds = rounds_of(frontier, set(), SETTINGS, "run")
    before = conclude(rounds, frontier, 0.95)
    more = list(frontier.chunks("unexplored"))[:4]

    frontier.add_seeds(more)
    settle(frontier, set(more))
    after = conclude(rounds, frontier, 0.95)

    assert before is not None
    assert after is not None
    assert after.missed == before.missed - 4
    assert after.found == 4


def test_a_probe_that_failed_may_have_been_a_hit() -> None:
    audits = []
    for failed in (False, True):
        frontier = finished()
        chosen = draw(frontier, SCORES, SETTINGS, "run", 1)
        frontier.add_probes(chosen.probes)
        settle(frontier, set(), frozenset(chosen.random[:3] if failed else ()))
        audits.append(conclude([chosen], frontier, 0.95))

    calm, unsure = audits
    assert calm is not None
    assert unsure is not None
    assert unsure.missed > calm.missed
    assert unsure.hits == 0


@given(st.integers(0, 30), st.integers(1, 30), st.floats(0.5, 0.999))
def test_more_hits_more_confidence_or_fewer_probes_never_lower_the_bound(
    hits: int, probes: int, confidence: float
) -> None:
    if hits >= probes:
        return
    bound = missed_share(hits, probes, confidence=confidence)
    assert bound <= missed_share(hits + 1, probes, confidence=confidence)
    assert bound >= missed_share(hits, probes + 1, confidence=confidence)
    assert bound >= hits / probes


def test_impossible_counts_are_refused() -> None:
    assert missed_share(3, 3) == missed_share(0, 0) == 1.0
    with pytest.raises(ValueError, match="cannot be"):
        missed_share(4, 3)
    with pytest.raises(ValueError, match="confidence"):
        missed_share(0, 3, confidence=1.0)


def test_the_audit_says_it_in_one_sentence() -> None:
    frontier = finished()
    audit = conclude(rounds_of(frontier, set(), SETTINGS, "run"), frontier, 0.95)

    assert str(audit).startswith("at most ")
    assert "unexplored chunks hold neurite (95 % confidence); 0 of 17 probes in 1 round" in str(
        audit
    )
