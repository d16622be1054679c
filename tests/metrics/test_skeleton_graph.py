import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from skimage.measure import euler_number

from neuroconn.annotation import Graph, chains
from neuroconn.metrics import skeleton_graph
from neuroconn.metrics.skeleton_graph import voxel_graph

Mask = NDArray[np.bool_]


def betti(mask: Mask) -> tuple[int, int]:
    """Components and loops of a mask, by counting: b1 = b0 + b2 - Euler number."""
    padded = np.pad(mask, 1)
    b0 = ndimage.label(padded, np.ones((3, 3, 3)))[1]
    b2 = ndimage.label(~padded)[1] - 1
    return b0, b0 + b2 - int(euler_number(padded, connectivity=3))


def numbers(graph: Graph) -> tuple[int, int]:
    return int(graph.components().max(initial=-1)) + 1, graph.loops


def drawn(text: str) -> Mask:
    """One plane, a row a word: ``"#.# .#."``."""
    return np.array([[[cell == "#" for cell in row] for row in text.split()]])


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.1, 0.3, 0.5, 0.9]))
    return np.random.default_rng(seed).random(shape) < share


@given(masks())
def test_a_graph_has_the_components_and_loops_of_its_mask(mask: Mask) -> None:
    assert numbers(skeleton_graph(mask)) == betti(mask)


@given(masks())
def test_edges_join_neighbours_and_are_sorted(mask: Mask) -> None:
    graph = skeleton_graph(mask)

    gaps = np.abs(np.diff(graph.positions[graph.edges], axis=1))
    assert gaps.max(initial=1) == 1
    assert (graph.edges[:, 0] < graph.edges[:, 1]).all()
    assert graph.edges.tolist() == sorted(graph.edges.tolist())
    np.testing.assert_array_equal(graph.positions, np.argwhere(mask))


@given(masks())
def test_no_spanning_forest_is_shorter(mask: Mask) -> None:
    """The graph spans; its shortest forest is as short as that of all pairs of neighbours."""
    nodes = np.argwhere(mask)
    apart = nodes[:, None] - nodes
    lengths = np.sqrt((apart**2).sum(axis=2)) * (abs(apart).max(axis=2, initial=0) == 1)
    graph = skeleton_graph(mask)
    ours = coo_matrix((graph.lengths, graph.edges.T), (len(nodes),) * 2)

    assert minimum_spanning_tree(ours).sum() == pytest.approx(minimum_spanning_tree(lengths).sum())


@given(masks(), st.tuples(*[st.integers(-50, 50)] * 3))
def test_a_shift_changes_positions_only(mask: Mask, shift: tuple[int, int, int]) -> None:
    here, there = skeleton_graph(mask), voxel_graph(np.argwhere(mask)[::-1] + shift)

    np.testing.assert_array_equal(there.edges, here.edges)
    np.testing.assert_array_equal(there.positions, here.positions + shift)


@pytest.mark.parametrize(
    ("picture", "degrees", "loops"),
    [
        ("#####", [1, 2, 2, 2, 1], 0),
        ("#... .#.. ..## ....", [1, 2, 2, 1], 0),  # a bend is a chain
        ("##. .#. .##", [1, 2, 2, 2, 1], 0),  # corners are, too
        ("#.# .#. #.#", [1, 1, 4, 1, 1], 0),  # an X
        ("### .#. .#.", [1, 3, 1, 2, 1], 0),  # a T
        ("##. ##.", [1, 1, 2, 2], 0),  # a clot of four is a tree
        ("### #.# ###", [2] * 8, 1),  # a ring
        (".#. #.# .#.", [2] * 4, 1),  # the smallest ring
        ("#.#", [0, 0], 0),
        (".", [], 0),
    ],
)
def test_hand_drawn_skeletons(picture: str, degrees: list[int], loops: int) -> None:
    graph = skeleton_graph(drawn(picture))

    assert sorted(graph.degrees.tolist()) == sorted(degrees)
    assert graph.loops == loops


def test_a_line_of_voxels_is_one_chain() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((40, 40, 200), dtype=bool)
    path = np.clip(np.cumsum(rng.integers(-1, 2, (200, 2)), axis=0) + 20, 0, 39)
    mask[path[:, 0], path[:, 1], np.arange(200)] = True

    parts = chains(skeleton_graph(mask))

    assert len(parts) == 1
    assert len(parts[0]) == 200


def test_two_axes_are_one_plane() -> None:
    flat = drawn("### #.# ###")

    np.testing.assert_array_equal(skeleton_graph(flat[0]).edges, skeleton_graph(flat).edges)
    with pytest.raises(ValueError, match="shape"):
        skeleton_graph(np.zeros(4, dtype=bool))


def test_voxels_may_be_anywhere_but_not_twice() -> None:
    far = voxel_graph(np.array([[30_000, 30_000, 30_000], [0, 0, 0], [30_000, 30_000, 30_001]]))

    assert far.edges.tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="twice"):
        voxel_graph(np.zeros((2, 3), dtype=int))
