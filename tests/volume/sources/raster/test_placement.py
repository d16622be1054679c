import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.volume.sources.raster.placement import placement

MM = [1000.0] * 3


def test_spacing_and_origin_are_turned_to_zyx_micrometres() -> None:
    placed = placement(np.diag([0.1, 0.2, 0.5]), [1, 2, 3], MM, "")

    assert placed.spacing_um == pytest.approx((500, 200, 100))
    assert placed.origin_um == (3000, 2000, 1000)
    assert placed.notes == ()


def test_each_world_axis_has_its_own_unit() -> None:
    placed = placement(np.diag([1, 1, 0.002]), [0, 0, 0.01], [1.0, 1.0, 1000.0], "")

    assert placed.spacing_um == (2, 1, 1)
    assert placed.origin_um == (10, 0, 0)


@settings(max_examples=50, deadline=None)
@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    sizes=st.tuples(*[st.floats(0.01, 100)] * 3),
)
def test_swapped_and_mirrored_axes_keep_their_spacing_without_a_word(
    order: list[int], signs: tuple[int, ...], sizes: tuple[float, ...]
) -> None:
    steps = np.diag(np.multiply(sizes, signs))[:, order]
    placed = placement(steps, [0, 0, 0], [1.0] * 3, "")

    assert placed.spacing_um == pytest.approx(sizes[::-1])
    assert placed.notes == ()


@pytest.mark.parametrize("degrees", [0.1, 5, 45, -100])
def test_turned_axes_keep_their_lengths_and_are_noted(degrees: float) -> None:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    steps = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) * [[0.4], [0.5], [2]]
    placed = placement(steps, [0, 0, 0], [1.0] * 3, "")

    assert placed.spacing_um == pytest.approx((2, 0.5, 0.4))
    [note] = placed.notes
    assert "turned" in note
    assert "kept in stored order" in note
    assert f"x ({c:.6g}, {s:.6g}, 0)" in note


def test_parallel_axes_are_noted() -> None:
    placed = placement([[1, 0, 0], [1, 0, 0], [0, 0, 1]], [0, 0, 0], MM, "")

    assert "turned" in placed.notes[0]


def test_the_origin_of_mirrored_axes_is_left_out() -> None:
    placed = placement(np.diag([-1, 1, 1]), [5, 6, 7], MM, "")

    assert placed.origin_um == (0, 0, 0)
    assert placed.notes == (
        "the origin (x, y, z) (5, 6, 7) is left out: the file's axes run otherwise",
    )


def test_without_a_unit_the_numbers_are_told_and_not_used() -> None:
    placed = placement(np.diag([0.5, 0.6, 2]), [1, 1, 1], [None] * 3, "without a unit")

    assert placed.spacing_um is None
    assert placed.origin_um == (0, 0, 0)
    assert placed.notes == (
        "the voxel size (z, y, x) (2, 0.6, 0.5) is given without a unit: --spacing sets it",
    )


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, -np.inf])
def test_an_impossible_size_is_noted_and_not_used(bad: float) -> None:
    with np.errstate(all="ignore"):
        placed = placement(np.diag([1, bad, 1]), [0, 0, 0], MM, "")

    assert placed.spacing_um is None
    assert "is not positive" in placed.notes[0]


def test_an_origin_that_is_no_number_is_left_out() -> None:
    placed = placement(np.eye(3), [0, np.nan, 0], MM, "")

    assert placed.spacing_um == (1000, 1000, 1000)
    assert placed.origin_um == (0, 0, 0)
