from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.annotation import Forest, Graph, chains
from neuroconn.annotation.simplify import resample, simplify, smooth
from neuroconn.errors import AnnotationError

RING = [[0, 1], [1, 2], [2, 0]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph: parallel edges, loops of one edge, lone nodes."""
    count = draw(st.integers(1, 12))
    node = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=16))
    seed = draw(st.integers(0, 2**32 - 1))
    return Graph(np.random.default_rng(seed).uniform(0, 20, (count, 3)), np.array(edges))


def walked_components(graph: Graph) -> list[int]:
    """Oracle: numbers by first node, one walk at a time."""
    beside = defaultdict(set)
    for a, b in graph.edges.tolist():
        beside[a].add(b)
        beside[b].add(a)
    label = [-1] * len(graph)
    for start in range(len(graph)):
        if label[start] < 0:
            number, todo = max(label) + 1, [start]
            while todo:
                node = todo.pop()
                if label[node] < 0:
                    label[node] = number
                    todo.extend(beside[node])
    return label


def joints(graph: Graph) -> list[tuple[float, ...]]:
    """Places of all nodes that are no mere point on a line."""
    return sorted(map(tuple, graph.positions[graph.degrees != 2].tolist()))


@given(graphs())
def test_components_are_those_of_a_walk(graph: Graph) -> None:
    assert graph.components().tolist() == walked_components(graph)
    assert graph.loops == len(graph.edges) - len(graph) + max(walked_components(graph)) + 1


@given(graphs())
def test_every_edge_is_in_one_chain_between_joints(graph: Graph) -> None:
    parts = chains(graph)

    assert sorted(parts.edges.tolist()) == list(range(len(graph.edges)))
    for index in range(len(parts)):
        nodes = parts[index]
        steps = {tuple(sorted(step)) for step in pairwise(nodes.tolist())}
        assert steps == {tuple(sorted(graph.edges[e])) for e in parts.edges_of(index)}
        assert (graph.degrees[nodes[1:-1]] == 2).all()
        closed = nodes[0] == nodes[-1]
        assert closed or (graph.degrees[nodes[[0, -1]]] != 2).all()
    assert parts.ends.tolist() == [[parts[i][0], parts[i][-1]] for i in range(len(parts))]


@given(graphs())
def test_lengths_of_chains_add_up(graph: Graph) -> None:
    parts = chains(graph)
    sums = parts.sums(graph.lengths)

    assert sums.sum() == pytest.approx(graph.length)
    np.testing.assert_allclose(
        sums, np.bincount(parts.owners(), graph.lengths, minlength=len(parts))
    )


def test_a_chain_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError, match="1 chains"):
        chains(Graph(np.zeros((2, 3)), [[0, 1]]))[1]


@given(graphs(), st.sampled_from([0.0, 1.0, 8.0]))
def test_simplifying_keeps_joints_and_loops_and_stays_near(graph: Graph, tolerance: float) -> None:
    simple = simplify(graph, tolerance)

    assert joints(simple) == joints(graph)
    assert (simple.loops, simple.components().max()) == (graph.loops, graph.components().max())
    kept = set(map(tuple, simple.positions.tolist()))
    assert kept <= set(map(tuple, graph.positions.tolist()))
    for place in graph.positions:
        assert min_distance(place, simple) <= tolerance + 1e-9


def min_distance(place: np.ndarray, graph: Graph) -> float:
    """Distance from a place to the nearest point of a graph, by brute force."""
    best = float(np.linalg.norm(graph.positions - place, axis=1).min())
    for first, last in graph.positions[graph.edges]:
        way = last - first
        share = np.clip(way @ (place - first) / max(float(way @ way), 1e-300), 0, 1)
        best = min(best, float(np.linalg.norm(first + share * way - place)))
    return best


@given(graphs(), st.sampled_from([0.7, 3.0, 100.0]))
def test_resampled_nodes_lie_on_the_lines_at_even_steps(graph: Graph, step: float) -> None:
    even = resample(graph, step)

    assert joints(even) == joints(graph)
    assert (even.loops, even.components().max()) == (graph.loops, graph.components().max())
    assert even.lengths.max(initial=0) <= step * (1 + 1e-9)
    for place in even.positions:
        assert min_distance(place, graph) <= 1e-9


def test_resampling_interpolates_radii() -> None:
    line = Graph([[0, 0, 0], [0, 0, 4]], [[0, 1]], radii=np.array([1.0, 3.0]))

    assert resample(line, 2.0).radii.tolist() == [1.0, 3.0, 2.0]


def test_smoothing_moves_inner_nodes_only() -> None:
    zigzag = Graph([[0, 0, 0], [0, 1, 1], [0, 0, 2]], [[0, 1], [1, 2]])

    assert smooth(zigzag).positions.tolist() == [[0, 0, 0], [0, 0.5, 1], [0, 0, 2]]
    assert smooth(zigzag, 0).positions.tolist() == zigzag.positions.tolist()


@given(graphs())
def test_smoothing_never_lengthens_and_keeps_joints(graph: Graph) -> None:
    smoothed = smooth(graph, 3)

    assert smoothed.length <= graph.length * (1 + 1e-9)
    assert joints(smoothed) == joints(graph)


def test_taking_nodes_takes_the_edges_between_them() -> None:
    graph = Graph(np.eye(3), RING, radii=np.array([1.0, 2.0, 3.0]))

    by_mask = graph.take(np.array([True, False, True]))
    by_index = graph.take(np.array([2, 0]))

    assert (by_mask.edges.tolist(), by_mask.radii.tolist()) == ([[1, 0]], [1.0, 3.0])
    assert (by_index.edges.tolist(), by_index.radii.tolist()) == ([[0, 1]], [3.0, 1.0])


def test_a_forest_is_a_graph_without_loops() -> None:
    graph = Graph.from_forest(Forest([[0, 0, 0], [0, 0, 2], [0, 2, 0]], [-1, 0, 0]))

    assert (graph.length, graph.loops, graph.degrees.tolist()) == (4.0, 0, [2, 1, 1])
    assert graph.moved((1, 0, 0)).positions[0].tolist() == [1, 0, 0]
    assert graph.with_edges(np.array(RING)).loops == 1


@pytest.mark.parametrize(
    ("positions", "edges", "radii", "words"),
    [
        ([[0, 0, 0]], [[0, 1]], [], "below 1"),
        ([[0, 0, 0]], [[-1, 0]], [], "below 1"),
        ([[0, 0, np.nan]], [], [], "finite"),
        ([[0, 0, 0]], [], [1, 2], "radii"),
    ],
)
def test_what_no_graph_can_be(
    positions: list[list[float]], edges: list[list[int]], radii: list[float], words: str
) -> None:
    with pytest.raises(AnnotationError, match=words):
        Graph(np.array(positions), np.array(edges), np.array(radii))


@pytest.mark.parametrize("change", [lambda g: simplify(g, -1), lambda g: resample(g, 0)])
def test_steps_out_of_range(change: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        change(Graph(np.eye(3), RING))  # type: ignore[operator]
