"""Neurites as curves: order, resampling, walks along the path."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.annotation import Forest
from neuroconn.errors import AnnotationError
from neuroconn.phantom.curves import brightness_walk, curve, topological


def random_trees(seed: int, n: int = 30) -> Forest:
    """Several trees whose parents may follow their children."""
    rng = np.random.default_rng(seed)
    parents = np.array([rng.integers(-1, i) if i else -1 for i in range(n)])
    shuffled = rng.permutation(n)  # node i is listed at place shuffled[i]
    listed = np.empty(n, int)
    listed[shuffled] = np.where(parents < 0, -1, shuffled[parents])
    return Forest(rng.uniform(0, 60, (n, 3)), listed)


@given(st.integers(0, 1000), st.integers(1, 40))
def test_parents_come_before_children(seed: int, n: int) -> None:
    forest = random_trees(seed, n)

    order = topological(forest.parents)

    place = np.empty(n, int)
    place[order] = np.arange(n)
    child = np.flatnonzero(forest.parents >= 0)
    assert sorted(order) == list(range(n))
    assert (place[forest.parents[child]] < place[child]).all()


@pytest.mark.parametrize("parents", [[0], [1, 0], [-1, 0, 3, 4, 2]])
def test_parents_in_a_circle_are_refused(parents: list[int]) -> None:
    with pytest.raises(AnnotationError, match="in a circle"):
        topological(np.array(parents))


@given(st.integers(0, 1000))
def test_a_curve_goes_through_the_nodes_in_short_links(seed: int) -> None:
    forest = random_trees(seed)

    bend = curve(forest, tortuosity=0.0, seed=0)

    np.testing.assert_array_equal(bend.positions[: len(forest)], forest.positions)
    up, child = bend.links
    length = np.linalg.norm(bend.positions[child] - bend.positions[up], axis=1)
    np.testing.assert_allclose(bend.path[child], bend.path[up] + length)
    # A bend is longer than its chord, but pieces stay near the step.
    assert np.median(length) <= 3.5
    assert len(bend.positions) >= len(forest) + forest.length / 3 - len(forest)


@given(st.integers(0, 1000))
def test_resampling_keeps_the_tree(seed: int) -> None:
    forest = random_trees(seed)

    bend = curve(forest, tortuosity=0.0, seed=0)

    # Walking up over the new nodes, each node meets its own parent first.
    n = len(forest)
    for node in range(n):
        above = bend.parents[node]
        while above >= n:
            above = bend.parents[above]
        assert above == forest.parents[node]


def test_a_straight_chain_stays_straight() -> None:
    forest = Forest([[0, 0, 0], [0, 0, 10], [0, 0, 30], [0, 0, 31]], [-1, 0, 1, 2])

    bend = curve(forest, tortuosity=0.0, seed=0)

    np.testing.assert_allclose(bend.positions[:, :2], 0)
    assert bend.path.max() == pytest.approx(31)
    assert set(bend.branch) == {0}
    assert set(bend.depth) == {0}


def test_branches_are_numbered_from_the_branch_point() -> None:
    forest = Forest(
        [[0, 0, 0], [0, 0, 9], [0, 9, 9], [9, 0, 9], [18, 0, 9]], parents=[-1, 0, 1, 1, 3]
    )

    bend = curve(forest, tortuosity=0.0, seed=0)

    assert bend.branch[2] == bend.branch[1] == bend.branch[0]  # the first child goes on
    assert bend.branch[3] == bend.branch[4] != bend.branch[0]
    assert bend.depth[[0, 1, 2, 3, 4]].tolist() == [0, 0, 0, 1, 1]


def test_wandering_moves_points_by_where_they_are() -> None:
    forest = random_trees(1)
    straight = curve(forest, tortuosity=0.0, seed=4)

    bent = curve(forest, tortuosity=1.0, seed=4)
    other = curve(forest, tortuosity=1.0, seed=5)

    moved = np.linalg.norm(bent.positions - straight.positions, axis=1)
    assert 0.2 < moved.mean() < 1.5
    assert moved.max() < np.sqrt(3) * 1.3
    assert not np.array_equal(bent.positions, other.positions)


def test_nodes_on_top_of_each_other_are_harmless() -> None:
    forest = Forest([[5, 5, 5]] * 3 + [[5, 5, 9]], parents=[-1, 0, 1, 2])

    bend = curve(forest, tortuosity=1.0, seed=0)
    walk = brightness_walk(bend, 0.4, 60.0, np.random.default_rng(0))

    assert np.isfinite(bend.positions).all()
    assert np.isfinite(walk).all()
    assert walk[0] == walk[1] == walk[2]


def test_brightness_forgets_itself_over_its_correlation_length() -> None:
    n = 30_000
    positions = np.zeros((n, 3))
    positions[:, 2] = 3.0 * np.arange(n)
    bend = curve(Forest(positions, np.arange(-1, n - 1)), tortuosity=0.0, seed=0)

    walk = np.log(brightness_walk(bend, 1.0, 60.0, np.random.default_rng(0)))

    assert walk.std() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(walk[20:], walk[:-20])[0, 1] == pytest.approx(np.exp(-1), abs=0.1)
