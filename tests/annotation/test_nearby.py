"""The part of a graph that a box can feel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.annotation import Graph, graph_near, graph_of_segments
from neuroconn.annotation.nearby import segments_meet
from neuroconn.geometry import Box

BOX = Box((4, 5, 6), (9, 12, 14))


def distance_to(graph: Graph, box: Box, clip: float) -> np.ndarray:
    """Distance of every voxel of a box to the nearest edge or lone node; slow and plain."""
    voxels = np.stack(np.meshgrid(*map(np.arange, box.shape), indexing="ij"), axis=-1)
    voxels = voxels + np.asarray(box.start)
    found = np.full(box.shape, clip)
    lone = np.flatnonzero(graph.degrees == 0)
    for u, v in [*graph.edges.tolist(), *zip(lone, lone, strict=True)]:
        a, b = graph.positions[u], graph.positions[v]
        length = ((b - a) ** 2).sum()
        along = np.clip((voxels - a) @ (b - a) / length, 0, 1) if length else np.zeros(box.shape)
        nearest = a + along[..., None] * (b - a)
        found = np.minimum(found, np.sqrt(((voxels - nearest) ** 2).sum(axis=-1)))
    return found


def random_graph(seed: int, nodes: int = 25) -> Graph:
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, nodes - 3, (nodes, 2))
    return Graph(rng.uniform(-8, 26, (nodes, 3)), edges, rng.uniform(1, 2, nodes))


@given(seed=st.integers(0, 2**32 - 1), reach=st.floats(0.5, 6))
def test_what_is_left_out_changes_no_distance_within_reach(seed: int, reach: float) -> None:
    graph = random_graph(seed)

    near = graph_near(graph, BOX, reach=reach)

    inner = Box((0, 0, 0), BOX.shape)
    np.testing.assert_allclose(
        distance_to(near, inner, reach), distance_to(graph, BOX, reach), atol=1e-9
    )


@given(seed=st.integers(0, 2**32 - 1), reach=st.floats(0, 4))
def test_edges_are_whole_and_none_is_taken_that_cannot_matter(seed: int, reach: float) -> None:
    graph = random_graph(seed)

    near = graph_near(graph, BOX, reach=reach)

    ends = near.positions[near.edges] + np.asarray(BOX.start)
    known = {tuple(map(tuple, pair)) for pair in graph.positions[graph.edges].round(6).tolist()}
    assert all(tuple(map(tuple, pair)) in known for pair in ends.round(6).tolist())
    low, high = np.asarray(BOX.start) - reach, np.asarray(BOX.stop) - 1 + reach
    places = np.linspace(0, 1, 400)[:, None]
    touched = sum(
        bool((((a + places * (b - a)) >= low) & ((a + places * (b - a)) <= high)).all(axis=1).any())
        for a, b in graph.positions[graph.edges]
    )
    assert touched <= len(near.edges) <= touched + 3  # the samples may miss a corner
    assert set(np.unique(near.edges)) | set(np.flatnonzero(near.degrees == 0)) == set(
        range(len(near))
    )


def test_a_piece_that_passes_by_does_not_meet_the_box() -> None:
    low, high = np.zeros(3), np.ones(3)
    first = np.array([[-1, 2, 0], [-1, 0.5, 0.5], [0.5, 0.5, 0.5], [2, 2, 2], [0, 1, 2.5]], float)
    last = np.array([[2, -1.5, 0], [2, 0.5, 0.5], [0.5, 0.5, 0.5], [2, 2, 2], [0, 1, 1.0]], float)

    meets = segments_meet(first, last, low, high)

    assert meets.tolist() == [True, True, True, False, True]
    assert not segments_meet(np.array([[-1.0, 1.5, 0]]), np.array([[0.4, 3, 0]]), low, high).any()


def test_pieces_that_share_an_end_are_a_chain() -> None:
    path = np.random.default_rng(0).uniform(0, 9, (6, 3))
    ends = np.stack([path[:-1], path[1:]], axis=1)[[3, 0, 4, 1, 2]]
    alone = np.array([[[20.0, 0, 0], [20.0, 0, 0]]])

    graph = graph_of_segments(np.concatenate([ends, alone]))

    assert sorted(graph.degrees.tolist()) == [0, 1, 1, 2, 2, 2, 2]
    assert np.isclose(graph.length, np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    assert len(graph_of_segments(np.empty((0, 2, 3)))) == 0
