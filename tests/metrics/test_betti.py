from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.metrics import Betti, betti, betti_numbers, skeleton_graph
from neuroconn.metrics.betti import euler_number

seeds = st.integers(0, 2**32 - 1)


def slow_numbers(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Count the cells of all closed cubes in sets; label by breadth-first search."""
    cells = set()
    for voxel in np.argwhere(mask):
        for part in product((0, 1, 2), repeat=3):  # 1 is the inside along an axis
            cells.add(tuple(2 * voxel + part))
    chi = sum((-1) ** sum(c % 2 for c in cell) for cell in cells)
    pieces = ndimage.label(mask, np.ones((3, 3, 3)))[1]
    cavities = ndimage.label(~np.pad(mask, 1))[1] - 1
    return pieces, pieces + cavities - chi, cavities


@given(seed=seeds, density=st.sampled_from([0.02, 0.2, 0.5, 0.9]))
@settings(max_examples=60, deadline=None)
def test_the_numbers_are_those_of_the_slow_twin(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((5, 6, 7)) < density
    assert betti_numbers(mask) == slow_numbers(mask)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_pieces_and_loops_of_lines_are_those_of_their_graph(seed: int) -> None:
    mask = np.random.default_rng(seed).random((6, 7, 8)) < 0.15
    graph = skeleton_graph(mask)
    slow = nx.Graph(graph.edges.tolist())
    slow.add_nodes_from(range(len(graph)))

    pieces, loops, _ = betti_numbers(mask)

    assert pieces == nx.number_connected_components(slow)
    assert loops == slow.number_of_edges() - slow.number_of_nodes() + pieces


def test_a_ring_a_shell_and_two_lines() -> None:
    ring = np.pad(np.ones((1, 3, 3), bool), 2)
    ring[2, 3, 3] = False
    shell = np.pad(np.ones((3, 3, 3), bool), 1)
    shell[2, 2, 2] = False
    lines = np.zeros((3, 9, 9), bool)
    lines[1, [2, 6]] = True

    assert betti_numbers(ring) == (1, 1, 0)
    assert betti_numbers(shell) == (1, 0, 1)
    assert betti_numbers(lines) == (2, 0, 0)
    assert betti_numbers(np.ones((4, 4, 4), bool)) == (1, 0, 0)
    assert euler_number(np.pad(ring, 1)) == 0


def test_the_rim_of_the_array_is_outside() -> None:
    tunnel = np.ones((5, 5, 5), bool)
    tunnel[:, 2, 2] = False
    pit = np.ones((5, 5, 5), bool)
    pit[:3, 2, 2] = False

    assert betti_numbers(tunnel) == (1, 1, 0)
    assert betti_numbers(pit) == (1, 0, 0)


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_errors_of_windows_are_the_sum_over_the_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 9, 12, 7)) < 0.04

    found = betti(a, b, window=4)

    parts = Betti()
    for z, y, x in product(range(0, 9, 4), range(0, 12, 4), range(0, 7, 4)):
        part = (slice(z, z + 4), slice(y, y + 4), slice(x, x + 4))
        parts += betti(a[part], b[part])
    assert found == parts
    halves = betti(a[:4], b[:4], window=4) + betti(a[4:], b[4:], window=4)
    assert found == halves


def test_an_extra_piece_does_not_make_up_for_a_missing_one_in_another_window() -> None:
    truth, prediction = np.zeros((2, 4, 4, 16), bool)
    truth[1, 1, 1:4] = True
    prediction[1, 1, 12:15] = True

    assert betti(prediction, truth).errors == (0, 0, 0)
    assert betti(prediction, truth, window=8) == Betti((2, 0, 0), windows=2)
    assert betti(prediction, truth, window=8).mean == (1, 0, 0)


def test_empty_windows_do_not_count() -> None:
    truth = np.zeros((8, 8, 8), bool)

    assert betti(truth, truth, window=4) == betti(truth, truth) == Betti()
    assert betti(truth[:0], truth[:0]).mean == (0, 0, 0)
    truth[0, 0, 0] = True
    assert betti(~truth, truth, window=4).windows == 8
    assert betti(truth & False, truth, window=4) == Betti((1, 0, 0), windows=1)


def test_masks_that_do_not_fit_are_refused() -> None:
    mask = np.zeros((4, 4, 4), bool)
    with pytest.raises(ValueError, match="same voxels"):
        betti(mask, mask[:2])
    with pytest.raises(ValueError, match="window"):
        betti(mask, mask, window=0)
