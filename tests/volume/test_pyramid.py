from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.volume.pyramid import reduce_block, reduced_box


def slow(block: NDArray[Any], step: tuple[int, int, int], method: str) -> NDArray[Any]:
    """Voxel by voxel, over the voxels that exist."""
    shape = [-(-n // k) for n, k in zip(block.shape, step, strict=True)]
    out = np.zeros(shape, block.dtype)
    for index in product(*map(range, shape)):
        part = block[tuple(slice(i * k, i * k + k) for i, k in zip(index, step, strict=True))]
        if method == "mean":
            out[index] = int(np.floor(part.astype(float).sum() / part.size + 0.5))
        elif method == "mode":
            values, counts = np.unique(part, return_counts=True)
            out[index] = values[np.argmax(counts)]
        else:
            out[index] = part.max() if method == "max" else part.min()
    return out


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    step=st.tuples(*[st.integers(1, 2)] * 3),
    method=st.sampled_from(["max", "min", "mean", "mode"]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**16),
)
def test_a_level_is_the_slow_reduction_of_the_level_below(
    shape: tuple[int, int, int],
    step: tuple[int, int, int],
    method: str,
    dtype: type[np.unsignedinteger[Any]],
    seed: int,
) -> None:
    top = np.iinfo(dtype).max
    block = np.random.default_rng(seed).integers(top - 9, top, shape, endpoint=True).astype(dtype)
    before = block.copy()

    reduced = reduce_block(block, step, method)

    np.testing.assert_array_equal(reduced, slow(block, step, method))
    assert reduced.dtype == dtype
    np.testing.assert_array_equal(block, before)


def test_a_bright_last_odd_plane_survives() -> None:
    block = np.zeros((3, 3, 3), np.uint16)
    block[2, 2, 2] = 600

    assert reduce_block(block, (2, 2, 2), "max")[1, 1, 1] == 600


def test_the_minimum_of_distance_codes_ignores_what_was_not_explored() -> None:
    codes = np.array([[[255, 250, 255, 255, 12, 255]]], np.uint8)

    assert reduce_block(codes, (1, 1, 2), "min").tolist() == [[[250, 255, 12]]]


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="max, min, mean, mode"):
        reduce_block(np.zeros((2, 2, 2), np.uint8), (2, 2, 2), "stride")


def test_reduced_boxes_tile_the_next_level() -> None:
    assert reduced_box(Box((8, 0, 4), (11, 8, 5)), (2, 1, 2)) == Box((4, 0, 2), (6, 8, 3))
