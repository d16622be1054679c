import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_graphs import EMPTY, distance_between, nearest_on, networkx_of, random_graph

from neuroconn.annotation import Graph
from neuroconn.metrics import subdivide
from neuroconn.metrics.along import (
    Nearest,
    Places,
    cut_at,
    links,
    path_lengths,
    places_along,
)

seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_paths_are_those_of_networkx(seed: int) -> None:
    graph = random_graph(seed)
    expected = nx.single_source_dijkstra_path_length(networkx_of(graph), 0)

    found = path_lengths(links(graph), 0)

    for node, length in enumerate(found):
        assert length == pytest.approx(expected.get(node, np.inf))


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_components_are_those_of_networkx(seed: int) -> None:
    graph = random_graph(seed, edges=8)
    label = graph.components()

    for piece in nx.connected_components(networkx_of(graph)):
        assert len(set(label[list(piece)])) == 1
    assert len(set(label)) == nx.number_connected_components(networkx_of(graph))


@given(seed=seeds, step=st.sampled_from([0.5, 1.0, 3.7, 1000.0]))
@settings(max_examples=30, deadline=None)
def test_cutting_edges_keeps_lengths_nodes_and_paths(seed: int, step: float) -> None:
    graph = random_graph(seed)

    fine = subdivide(graph, step)

    assert fine.lengths.max() <= step + 1e-9
    assert fine.length == pytest.approx(graph.length)
    np.testing.assert_array_equal(fine.positions[: len(graph)], graph.positions)
    before, after = (path_lengths(links(g), 0)[: len(graph)] for g in (graph, fine))
    np.testing.assert_allclose(before, after)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_places_become_nodes_in_their_order(seed: int) -> None:
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    places = Places(rng.integers(0, len(graph.edges), 9), rng.choice([0, 0.25, 0.7, 1], 9))

    cut = cut_at(graph, places)

    np.testing.assert_allclose(cut.positions[len(graph) :], places.positions(graph))
    a, b = (len(graph) + np.array([0, 1])).tolist()
    first, second = ((int(places.edge[k]), float(places.at[k])) for k in (0, 1))
    expected = distance_between(graph, first, second)
    assert path_lengths(links(cut), a)[b] == pytest.approx(expected)


@given(seed=seeds, step=st.sampled_from([0.7, 1.0, 5.0]))
@settings(max_examples=30, deadline=None)
def test_the_nearest_place_is_that_of_a_search_through_all_edges(seed: int, step: float) -> None:
    graph, points = random_graph(seed), np.random.default_rng(seed + 1).uniform(-5, 45, (20, 3))

    places, far = Nearest(graph, step)(points, 8.0)

    for point, edge, distance in zip(points, places.edge, far, strict=True):
        _, _, expected = nearest_on(graph, point)
        assert (edge >= 0) == (expected <= 8.0)
        assert distance == pytest.approx(expected if expected <= 8.0 else np.inf)
    foot = places[places.edge >= 0].positions(graph)
    gap = np.linalg.norm(foot - points[places.edge >= 0], axis=1)
    np.testing.assert_allclose(gap, far[places.edge >= 0], atol=1e-9)


def test_a_graph_of_nothing_has_nothing_near() -> None:
    for graph in (EMPTY, Graph(np.zeros((2, 3)), np.empty((0, 2)))):
        places, far = Nearest(graph)(np.zeros((2, 3)), 5.0)
        assert places.edge.tolist() == [-1, -1]
        assert np.isinf(far).all()
        assert len(places_along(graph, 1.0)) == 0
        assert len(subdivide(graph, 1.0)) == len(graph)


def test_an_edge_of_no_length_is_an_edge() -> None:
    graph = Graph([[0, 0, 0], [0, 0, 0], [0, 0, 1]], [[0, 1], [1, 2]])

    assert path_lengths(links(graph), 0).tolist() == [0, 0, 1]
    assert set(graph.components()) == {0}


def test_a_step_is_positive() -> None:
    with pytest.raises(ValueError, match="step"):
        subdivide(random_graph(0), 0)
