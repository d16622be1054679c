"""The levels of a pyramid."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.geometry import ZYX, Frame, plan_levels

shapes = st.tuples(*[st.integers(1, 3000)] * 3)
spacings = st.tuples(*[st.floats(0.2, 8)] * 3)


@given(shapes, spacings, st.integers(8, 512))
def test_a_pyramid_ends_when_everything_is_small(
    shape: ZYX, spacing: tuple[float, float, float], smallest: int
) -> None:
    levels = plan_levels(shape, spacing, smallest=smallest)

    assert levels[0].shape == shape
    assert max(levels[-1].shape) <= smallest
    assert all(max(level.shape) > smallest for level in levels[:-1])


@given(shapes, spacings)
def test_no_plane_is_dropped_and_factors_add_up(
    shape: ZYX, spacing: tuple[float, float, float]
) -> None:
    levels = plan_levels(shape, spacing)

    for below, level in pairwise(levels):
        assert level.factor == tuple(np.multiply(below.factor, level.step))
        assert level.shape == tuple(
            -(-n // k) for n, k in zip(below.shape, level.step, strict=True)
        )
        assert set(level.step) <= {1, 2}
        assert 2 in level.step


@given(st.tuples(*[st.integers(300, 3000)] * 3), spacings)
def test_voxels_never_drift_from_isotropic(shape: ZYX, spacing: tuple[float, float, float]) -> None:
    def ratio(factor: ZYX) -> float:
        size = np.multiply(spacing, factor)
        return float(size.max() / size.min())

    worst = max(ratio(level.factor) for level in plan_levels(shape, spacing, smallest=299))

    assert worst <= max(ratio((1, 1, 1)), 2.0) * (1 + 1e-9)


@given(shapes, spacings)
def test_a_coarse_voxel_sits_in_the_middle_of_its_fine_ones(
    shape: ZYX, spacing: tuple[float, float, float]
) -> None:
    base = Frame(spacing, (5.0, -3.0, 0.0))
    for level in plan_levels(shape, spacing):
        fine = base.to_um([[0, 0, 0], [f - 1 for f in level.factor]])

        coarse = level.frame(base).to_um([[0, 0, 0]])

        np.testing.assert_allclose(coarse[0], fine.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(
            level.frame(base).spacing_um, np.multiply(spacing, level.factor), rtol=1e-12
        )


def test_a_small_volume_has_one_level() -> None:
    (level,) = plan_levels((10, 20, 30))

    assert level.factor == level.step == (1, 1, 1)


def test_a_flat_volume_is_halved_in_the_plane_only() -> None:
    shapes_of_levels = [level.shape for level in plan_levels((1, 600, 600))]

    assert shapes_of_levels == [(1, 600, 600), (1, 300, 300), (1, 150, 150)]


def test_a_plane_that_is_small_while_the_stack_is_high_is_halved_all_the_same() -> None:
    levels = plan_levels((2000, 64, 64), (10.0, 1.0, 1.0))

    assert max(levels[-1].shape) <= 256
