"""Random neurons."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.annotation import Forest
from neuroconn.geometry import Box
from neuroconn.phantom import Growth, grow


def grown(seed: int = 0, **options: object) -> Forest:
    return grow(Growth(**options), np.random.default_rng(seed), root=(50.0, 50.0, 50.0))


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(20, 900), st.floats(0, 0.05))
def test_a_neuron_is_one_tree_of_the_wanted_length(
    seed: int, length: float, branching: float
) -> None:
    forest = grown(seed, length=length, branching=branching)

    assert forest.roots.tolist() == [0]
    assert (forest.parents[1:] < np.arange(1, len(forest))).all()
    assert forest.length == pytest.approx(length, abs=8)
    steps = np.linalg.norm(forest.positions[1:] - forest.positions[forest.parents[1:]], axis=1)
    np.testing.assert_allclose(steps, 4)


def test_the_same_generator_grows_the_same_neuron() -> None:
    assert grown(3) == grown(3)
    assert grown(3) != grown(4)


def test_without_branching_there_is_one_path() -> None:
    forest = grown(branching=0.0)

    np.testing.assert_array_equal(forest.parents, np.arange(-1, len(forest) - 1))


def test_with_branching_no_node_has_more_than_two_children() -> None:
    forest = grown(branching=0.05, length=2000.0)

    children = np.bincount(forest.parents[1:])
    assert children.max() == 2
    assert (children == 2).sum() > 20


def test_persistent_neurites_get_further() -> None:
    def reach(persistence: float) -> float:
        forests = (grown(s, persistence=persistence, branching=0.0) for s in range(20))
        return float(np.mean([np.linalg.norm(f.positions[-1] - f.positions[0]) for f in forests]))

    assert reach(300.0) > 2 * reach(10.0)


def test_tips_stop_where_they_leave_the_bounds() -> None:
    bounds = Box.of_shape((100, 100, 100))

    forest = grow(
        Growth(length=5000.0, branching=0.03),
        np.random.default_rng(0),
        root=(50.0, 50.0, 50.0),
        bounds=bounds,
    )

    out = ((forest.positions < bounds.start) | (forest.positions >= bounds.stop)).any(axis=1)
    assert out.any()
    assert not np.isin(np.flatnonzero(out), forest.parents).any()


def test_the_first_direction_can_be_chosen() -> None:
    forest = grow(
        Growth(persistence=1e6, branching=0.0),
        np.random.default_rng(0),
        root=(0.0, 0.0, 0.0),
        direction=(0.0, 3.0, 0.0),
    )

    np.testing.assert_allclose(forest.positions[1], (0, 4, 0), atol=0.1)


def test_nodes_carry_kind_and_radius() -> None:
    forest = grown(kind=3, radius=1.5)

    assert set(forest.kinds) == {3}
    assert set(forest.radii) == {1.5}
