"""The energy of a snake and its implicit step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.loss.snake_energy import energy_matrix, stepper

PAIR = np.array([[0, 1]])
CHAIN = np.array([[0, 1], [1, 2]])


def inverse(
    edges: NDArray[np.int64], free: NDArray[np.bool_], tau: float, alpha: float, beta: float
) -> NDArray[np.float64]:
    """The stepper as a full matrix."""
    step = stepper(edges, free, tau=tau, alpha=alpha, beta=beta)
    full = np.zeros((free.size, free.size))
    full[step.rows, step.columns] = step.values
    return full


def step(positions: list[float], edges: NDArray[np.int64], **weights: float) -> list[float]:
    """One step without a field, along the last axis."""
    full = np.zeros((len(positions), 3))
    full[:, 2] = positions
    free = np.ones(full.shape, dtype=bool)
    moved = inverse(edges, free, **weights) @ full.ravel()
    return list(moved.reshape(-1, 3)[:, 2])


def energy(s: NDArray[np.float64], edges: NDArray[np.int64], alpha: float, beta: float) -> float:
    """As the paper writes it, one node at a time."""
    total = alpha * sum(float((s[u] - s[v]) ** 2) for u, v in edges)
    for node in range(len(s)):
        around = [int(a + b - node) for a, b in edges if node in (a, b)]
        if len(around) == 2:
            total += beta * float(s[around[0]] - 2 * s[node] + s[around[1]]) ** 2
    return total


def test_the_matrices_of_a_chain_of_three() -> None:
    stretch, bend = energy_matrix(CHAIN, 3, 1, 0), energy_matrix(CHAIN, 3, 0, 1)

    assert stretch.toarray().tolist() == [[1, -1, 0], [-1, 2, -1], [0, -1, 1]]
    assert bend.toarray().tolist() == [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]


def test_stretching_draws_two_nodes_together() -> None:
    assert step([0, 1], PAIR, tau=0.1, alpha=1, beta=0) == pytest.approx([1 / 12, 11 / 12])


def test_bending_straightens() -> None:
    assert step([0, 1, 0], CHAIN, tau=0.1, alpha=0, beta=1) == pytest.approx([0.125, 0.75, 0.125])
    assert step([3, 5, 7], CHAIN, tau=0.1, alpha=0, beta=1) == pytest.approx([3, 5, 7])


def graph(seed: int, nodes: int) -> NDArray[np.int64]:
    """A random tree with one edge more, ids in any order."""
    rng = np.random.default_rng(seed)
    name = rng.permutation(nodes)
    edges = {(int(rng.integers(max(0, i - 2), i)), i) for i in range(1, nodes)} | {(0, nodes - 1)}
    return name[np.array(sorted(edges))]


@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(3, 12))
@settings(max_examples=40, deadline=None)
def test_the_matrix_is_half_the_gradient_of_the_energy(seed: int, nodes: int) -> None:
    edges, s = graph(seed, nodes), np.random.default_rng(seed).normal(size=nodes)
    eps = 1e-4 * np.eye(nodes)

    slope = [(energy(s + e, edges, 2, 3) - energy(s - e, edges, 2, 3)) / 2e-4 for e in eps]

    np.testing.assert_allclose(2 * energy_matrix(edges, nodes, 2, 3) @ s, slope, atol=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    nodes=st.integers(3, 300),
    weight=st.sampled_from([1e-3, 1e-2, 1.0, 100.0]),
)
@settings(max_examples=20, deadline=None)
def test_the_band_is_the_dense_inverse(seed: int, nodes: int, weight: float) -> None:
    edges = graph(seed, nodes)
    free = np.random.default_rng(seed).random((nodes, 3)) < 0.9

    banded = inverse(edges, free, 0.1, weight, weight)

    matrix = energy_matrix(edges, nodes, weight, weight).toarray()
    for axis in range(3):
        dense = np.linalg.inv(np.eye(nodes) + 0.1 * free[:, axis, None] * matrix)
        np.testing.assert_allclose(banded[axis::3, axis::3], dense, atol=1e-11)
        banded[axis::3, axis::3] = 0
    assert not banded.any()


def test_the_centroid_stays_where_nothing_is_frozen() -> None:
    edges = graph(5, 20)
    free = np.ones((20, 3), dtype=bool)

    sums = inverse(edges, free, 0.1, 0.5, 0.5).reshape(20, 3, 20, 3).sum(axis=0)

    np.testing.assert_allclose(sums, np.eye(3)[:, None].repeat(20, axis=1), atol=1e-12)


def test_memory_grows_with_the_length_of_a_chain_and_not_its_square() -> None:
    def entries(nodes: int) -> int:
        chain = np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1)
        free = np.ones((nodes, 3), dtype=bool)
        return len(stepper(chain, free, tau=0.1, alpha=0.01, beta=0.01).values)

    assert entries(2400) < 2.1 * entries(1200)


def test_no_nodes_take_no_step() -> None:
    nothing = stepper(np.empty((0, 2), int), np.empty((0, 3), bool), tau=1, alpha=1, beta=1)

    assert nothing.values.shape == (0,)
