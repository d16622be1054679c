"""Voxels and micrometres."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.geometry import Frame

sizes = st.tuples(*[st.floats(0.01, 100)] * 3)
origins = st.tuples(*[st.floats(-1e4, 1e4)] * 3)
points = st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 3), min_size=1, max_size=4)


@given(sizes, origins, points)
def test_there_and_back_is_nothing(
    spacing: tuple[float, float, float], origin: tuple[float, float, float], voxels: list[object]
) -> None:
    frame = Frame(spacing, origin)

    np.testing.assert_allclose(frame.to_voxels(frame.to_um(voxels)), voxels, atol=1e-6)


@given(sizes, origins)
def test_the_origin_is_the_centre_of_the_first_voxel(
    spacing: tuple[float, float, float], origin: tuple[float, float, float]
) -> None:
    frame = Frame(spacing, origin)

    np.testing.assert_array_equal(frame.to_um([[0, 0, 0]]), [origin])


@pytest.mark.parametrize("spacing", [(0.0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_spacings_that_are_no_lengths_are_refused(spacing: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="finite and positive"):
        Frame(spacing)


def test_an_infinite_origin_is_refused() -> None:
    with pytest.raises(ValueError, match="origin must be finite"):
        Frame((1, 1, 1), (float("inf"), 0, 0))
