"""Cutting a graph at the faces of a crop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neuroconn.annotation import Graph
from neuroconn.loss.snake_graph import CutGraph, cut

SHAPE = (9, 10, 11)


def pieces(graph: Graph, *, longest: float = 1e9, context: bool = True) -> CutGraph:
    return cut(graph, SHAPE, clip=10.0, longest_edge=longest, context=context)


def tree(seed: int) -> Graph:
    """A random tree that reaches about half a crop beyond the faces."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-5, 15, (12, 3))
    return Graph(positions, [[rng.integers(0, i), i] for i in range(1, 12)])


def samples(graph: Graph, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Points along edges, close enough to tell a missing piece."""
    a, b = graph.positions[edges[:, 0]], graph.positions[edges[:, 1]]
    share = np.linspace(0, 1, 200)[:, None, None]
    return (a + share * (b - a)).reshape(-1, 3)


def inside(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return ((points >= -1e-9) & (points <= np.array(SHAPE) - 1 + 1e-9)).all(axis=1)


def test_a_line_through_a_face_is_cut_there_and_frozen_on_that_axis() -> None:
    cut_line = pieces(Graph([[4, 4, 4], [4, 8, 16]], [[0, 1]]))

    [[a, b]] = cut_line.inner
    np.testing.assert_allclose(cut_line.positions[[a, b]], [[4, 4, 4], [4, 6, 10]])
    assert cut_line.free[[a, b]].tolist() == [[True] * 3, [True, True, False]]
    assert [set(edge) for edge in cut_line.outer.tolist()] == [{b, 1}]
    assert not cut_line.free[1].any()


def test_without_context_only_the_inside_is_left() -> None:
    cut_line = pieces(Graph([[4, 4, 4], [4, 8, 16]], [[0, 1]]), context=False)

    np.testing.assert_allclose(cut_line.positions, [[4, 4, 4], [4, 6, 10]])
    assert (len(cut_line.inner), len(cut_line.outer)) == (1, 0)


def test_a_line_that_crosses_the_whole_crop_is_cut_twice() -> None:
    cut_line = pieces(Graph([[-4, 3, 3], [16, 3, 3]], [[0, 1]]), context=False)

    assert sorted(cut_line.positions[:, 0]) == [0, 8]
    assert not cut_line.free[:, 0].any()
    assert cut_line.free[:, 1:].all()


def test_through_a_corner_all_axes_freeze() -> None:
    cut_line = pieces(Graph([[3, 3, 3], [-3, -3, -3]], [[0, 1]]), context=False)

    assert cut_line.positions[1].tolist() == [0, 0, 0]
    assert not cut_line.free[1].any()


def test_a_node_on_the_face_is_the_cut_itself() -> None:
    cut_line = pieces(Graph([[0, 4, 4], [-3, 4, 4], [5, 4, 4]], [[0, 1], [0, 2]]))

    assert len(cut_line.positions) == 3
    assert cut_line.free.tolist() == [[False, True, True], [False] * 3, [True] * 3]


def test_what_passes_by_is_drawn_if_it_is_near() -> None:
    beside = Graph([[4, -2, 0], [4, -2, 10], [4, -20, 0], [4, -20, 10]], [[0, 1], [2, 3]])

    near = pieces(beside)

    assert near.positions.tolist() == [[4, -2, 0], [4, -2, 10]]
    assert not near.free.any()
    assert len(pieces(beside, context=False).positions) == 0


def test_nodes_without_an_edge_are_points() -> None:
    points = Graph([[4, 4, 4], [4, -2, 4], [4, -30, 4], [7, 7, 7]], np.empty((0, 2)))

    assert pieces(points).drawn.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert pieces(points, context=False).drawn.tolist() == [[0, 0], [1, 1]]
    assert pieces(points).free.all(axis=1).tolist() == [True, False, True]


def test_edges_given_twice_or_to_themselves_add_nothing() -> None:
    positions = [[1, 1, 1], [2, 2, 2]]

    doubled = pieces(Graph(positions, [[0, 1], [1, 0], [0, 1], [1, 1]]))

    assert doubled.drawn.tolist() == [[0, 1]]


@pytest.mark.parametrize(("length", "parts"), [(4.9, 1), (5.0, 1), (5.1, 2), (8.0, 2)])
def test_long_edges_are_split_evenly(length: float, parts: int) -> None:
    line = Graph([[4, 1, 0], [4, 1, length]], [[0, 1]], [1.0, 3.0])

    split = pieces(line, longest=5.0)

    steps = np.abs(np.diff(split.positions[split.inner], axis=1)[:, 0, 2])
    np.testing.assert_allclose(steps, length / parts)
    assert len(split.inner) == parts
    assert sorted(split.radii) == [1.0, *([2.0] * (parts - 1)), 3.0]


def test_nothing_cut_is_nothing() -> None:
    empty = pieces(Graph(np.empty((0, 3)), np.empty((0, 2))))

    assert empty.positions.shape == (0, 3)
    assert empty.drawn.shape == (0, 2)


@given(seed=st.integers(0, 2**32 - 1), context=st.booleans())
@settings(max_examples=60, deadline=None)
def test_cutting_changes_no_line(seed: int, context: bool) -> None:
    graph = tree(seed)

    result = pieces(graph, longest=2.5, context=context)

    cut_graph = Graph(result.positions, result.drawn)
    before = samples(graph, graph.edges)
    after = samples(cut_graph, result.drawn)
    if not context:
        before = before[inside(before)]
        assert inside(after).all()
    seen = (np.maximum(-before, before - (np.array(SHAPE) - 1)) <= 10).all(axis=1)
    if seen.any():
        assert KDTree(after).query(before[seen])[0].max() < 0.1
    assert cut_graph.lengths[: len(result.inner)].max(initial=0) <= 2.5 + 1e-9


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_what_may_move_is_inside_and_what_is_frozen_lies_on_a_face(seed: int) -> None:
    result = pieces(tree(seed))

    assert inside(result.positions[result.inner].reshape(-1, 3)).all()
    faces = (result.positions == 0) | (result.positions == np.array(SHAPE) - 1)
    within = inside(result.positions)
    assert (result.free | faces)[within].all()
    assert not result.free[~within].any()
