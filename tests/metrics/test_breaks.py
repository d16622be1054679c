import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from slow_graphs import EMPTY, networkx_of, random_tree, row

from neuroconn.metrics import Breaks, breaks_at_faces, subdivide

seeds = st.integers(0, 2**32 - 1)
BIG = (10_000,) * 3


def ids_with_gaps(length: int, *gaps: range) -> np.ndarray:
    """One segment between any two gaps; an empty gap is a split before its start."""
    ids = np.ones(length + 1, int)
    for gap in gaps:
        ids[gap.stop :] += 1
    for gap in gaps:
        ids[gap.start : gap.stop] = 0
    return ids


def test_a_gap_at_a_face_and_one_elsewhere() -> None:
    ids = ids_with_gaps(100, range(48, 52), range(70, 80))

    found = breaks_at_faces(row(100), ids, chunk=(50, 50, 50), shape=(50, 50, 101), width=4)

    assert (found.at_faces, found.interior, found.crossings) == (1, 1, 2)
    # planes at 49.5 and 99.5; edges have their middles at 0.5, 1.5, ...
    assert (found.face_length, found.interior_length) == (9 + 5, 86)
    assert found.ratio == pytest.approx((1 / 14) / (1 / 86))
    assert found.per_crossing == 0.5
    assert found.interior_per_crossing == pytest.approx(7 / 86)


def test_a_break_between_two_segments_needs_no_gap() -> None:
    found = breaks_at_faces(
        row(100), ids_with_gaps(100, range(50, 50)), chunk=(50, 50, 50), shape=(50, 50, 101)
    )
    assert (found.at_faces, found.interior) == (1, 0)


def test_a_missing_chunk_is_broken_at_its_faces_however_long_it_is() -> None:
    found = breaks_at_faces(
        row(150), ids_with_gaps(150, range(50, 100)), chunk=(50, 50, 50), shape=(50, 50, 151)
    )
    assert (found.at_faces, found.interior) == (1, 0)


def test_a_gap_that_begins_at_a_face_counts_half() -> None:
    found = breaks_at_faces(
        row(100), ids_with_gaps(100, range(49, 75)), chunk=(50, 50, 50), shape=(50, 50, 101)
    )
    assert (found.at_faces, found.interior) == (0.5, 0.5)


def test_the_outside_of_the_volume_is_no_face() -> None:
    found = breaks_at_faces(row(99), ids_with_gaps(99), chunk=(50, 50, 50), shape=(50, 50, 100))
    assert found.face_length == 10 + 1  # five on either side of the plane at 49.5, and its own edge


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_all_breaks_are_those_of_a_walk_over_the_gaps(seed: int) -> None:
    truth = subdivide(random_tree(seed, nodes=20), 1.0)
    ids = np.random.default_rng(seed).choice([0, 1, 1, 1, 1, 2], len(truth))

    found = breaks_at_faces(truth, ids, chunk=(16, 16, 16), shape=BIG)

    slow = networkx_of(truth)
    gaps = nx.connected_components(slow.subgraph(np.flatnonzero(ids == 0).tolist()))
    broken = sum(any(ids[v] for u in gap for v in slow[u]) for gap in gaps)
    jumps = sum(ids[u] != ids[v] and ids[u] * ids[v] > 0 for u, v in slow.edges)
    assert found.total == pytest.approx(broken + jumps)
    assert found.face_length + found.interior_length == pytest.approx(truth.length)


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_what_is_near_a_face_is_found_by_trying_every_plane(seed: int) -> None:
    truth = subdivide(random_tree(seed, nodes=20), 1.0).moved((60, 60, 60))
    chunk, shape, width = (16, 20, 9), (130, 90, 75), 2.5

    found = breaks_at_faces(truth, np.ones(len(truth), int), chunk=chunk, shape=shape, width=width)

    middle = truth.positions[truth.edges].mean(axis=1)
    near = np.zeros(len(middle), bool)
    for axis in range(3):
        for plane in range(chunk[axis], shape[axis], chunk[axis]):
            near |= abs(middle[:, axis] - plane + 0.5) <= width
    assert found.face_length == pytest.approx(truth.lengths[near].sum())


def test_breaks_spread_evenly_have_a_ratio_of_1_within_the_interval() -> None:
    total, held = Breaks(), 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ids = np.ones(2001, int)
        for start in rng.integers(0, 1990, 30):
            ids[start : start + int(rng.integers(1, 60))] = 0
        here = breaks_at_faces(row(2000), ids, chunk=(64, 64, 64), shape=(64, 64, 2001))
        low, high = here.interval()
        held += low <= 1 <= high
        total += here

    assert total.ratio == pytest.approx(1, abs=0.12)
    assert held >= 34


def test_the_interval_is_that_of_the_binomial_test() -> None:
    breaks = Breaks(at_faces=7, interior=21, face_length=100, interior_length=500)
    exact = binomtest(7, 28).proportion_ci(0.9, method="exact")

    low, high = breaks.interval(0.9)

    assert low == pytest.approx(5 * exact.low / (1 - exact.low))
    assert high == pytest.approx(5 * exact.high / (1 - exact.high))
    assert low < breaks.ratio < high  # type: ignore[operator]


def test_without_breaks_or_faces_there_is_no_telling() -> None:
    none = breaks_at_faces(EMPTY, np.empty(0, int), chunk=(8, 8, 8), shape=(8, 8, 8))

    assert none == Breaks()
    assert none.ratio is None
    assert (none.per_crossing, none.interior_per_crossing) == (0, 0)
    assert none.interval() == (0, math.inf)
    assert Breaks(2, 0, 10, 10).ratio is None
    assert Breaks(2, 0, 10, 10).interval()[1] == math.inf
    assert Breaks(0, 3, 10, 10).interval()[0] == 0


def test_a_tree_that_is_missed_altogether_has_no_break() -> None:
    found = breaks_at_faces(row(100), np.zeros(101, int), chunk=(50, 50, 50), shape=BIG)
    assert found.total == 0


def test_every_node_needs_a_segment() -> None:
    with pytest.raises(ValueError, match="as many segments"):
        breaks_at_faces(row(10), np.ones(10, int), chunk=(8, 8, 8), shape=BIG)
