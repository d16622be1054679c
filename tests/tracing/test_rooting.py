import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.annotation import Forest, Graph
from neuroconn.errors import AnnotationError
from neuroconn.tracing.files import split
from neuroconn.tracing.rooting import rooted

FORK = Graph(
    [[0, 0, 0], [0, 0, 5], [0, 0, 9], [0, 8, 5], [9, 0, 0], [9, 0, 2]],
    [[0, 1], [1, 2], [1, 3], [4, 5]],
    radii=np.arange(6.0),
)


@st.composite
def trees(draw: st.DrawFn) -> Graph:
    """Trees of nodes in any order."""
    count = draw(st.integers(1, 15))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = rng.permutation(count)
    edges = [(number[i], number[rng.integers(0, i)]) for i in range(1, count) if rng.random() < 0.8]
    return Graph(rng.uniform(0, 9, (count, 3)), np.array(edges).reshape(-1, 2))


@given(trees())
def test_the_forest_is_the_graph_with_parents_first(graph: Graph) -> None:
    forest, nodes = rooted(graph)

    assert sorted(nodes.tolist()) == list(range(len(graph)))
    np.testing.assert_array_equal(forest.positions, graph.positions[nodes])
    linked = {frozenset(nodes[edge].tolist()) for edge in forest.edges}
    assert linked == {frozenset(edge) for edge in graph.edges.tolist()}
    assert (forest.parents < np.arange(len(forest))).all()
    assert len(forest.roots) == graph.components().max() + 1


@given(trees())
def test_trees_are_whole_and_the_longest_comes_first(graph: Graph) -> None:
    parts = split(rooted(graph)[0])

    assert [len(part.roots) for part in parts] == [1] * len(parts)
    lengths = [part.length for part in parts]
    assert lengths == sorted(lengths, reverse=True)
    assert sum(lengths) == pytest.approx(graph.length)


@given(trees())
def test_a_tree_begins_at_an_end_of_its_longest_path(graph: Graph) -> None:
    for part in split(rooted(graph)[0]):
        way = np.zeros(len(part))
        for node, parent in part.edges:
            step = np.linalg.norm(part.positions[node] - part.positions[parent])
            way[node] = way[parent] + step
        between = np.array([[path(part, a, b) for a in range(len(part))] for b in range(len(part))])
        assert way.max() == pytest.approx(between.max())


def path(tree: Forest, first: int, last: int) -> float:
    """Length from node to node, up to where their ways to the root meet."""
    up, length = {}, 0.0
    while first >= 0:
        up[first] = length
        length += step(tree, first)
        first = int(tree.parents[first])
    length = 0.0
    while last not in up:
        length += step(tree, last)
        last = int(tree.parents[last])
    return length + up[last]


def step(tree: Forest, node: int) -> float:
    parent = tree.parents[node]
    return (
        0.0 if parent < 0 else float(np.linalg.norm(tree.positions[node] - tree.positions[parent]))
    )


def test_given_roots_begin_their_trees_and_are_somas() -> None:
    forest, nodes = rooted(FORK, roots=np.array([3, 2]), kind=2)

    assert nodes[forest.roots].tolist() == [3, 4]
    assert forest.kinds[forest.roots].tolist() == [1, 2]
    assert forest.radii.tolist() == FORK.radii[nodes].tolist()


def test_a_loop_has_no_root() -> None:
    with pytest.raises(AnnotationError, match="loops"):
        rooted(Graph(np.eye(3), [[0, 1], [1, 2], [2, 0]]))


def test_nothing_has_no_trees() -> None:
    forest, _ = rooted(Graph(np.empty((0, 3)), np.empty((0, 2))))
    assert (len(forest), split(forest)) == (0, [])
