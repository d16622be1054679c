"""The visited set is one set, whatever the order, the window, the crashes and the duplicates."""

import random
from collections.abc import Callable
from itertools import product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.geometry import DIRECTIONS, ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import NAMES, Frontier
from neuroconn.inference.verdict import Verdict

ALL = (1 << 26) - 1
Field = dict[ZYX, Verdict]


def bits(*chosen: ZYX) -> int:
    return sum(1 << DIRECTIONS.index(d) for d in chosen)


def cells(*counts: int) -> ChunkGrid:
    z, y, x = counts
    return ChunkGrid((z, y, x), (1, 1, 1))


def random_field(grid: ChunkGrid, rng: random.Random, density: float) -> Field:
    """A verdict for every chunk, decided before any walk, as a pure function would."""
    field = {}
    for index in grid:
        strong = sum(1 << k for k in range(26) if rng.random() < density)
        weak = strong | sum(1 << k for k in range(26) if rng.random() < 0.3)
        neurite = rng.random() < 0.4
        field[index] = Verdict(neurite, strong, weak if neurite else ALL, rng.randrange(100))
    return field


def neighbours(grid: ChunkGrid, index: ZYX, mask: int) -> list[ZYX]:
    z, y, x = index
    moved = [(z + a, y + b, x + c) for k, (a, b, c) in enumerate(DIRECTIONS) if mask >> k & 1]
    return [n for n in moved if n in grid]


def oracle(
    grid: ChunkGrid,
    field: Field,
    seeds: set[ZYX],
    bridge: int = 0,
    masked: frozenset[ZYX] = frozenset(),
    failed: frozenset[ZYX] = frozenset(),
    through: str = "all",
) -> set[ZYX]:
    """Relax every budget until nothing changes: the equations of the closure, word by word."""
    incoming = {c: bridge for c in seeds if c not in masked}
    changed = True
    while changed:
        changed = False
        for c in list(incoming):
            verdict = field[c]
            if c in failed:
                verdict = Verdict(False, 0, 0 if through == "none" else ALL, 0)
            budget = bridge if verdict.neurite else incoming[c]
            offers = [(n, bridge) for n in neighbours(grid, c, verdict.strong)]
            if c in failed and through == "all" and budget == bridge:
                offers += [(n, budget) for n in neighbours(grid, c, verdict.weak)]
            if budget >= 1:
                offers += [(n, budget - 1) for n in neighbours(grid, c, verdict.weak)]
            for n, offer in offers:
                if n not in masked and offer > incoming.get(n, -1):
                    incoming[n] = offer
                    changed = True
    return set(incoming)


def visited(frontier: Frontier) -> set[ZYX]:
    return {c for name in ("neurite", "empty", "failed") for c in frontier.chunks(name)}


def walk(
    frontier: Frontier,
    field: Field,
    rng: random.Random,
    *,
    window: int = 1,
    repeats: float = 0.0,
    failed: frozenset[ZYX] = frozenset(),
    stop: Callable[[], bool] = lambda: False,
    log: list[ZYX] | None = None,
) -> list[ZYX]:
    """Run a walk with chunks completing in random order; returns what was executed."""
    out: list[ZYX] = []
    executed: list[ZYX] = []
    while not frontier.done and not stop():
        out += frontier.take(window - len(out))
        index = out.pop(rng.randrange(len(out)))
        executed.append(index)
        if rng.random() < repeats and index not in failed:
            frontier.requeue(index)
        elif index in failed:
            frontier.fail(index)
        else:
            frontier.record(index, field[index])
            if log is not None:
                log.append(index)
            if rng.random() < repeats:
                assert frontier.record(index, field[index]) == []
    return executed


@pytest.mark.parametrize("block", range(8))
def test_every_schedule_visits_the_closure(block: int) -> None:
    for number in range(block * 150, block * 150 + 150):
        rng = random.Random(number)
        grid = cells(*(rng.randint(1, 5) for _ in range(3)))
        field = random_field(grid, rng, rng.choice([0.02, 0.05, 0.1]))
        seeds = set(rng.sample(list(grid), k=min(2, len(grid))))
        bridge = number % 4
        want = oracle(grid, field, seeds, bridge)

        for window, repeats in ((1, 0.0), (3, 0.2), (64, 0.3)):
            frontier = Frontier(grid, rng.sample(sorted(seeds), len(seeds)), bridge=bridge)
            executed = walk(frontier, field, rng, window=window, repeats=repeats)

            assert visited(frontier) == want, number
            assert frontier.conflicts == []
            if not repeats:
                assert len(executed) == len(want)


def test_crashes_and_resumption_from_the_records_do_not_change_the_set() -> None:
    for number in range(300):
        rng = random.Random(number)
        grid = cells(4, 4, 4)
        field = random_field(grid, rng, 0.06)
        seeds = {(0, 0, 0), (3, 3, 3)}
        bridge = number % 3
        want = oracle(grid, field, seeds, bridge)
        journal: list[ZYX] = []
        executions = 0
        finished = False
        while not finished:
            frontier = Frontier(grid, seeds, bridge=bridge)
            for index in journal:
                frontier.record(index, field[index])
            rest = rng.randint(1, 10)
            stop = iter(range(rest))
            done = walk(
                frontier,
                field,
                rng,
                window=4,
                stop=lambda stop=stop: next(stop, None) is None,  # type: ignore[misc]
                log=journal,
            )
            executions += len(done)
            finished = frontier.done

        assert set(journal) == want
        assert executions == len(want), "a journalled chunk was computed again"


def test_the_order_of_records_on_resume_does_not_matter() -> None:
    for number in range(100):
        rng = random.Random(number)
        grid = cells(3, 4, 4)
        field = random_field(grid, rng, 0.06)
        first = Frontier(grid, [(0, 0, 0)], bridge=2)
        walk(first, field, rng)
        records = sorted(visited(first))
        rng.shuffle(records)

        again = Frontier(grid, [(0, 0, 0)], bridge=2)
        for index in records:
            again.record(index, field[index])

        assert again.done
        assert np.array_equal(again.state, first.state)


LINE = cells(1, 1, 6)
RIGHT, SIDES = bits((0, 0, 1)), bits((0, 0, 1), (0, 0, -1))
GAP = {
    (0, 0, x): Verdict(x in (0, 1, 3), RIGHT if x == 0 else 0, SIDES, 9 * (x in (0, 1, 3)))
    for x in range(6)
}


@pytest.mark.parametrize(("bridge", "reached"), [(0, 2), (1, 3), (2, 6)])
def test_a_bridge_crosses_as_many_empty_chunks_as_it_is_long(bridge: int, reached: int) -> None:
    frontier = Frontier(LINE, [(0, 0, 0)], bridge=bridge)

    executed = walk(frontier, GAP, random.Random(0))

    assert visited(frontier) == {(0, 0, x) for x in range(reached)}
    assert len(executed) == reached, "bridging infers no chunk twice"


def test_a_budget_raised_late_expands_from_the_cached_verdict() -> None:
    empty = {c: Verdict(False, 0, SIDES, 0) for c in LINE}
    frontier = Frontier(LINE, [(0, 0, 0)], bridge=2)
    walk(frontier, empty, random.Random(0))
    assert visited(frontier) == {(0, 0, 0), (0, 0, 1), (0, 0, 2)}

    # Nothing was left of the budget at (0, 0, 2); as a seed it has all of it, and (0, 0, 1) more.
    assert frontier.add_seeds([(0, 0, 2)]) == [(0, 0, 3)]
    assert walk(frontier, empty, random.Random(0)) == [(0, 0, 3), (0, 0, 4)]


def test_masked_chunks_are_never_handed_out() -> None:
    for number in range(100):
        rng = random.Random(number)
        grid = cells(3, 4, 4)
        field = random_field(grid, rng, 0.1)
        hidden = frozenset(rng.sample(list(grid), 12))
        mask = np.zeros(grid.counts, bool)
        for index in hidden:
            mask[index] = True
        frontier = Frontier(grid, [(0, 0, 0), (2, 3, 3)], bridge=number % 3, mask=mask)

        walk(frontier, field, rng, window=5)

        seeds = {(0, 0, 0), (2, 3, 3)}
        assert visited(frontier) == oracle(grid, field, seeds, number % 3, masked=hidden)
        assert frontier.counts()["masked"] == 12


@pytest.mark.parametrize("through", ["all", "bridge", "none"])
def test_the_policy_says_what_is_reached_across_failed_chunks(
    through: Literal["all", "bridge", "none"],
) -> None:
    for number in range(150):
        rng = random.Random(number)
        grid = cells(3, 4, 4)
        field = random_field(grid, rng, 0.08)
        failed = frozenset(rng.sample(list(grid), 8))
        frontier = Frontier(grid, [(1, 1, 1)], bridge=number % 3, through_failed=through)

        walk(frontier, field, rng, window=4, failed=failed)

        want = oracle(grid, field, {(1, 1, 1)}, number % 3, failed=failed, through=through)
        assert visited(frontier) == want
        assert frontier.counts()["failed"] == len(want & failed)


def test_a_fibre_goes_on_behind_a_failed_chunk_unless_told_otherwise() -> None:
    field = {c: Verdict(True, SIDES, SIDES, 5) for c in LINE}
    for through, reached in (("all", len(LINE)), ("bridge", 3), ("none", 3)):
        frontier = Frontier(LINE, [(0, 0, 0)], through_failed=through)  # type: ignore[arg-type]
        walk(frontier, field, random.Random(0), failed=frozenset({(0, 0, 2)}))
        assert len(visited(frontier)) == reached


def test_a_probe_opens_the_way_only_if_it_holds_something() -> None:
    field = {c: Verdict(c[2] == 4, SIDES if c[2] == 4 else 0, SIDES, 5) for c in LINE}
    frontier = Frontier(LINE, [(0, 0, 0)], bridge=1)
    walk(frontier, field, random.Random(0))
    before = visited(frontier)

    assert frontier.add_probes([(0, 0, 0), (0, 0, 3)]) == [(0, 0, 3)]
    walk(frontier, field, random.Random(0))
    assert visited(frontier) == before | {(0, 0, 3)}

    frontier.add_probes([(0, 0, 4)])
    walk(frontier, field, random.Random(0))
    assert visited(frontier) == set(LINE)


def test_a_probe_that_fails_opens_nothing() -> None:
    field = {c: Verdict(True, SIDES, SIDES, 5) for c in LINE}
    frontier = Frontier(LINE, [], bridge=1)
    frontier.add_probes([(0, 0, 3)])

    walk(frontier, field, random.Random(0), failed=frozenset({(0, 0, 3)}))

    assert visited(frontier) == {(0, 0, 3)}
    assert frontier.done


def test_a_failed_chunk_that_is_done_later_opens_what_it_would_have_opened() -> None:
    field = {c: Verdict(True, SIDES, SIDES, 5) for c in LINE}
    frontier = Frontier(LINE, [(0, 0, 0)], through_failed="none")
    walk(frontier, field, random.Random(0), failed=frozenset({(0, 0, 2)}))
    assert visited(frontier) == {(0, 0, 0), (0, 0, 1), (0, 0, 2)}

    frontier.requeue((0, 0, 2))
    assert not frontier.done
    walk(frontier, field, random.Random(0))

    assert visited(frontier) == set(LINE)
    assert frontier.counts()["failed"] == 0


def test_a_chunk_that_fails_when_repaired_is_failed_and_does_not_block_the_walk() -> None:
    frontier = Frontier(LINE, [(0, 0, 0)])
    walk(frontier, GAP, random.Random(0))
    frontier.requeue((0, 0, 0))
    assert frontier.take(1) == [(0, 0, 0)]

    frontier.fail((0, 0, 0))

    assert frontier.done
    assert frontier.counts()["failed"] == 1


def test_a_late_failure_does_not_undo_a_verdict() -> None:
    frontier = Frontier(LINE, [(0, 0, 0)])
    frontier.record((0, 0, 0), GAP[0, 0, 0])
    assert frontier.fail((0, 0, 0)) == []
    assert frontier.counts()["neurite"] == 1


def test_a_differing_second_verdict_is_reported_and_dropped() -> None:
    frontier = Frontier(LINE, [(0, 0, 0)])
    frontier.take(1)
    frontier.record((0, 0, 0), Verdict(True, 0, 0, 5))

    assert frontier.record((0, 0, 0), Verdict(True, RIGHT, RIGHT, 5)) == []

    assert frontier.conflicts == [(0, 0, 0)]
    assert frontier.done


def test_a_probe_counts_as_a_seed_only_if_it_hits() -> None:
    frontier = Frontier(LINE, [(0, 0, 0)], bridge=1)
    assert frontier.record((0, 0, 4), Verdict(False, 0, SIDES, 0)) == []
    assert frontier.record((0, 0, 5), Verdict(True, 0, SIDES, 7)) == []
    assert frontier.record((0, 0, 3), Verdict(True, 0, SIDES, 7)) == [(0, 0, 2)]


def test_more_evidence_goes_first_and_ties_in_order() -> None:
    grid = cells(1, 3, 5)
    frontier = Frontier(grid, [(0, 0, 0), (0, 2, 0)])
    frontier.take(2)
    frontier.record((0, 0, 0), Verdict(True, RIGHT, RIGHT, voxels=5))
    frontier.record((0, 2, 0), Verdict(True, RIGHT, RIGHT, voxels=50))
    frontier.add_seeds([(0, 1, 4), (0, 1, 3)])

    assert frontier.take(9) == [(0, 2, 1), (0, 0, 1), (0, 1, 4), (0, 1, 3)]


def test_requeue_hands_a_chunk_out_once_more() -> None:
    frontier = Frontier(LINE, [(0, 0, 0)])
    frontier.take(1)
    frontier.requeue((0, 0, 0))
    frontier.requeue((0, 0, 0))
    assert frontier.take(9) == [(0, 0, 0)]
    assert frontier.take(9) == []
    with pytest.raises(ValueError, match="unexplored and cannot be requeued"):
        frontier.requeue((0, 0, 1))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_counts_are_the_histogram_of_the_states(data: st.DataObject) -> None:
    grid = cells(2, 3, 3)
    frontier = Frontier(grid, [(0, 0, 0)], bridge=1)
    chunk = st.sampled_from(list(grid))
    for _ in range(data.draw(st.integers(0, 25))):
        index = data.draw(chunk)
        match data.draw(st.sampled_from(["take", "record", "fail", "requeue", "seed"])):
            case "take":
                frontier.take(data.draw(st.integers(0, 4)))
            case "record":
                frontier.record(index, Verdict(bool(sum(index) % 2), ALL, ALL, 3))
            case "fail":
                frontier.fail(index)
            case "requeue" if frontier.state[index] != 0:
                frontier.requeue(index)
            case "seed":
                frontier.add_seeds([index])
        held = np.bincount(frontier.state.ravel(), minlength=len(NAMES))
        assert frontier.counts() == dict(zip(NAMES, held.tolist(), strict=True))
    while not frontier.done:
        queued = frontier.counts()["queued"]
        assert len(frontier.take(100)) == queued
        for index in list(frontier.chunks("in_flight")):
            frontier.record(index, Verdict(False, 0, 0, 0))


def test_a_grid_of_ten_million_chunks_with_stale_entries_stays_small_and_quick() -> None:
    grid = cells(200, 200, 250)
    frontier = Frontier(grid, [(100, 100, 0)])
    ahead = bits(*product((0, 1), (0, 1), (1,)))
    fresh = [(100, 100, 0)]
    for _ in range(60):  # settles queued chunks without taking them, as a journal does
        fresh = [n for c in fresh[:400] for n in frontier.record(c, Verdict(True, ahead, ahead, 1))]
    assert frontier.counts()["unexplored"] > 9_900_000
    assert len(frontier.take(10**6)) == frontier.counts()["in_flight"] > 0


def test_the_grid_as_seeds_is_every_chunk_but_the_masked_ones() -> None:
    grid = cells(3, 4, 5)
    mask = np.zeros(grid.counts, bool)
    mask[1] = True
    whole = Frontier(grid, grid, bridge=1, mask=mask)
    single = Frontier(grid, list(grid), bridge=1, mask=mask)

    assert whole.counts() == single.counts()
    assert whole.take(99) == single.take(99) == [c for c in grid if c[0] != 1]
    assert whole.record((0, 0, 0), Verdict(True, ALL, ALL, 5)) == []
    assert len(Frontier(cells(200, 200, 250), cells(1, 1, 1)).take(2)) == 1


def test_a_seed_outside_the_grid_is_refused() -> None:
    with pytest.raises(IndexError, match="no chunk"):
        Frontier(LINE, [(0, 0, 6)])
    with pytest.raises(ValueError, match="between 0 and 254"):
        Frontier(LINE, [], bridge=255)
    with pytest.raises(ValueError, match="the mask has shape"):
        Frontier(LINE, [], mask=np.zeros((1, 1, 5), bool))
