import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_graphs import EMPTY, distance_between, nearest_on, random_tree, row

from neuroconn.annotation import Graph
from neuroconn.metrics import TLTS, skeleton_graph, tlts
from neuroconn.metrics.tlts import sample_paths

seeds = st.integers(0, 2**32 - 1)


def shares(found: TLTS) -> list[float]:
    return [found.share(what) for what in ("correct", "infeasible", "too_long", "too_short")]


def slow_tlts(prediction: Graph, truth: Graph, tolerance: float, radius: float, seed: int) -> TLTS:
    """Match and measure every sampled pair on its own, without bridges."""
    points, pairs, lengths = sample_paths(truth, 30, 10.0, seed)
    counts = {"correct": 0, "infeasible": 0, "too_long": 0, "too_short": 0}
    for (a, b), true in zip(pairs, lengths, strict=True):
        ends = [nearest_on(prediction, points[k]) for k in (a, b)]
        found = np.inf
        if all(far < radius for _, _, far in ends):
            found = distance_between(prediction, ends[0][:2], ends[1][:2])
        if np.isinf(found):
            counts["infeasible"] += 1
        elif found > (1 + tolerance) * true:
            counts["too_long"] += 1
        else:
            counts["too_short" if found < (1 - tolerance) * true else "correct"] += 1
    return TLTS(**counts)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_counts_are_those_of_the_slow_twin(seed: int) -> None:
    truth = random_tree(seed)
    rng = np.random.default_rng(seed)
    moved = truth.positions + rng.normal(0, 0.6, truth.positions.shape)
    kept = truth.edges[rng.random(len(truth.edges)) < 0.95]
    prediction = Graph(moved, np.concatenate([kept, rng.integers(0, len(truth), (2, 2))]))

    found = tlts(prediction, truth, pairs=30, join=0, seed=seed)

    assert found == slow_tlts(prediction, truth, 0.05, 5.0, seed)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_four_shares_make_a_whole_and_the_truth_is_right(seed: int) -> None:
    truth, other = random_tree(seed), random_tree(seed + 1)

    assert sum(shares(tlts(other, truth, seed=seed))) == pytest.approx(1)
    assert shares(tlts(truth, truth, seed=seed)) == [1, 0, 0, 0]
    assert shares(tlts(EMPTY, truth, seed=seed)) == [0, 1, 0, 0]


def test_one_missing_voxel_is_no_break_and_three_are() -> None:
    truth = row(99)
    gone = np.ones((1, 1, 100), dtype=bool)
    gone[0, 0, 50] = False

    assert shares(tlts(skeleton_graph(gone), truth)) == [1, 0, 0, 0]
    gone[0, 0, 49:52] = False
    broken = tlts(skeleton_graph(gone), truth)
    points, pairs, _ = sample_paths(truth, 100, 10.0, 0)
    across = sum((points[a, 2] < 50) != (points[b, 2] < 50) for a, b in pairs)
    in_gap = sum((abs(points[pair, 2] - 50) < 2).any() for pair in pairs)
    assert broken.infeasible == across
    assert broken.too_long == 0
    assert broken.too_short <= in_gap  # such an end is matched to the rim of the gap


def test_detours_are_too_long_and_shortcuts_too_short() -> None:
    arc = Graph([[0, 0, 0], [0, 40, 0], [0, 40, 40], [0, 0, 40]], [[0, 1], [1, 2], [2, 3]])
    ring = Graph(arc.positions, [*arc.edges.tolist(), [3, 0]])

    assert tlts(ring, arc).too_short > 10
    assert tlts(ring, arc).too_long == 0
    assert tlts(arc, ring, radius=100).too_long > 10


def test_the_same_seed_draws_the_same_pairs() -> None:
    truth, other = random_tree(3), random_tree(4)
    assert tlts(other, truth, seed=5) == tlts(other, truth, seed=5)


def test_points_are_drawn_along_the_length_and_within_a_component() -> None:
    truth = Graph([[0, 0, 0], [0, 0, 300], [50, 0, 0], [50, 0, 100]], [[0, 1], [2, 3]])
    points, pairs, lengths = sample_paths(truth, 400, 10.0, 0)

    assert (points[pairs[:, 0], 0] == points[pairs[:, 1], 0]).all()
    assert (points[pairs[:, 0], 0] == 0).mean() == pytest.approx(0.75, abs=0.07)
    np.testing.assert_allclose(lengths, abs(np.diff(points[pairs][..., 2], axis=1)[:, 0]))
    assert lengths.min() >= 10


def test_nothing_to_compare_is_no_pair() -> None:
    for truth in (EMPTY, row(5), Graph(np.zeros((3, 3)), np.empty((0, 2)))):
        assert tlts(row(20), truth) == TLTS()
    assert TLTS().share("correct") == 0
    assert TLTS(1, 2, 3, 4) + TLTS(1, 1, 1, 1) == TLTS(2, 3, 4, 5)
