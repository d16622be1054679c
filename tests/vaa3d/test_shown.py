"""What TeraFly and the 3D viewer make of voxels."""

from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from neuroconn.vaa3d.overlay import avoid_powers_of_two
from neuroconn.vaa3d.shown import as_opened_directly, as_shown_by_terafly


def shown(*values: int) -> list[int]:
    return as_shown_by_terafly(np.array(values, dtype=np.uint16)).tolist()


@pytest.mark.parametrize(
    ("largest", "peak"),
    [(255, 255), (1000, 250), (4095, 255), (40000, 156), (65535, 255), (3, 192), (3000, 187)],
)
def test_a_view_is_stretched_by_its_own_maximum(largest: int, peak: int) -> None:
    assert shown(0, largest) == [0, peak]


@pytest.mark.parametrize("largest", [1, 2, 256, 4096, 32768])
def test_a_maximum_that_is_a_power_of_two_shows_black(largest: int) -> None:
    assert shown(0, largest) == [0, 0]
    assert shown(largest // 2 + 1 if largest > 2 else 1, largest)[-1] == 0


def test_the_same_voxel_looks_dimmer_beside_a_brighter_one() -> None:
    assert shown(3000)[0] == 187
    assert shown(3000, 60000)[0] == 11


@given(arrays(np.uint16, (2, 3, 4), elements=st.one_of(st.integers(0, 9), st.integers(0, 65535))))
def test_the_bits_are_those_of_the_formula_in_whole_numbers(view: NDArray[np.uint16]) -> None:
    largest = int(view.max())
    shift = 16 - ceil(log2(largest)) if largest else 0

    slow = [((int(v) << shift) & 0xFFFF) >> 8 for v in view.ravel()]

    assert as_shown_by_terafly(view).ravel().tolist() == slow


@given(arrays(np.uint16, (3, 3, 3)))
def test_without_powers_of_two_brighter_is_never_shown_darker(view: NDArray[np.uint16]) -> None:
    values = avoid_powers_of_two(view).ravel()

    order = np.argsort(values, kind="stable")

    assert (np.diff(as_shown_by_terafly(values)[order].astype(int)) >= 0).all()


def test_bytes_are_shown_as_they_are() -> None:
    view = np.array([0, 1, 128], dtype=np.uint8)

    assert as_shown_by_terafly(view) is view
    assert as_opened_directly(view) is view


def test_nothing_shows_nothing() -> None:
    assert as_shown_by_terafly(np.zeros((0, 2, 2), np.uint16)).shape == (0, 2, 2)
    assert shown(0, 0) == [0, 0]


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_other_voxels_are_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match="uint8 and uint16"):
        as_shown_by_terafly(np.zeros(3, dtype))


def test_a_file_opened_directly_turns_negative_above_32767() -> None:
    values = np.array([0, 32767, 32768, 65535], dtype=np.uint16)

    assert as_opened_directly(values).tolist() == [0, 32767, -32768, -1]
