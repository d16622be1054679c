"""Probes are a fair, repeatable draw; the bound holds as often as it says."""

import numpy as np
import pytest

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.audit import choose_probes, missed_share
from neuroconn.inference.frontier import Frontier
from neuroconn.inference.verdict import Verdict

GRID = ChunkGrid((4, 5, 6), (1, 1, 1))


def finished() -> Frontier:
    mask = np.zeros(GRID.counts, bool)
    mask[3] = True
    frontier = Frontier(GRID, [(0, 0, 0)], mask=mask)
    frontier.take(1)
    frontier.record((0, 0, 0), Verdict(False, 0, 0, 0))
    return frontier


def test_probes_are_unexplored_distinct_and_the_same_again() -> None:
    frontier = finished()
    probes = choose_probes(frontier, 20, "run")
    assert len(set(probes)) == 20
    assert set(probes) <= set(frontier.chunks("unexplored"))
    assert choose_probes(finished(), 20, "run") == probes
    assert choose_probes(finished(), 20, "another run") != probes
    assert choose_probes(frontier, 30, "run")[:20] == probes


def test_a_small_rest_is_probed_whole() -> None:
    frontier = finished()
    assert set(choose_probes(frontier, 10**6, "run")) == set(frontier.chunks("unexplored"))


def test_every_unexplored_chunk_is_drawn_equally_often() -> None:
    frontier = finished()
    drawn = [c for k in range(400) for c in choose_probes(frontier, 5, f"run {k}")]
    counts = [drawn.count(c) for c in frontier.chunks("unexplored")]
    assert np.mean(counts) == pytest.approx(400 * 5 / 89)
    assert max(counts) < 3 * np.mean(counts)


def test_without_a_hit_the_bound_is_three_over_n() -> None:
    for n in (10, 100, 3000):
        assert missed_share(0, n) == pytest.approx(1 - 0.05 ** (1 / n))


def test_the_bound_is_broken_at_most_as_often_as_it_admits() -> None:
    rng = np.random.default_rng(0)
    for share in (0.005, 0.02, 0.3):
        hits = rng.binomial(200, share, 4000).tolist()
        below = np.mean([missed_share(h, 200) < share for h in hits])
        assert below <= 0.06


def test_impossible_counts_are_refused() -> None:
    assert missed_share(3, 3) == missed_share(0, 0) == 1.0
    with pytest.raises(ValueError, match="cannot be"):
        missed_share(4, 3)
    with pytest.raises(ValueError, match="confidence"):
        missed_share(0, 3, confidence=1.0)
