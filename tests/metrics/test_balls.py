import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.annotation import distance_map
from neuroconn.metrics import ccq
from neuroconn.metrics.balls import ball, nearest, painted

SIZES = [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)]


@given(
    seed=st.integers(0, 2**32 - 1),
    radius=st.sampled_from([0.5, 1.0, 2.3, 3.0, 5.0]),
    spacing=st.sampled_from(SIZES),
)
@settings(max_examples=30, deadline=None)
def test_what_is_painted_is_nearer_than_the_radius(
    seed: int, radius: float, spacing: tuple[float, float, float]
) -> None:
    lines = np.random.default_rng(seed).random((9, 11, 13)) < 0.02

    tube = painted(lines, ball(radius, spacing=spacing, closed=False))

    expected = distance_map(lines, spacing=spacing, clip=radius + 1) < np.float32(radius)
    np.testing.assert_array_equal(tube, expected)


@given(seed=st.integers(0, 2**32 - 1), radius=st.sampled_from([0.0, 1.0, 3.0]))
@settings(max_examples=30, deadline=None)
def test_the_first_offset_into_a_mask_is_the_shortest(seed: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    mask, voxels = rng.random((8, 9, 10)) < 0.05, rng.integers(-3, 12, (30, 3))
    offsets = ball(radius)

    found = nearest(mask, voxels, offsets)

    there = np.argwhere(mask)
    for voxel, index in zip(voxels, found, strict=True):
        square = ((there - voxel) ** 2).sum(axis=1).min(initial=10_000)
        assert (index >= 0) == (square <= radius**2)
        if index >= 0:
            assert mask[tuple(voxel + offsets[index])]
            assert (offsets[index] ** 2).sum() == square


@given(seed=st.integers(0, 2**32 - 1), axes=st.sampled_from([2, 3]))
@settings(max_examples=20, deadline=None)
def test_small_and_large_slacks_count_alike(seed: int, axes: int) -> None:
    shape = (7, 20, 22)[-axes:]
    prediction, truth = np.random.default_rng(seed).random((2, *shape)) < 0.01
    spacing = (2.0, 1.0, 1.5)[-axes:]
    looked = ccq(prediction, truth, slack=3.0, spacing=spacing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[ccq.__module__], "_LARGEST_BALL", 0)
        assert ccq(prediction, truth, slack=3.0, spacing=spacing) == looked


def test_a_radius_is_a_number() -> None:
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="slack"):
            ball(wrong)
