"""One pyramid step against a loop over voxels."""

from itertools import product
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.vaa3d.halving import halve


@pytest.mark.parametrize(("total", "mean"), [(3, 0), (4, 1), (11, 1), (12, 2)])
def test_the_mean_rounds_halves_up(total: int, mean: int) -> None:
    values = np.zeros((2, 2, 2), dtype=np.uint16)
    values[1, 0, 1] = total

    assert halve(values)[0, 0, 0] == mean


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 5)] * 3),
    step=st.tuples(*[st.integers(1, 2)] * 3),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_coarse_voxel_stands_for_its_block(
    shape: tuple[int, int, int], step: tuple[int, int, int], dtype: type, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, True)

    mean, largest = halve(values, step, "mean"), halve(values, step, "max")

    assert mean.shape == tuple(n // k for n, k in zip(shape, step, strict=True))
    assert mean.dtype == largest.dtype == dtype
    for index in product(*map(range, mean.shape)):
        block = values[tuple(slice(i * k, i * k + k) for i, k in zip(index, step, strict=True))]
        exact = sum(int(v) for v in block.ravel()) / block.size
        assert mean[index] == (ceil(exact) if exact % 1 >= 0.5 else floor(exact))
        assert largest[index] == block.max()


def test_odd_last_planes_are_dropped() -> None:
    values = np.zeros((3, 5, 4), dtype=np.uint8)
    values[2], values[:, 4] = 255, 255

    assert halve(values).shape == (1, 2, 2)
    assert not halve(values, how="max").any()
