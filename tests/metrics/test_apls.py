import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_graphs import (
    EMPTY,
    distance_between,
    nearest_on,
    networkx_of,
    random_graph,
    random_tree,
    row,
)

from neuroconn.annotation import Graph
from neuroconn.metrics import APLS, apls, skeleton_graph, subdivide
from neuroconn.metrics.apls import control_places

seeds = st.integers(0, 2**32 - 1)


def slow_one_way(source: Graph, target: Graph, spacing: float) -> float:
    """Equation 1 of the paper, pair by pair."""
    places, lost = control_places(source, spacing), []
    nodes = [(int(e), float(a)) for e, a in zip(places.edge, places.at, strict=True)]
    snapped = [nearest_on(target, p) for p in places.positions(source)]
    for i, a in enumerate(nodes):
        for j, b in enumerate(nodes):
            true = distance_between(source, a, b)
            if i == j or not 10 <= true < np.inf:
                continue
            found = np.inf
            if snapped[i][2] <= 5 and snapped[j][2] <= 5:
                found = distance_between(target, snapped[i][:2], snapped[j][:2])
            lost.append(min(1.0, abs(true - found) / true))
    return 1 - float(np.mean(lost)) if lost else 0.0


@given(seed=seeds)
@settings(max_examples=6, deadline=None)
def test_both_ways_are_those_of_the_slow_twin(seed: int) -> None:
    rng, truth = np.random.default_rng(seed), random_tree(seed, nodes=12, step=8)
    moved = truth.positions + rng.normal(0, 1, truth.positions.shape)
    kept = truth.edges[rng.random(len(truth.edges)) < 0.9]
    prediction = Graph(moved, np.concatenate([kept, rng.integers(0, len(truth), (1, 2))]))

    found = apls(prediction, truth, spacing=15, sources=None)

    assert found.forward == pytest.approx(slow_one_way(truth, prediction, 15))
    assert found.backward == pytest.approx(slow_one_way(prediction, truth, 15))


def test_the_hand_case() -> None:
    straight = Graph([[0, 0, 0], [0, 0, 100]], [[0, 1]])
    bent = Graph([[0, 0, 0], [0, np.sqrt(55**2 - 50**2), 50], [0, 0, 100]], [[0, 1], [1, 2]])

    found = apls(bent, straight, spacing=1000)

    assert found.forward == pytest.approx(0.9)
    assert found.backward == pytest.approx(10 / 11)
    assert found.score == pytest.approx(0.9045, abs=1e-4)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_the_truth_scores_1_and_sides_swap(seed: int) -> None:
    a, b = random_tree(seed), random_tree(seed + 1)

    same, there, back = apls(a, a), apls(a, b), apls(b, a)

    assert same.score == pytest.approx(1)
    assert (there.forward, there.backward) == (back.backward, back.forward)
    assert 0 <= there.score <= 1


def test_a_gap_costs_the_paths_through_it() -> None:
    truth = row(400)
    whole, broken = apls(row(400), truth), apls(row(400, *range(200, 210)), truth)

    assert whole.score == pytest.approx(1)
    # the ends, and seven points between: 9 nodes on either side of the middle one
    assert broken.forward == pytest.approx(1 - 2 * (4 * 5) / (9 * 8), abs=0.15)
    assert broken.backward == pytest.approx(1)


def test_a_false_connection_costs_the_way_back() -> None:
    truth = Graph([[0, 0, 0], [0, 0, 90], [0, 30, 0], [0, 30, 90]], [[0, 1], [2, 3]])
    joined = Graph(truth.positions, [*truth.edges.tolist(), [1, 3]])

    found = apls(joined, truth)

    assert found.forward == pytest.approx(1)
    assert found.backward < 0.7


@given(seed=seeds, spacing=st.sampled_from([3.0, 10.0, 1000.0]))
@settings(max_examples=25, deadline=None)
def test_control_nodes_are_even_and_do_not_depend_on_the_nodes_between(
    seed: int, spacing: float
) -> None:
    graph = random_graph(seed, nodes=14, edges=11)
    fine = subdivide(graph, 1.0)

    coarse_places, fine_places = (control_places(g, spacing) for g in (graph, fine))

    assert len(coarse_places) == len(fine_places)
    a, b = coarse_places.positions(graph), fine_places.positions(fine)
    has_ring = any(d == 2 for d in graph.degrees) and len(nx.cycle_basis(networkx_of(graph)))
    if not has_ring:  # of a ring, any node may be where counting starts
        far = np.abs(a[:, None] - b[None]).max(axis=-1)
        assert far.min(axis=1).max(initial=0) < 1e-6
        assert far.min(axis=0).max(initial=0) < 1e-6


def test_control_nodes_of_a_line_a_ring_and_a_star() -> None:
    line = subdivide(Graph([[0, 0, 0], [0, 0, 10]], [[0, 1]]), 0.7)
    ring = skeleton_graph(
        np.pad(np.zeros((1, 3, 3), bool), ((0, 0), (1, 1), (1, 1)), constant_values=True)
    )
    star = Graph([[0, 0, 0], [0, 0, 5], [0, 5, 0], [5, 0, 0]], [[0, 1], [0, 2], [0, 3]])

    on_line = control_places(line, 4.0).positions(line)
    assert sorted(on_line[:, 2]) == pytest.approx([0, 10 / 3, 20 / 3, 10])
    assert len(control_places(ring, 5.0)) == 4  # its length is 8 + 4 sqrt(2), or 16 with corners
    assert len(control_places(star, 1000.0)) == 4


def test_sampled_sources_agree_with_all_of_them() -> None:
    truth, rng = random_tree(1, nodes=200), np.random.default_rng(0)
    prediction = Graph(truth.positions, truth.edges[rng.random(len(truth.edges)) < 0.98])

    every = apls(prediction, truth, sources=None)
    some = apls(prediction, truth, sources=60)

    assert some.forward_pairs < 0.6 * every.forward_pairs
    assert some.score == pytest.approx(every.score, abs=0.1)
    assert some == apls(prediction, truth, sources=60)


def test_nothing_scores_0() -> None:
    lone = Graph(np.zeros((3, 3)), np.empty((0, 2)))
    for a in (EMPTY, lone, row(50)):
        for b in (EMPTY, lone):
            assert apls(a, b).score == apls(b, a).score == 0
    assert APLS().score == 0


def test_a_spacing_is_positive() -> None:
    with pytest.raises(ValueError, match="spacing"):
        apls(row(30), row(30), spacing=0)
