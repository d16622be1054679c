from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources import Mapping

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@given(data=st.data(), name=st.sampled_from(INTEGERS), offset=st.integers(-70_000, 70_000))
def test_an_offset_is_added_without_overflow_and_what_does_not_fit_is_counted(
    data: st.DataObject, name: str, offset: int
) -> None:
    voxels = data.draw(hnp.arrays(name, (2, 3, 4)))

    stored, clipped = Mapping(offset=offset, dtype="uint16")(voxels)

    exact = [int(v) + offset for v in voxels.ravel()]
    assert stored.dtype == np.uint16
    assert stored.ravel().tolist() == [min(max(v, 0), 65535) for v in exact]
    assert clipped == sum(not 0 <= v <= 65535 for v in exact)


def test_int16_survives_its_offset_bit_for_bit() -> None:
    voxels = np.arange(-32768, 32768, dtype=np.int16).reshape(1, 256, 256)

    stored, clipped = Mapping(offset=32768)(voxels)

    assert clipped == 0
    np.testing.assert_array_equal(stored.astype(np.int64) - 32768, voxels)


@given(
    values=hnp.arrays(np.float32, (1, 4, 5), elements=st.floats(-1e6, 1e6, width=32)),
    low=st.floats(-1000, 1000),
    width=st.floats(1e-3, 1e5),
    dtype=st.sampled_from(["uint8", "uint16"]),
)
def test_a_range_is_a_straight_line_between_its_ends(
    values: Any, low: float, width: float, dtype: Any
) -> None:
    top = np.iinfo(dtype).max
    high = low + width

    stored, clipped = Mapping(range=(low, high), dtype=dtype)(values)

    exact = np.clip((values.astype(np.float64) - low) / (high - low) * top, 0, top)
    assert stored.dtype == dtype
    assert np.abs(stored - exact).max() <= 0.5 + 1e-6
    assert clipped == np.count_nonzero((values < low) | (values > high))


@pytest.mark.parametrize("name", ["uint8", "uint16"])
def test_what_a_brain_stores_is_kept_as_it_is(name: str) -> None:
    voxels = np.arange(24, dtype=name).reshape(2, 3, 4)
    mapping = Mapping()
    mapping.check(voxels.dtype, "a.tif")

    stored, clipped = mapping(voxels)

    assert stored is voxels
    assert clipped == 0
    assert mapping.as_dict() is None


def test_uint8_may_be_stored_as_uint16() -> None:
    stored, clipped = Mapping(dtype="uint16")(np.array([[[0, 255]]], np.uint8))

    assert stored.dtype == np.uint16
    assert (stored.tolist(), clipped) == ([[[0, 255]]], 0)


@pytest.mark.parametrize(
    ("mapping", "dtype", "error", "said"),
    [
        (Mapping(), "int16", VolumeError, "--offset N, added to every value (32768 keeps all)"),
        (Mapping(), "int8", VolumeError, "128 keeps all"),
        (Mapping(), "float32", VolumeError, "--range LOW HIGH"),
        (Mapping(dtype="uint8"), "uint16", UsageError, "--range LOW HIGH"),
        (Mapping(offset=1), "float32", UsageError, "--offset shifts integers"),
        (Mapping(offset=1, range=(0, 1)), "int16", UsageError, "not both"),
        (Mapping(range=(1, 1)), "int16", UsageError, "low before high"),
        (Mapping(range=(0, float("nan"))), "int16", UsageError, "finite"),
    ],
)
def test_no_mapping_is_guessed(
    mapping: Mapping, dtype: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        mapping.check(np.dtype(dtype), "a.tif")
    assert said in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_has_no_grey_value(value: float) -> None:
    voxels = np.zeros((1, 2, 2), np.float32)
    voxels[0, 1, 1] = value

    with pytest.raises(VolumeError, match="1 voxels are NaN or infinite"):
        Mapping(range=(0, 1))(voxels)
