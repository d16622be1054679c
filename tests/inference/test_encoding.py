import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.inference.encoding import Encoding

DTYPES = ("uint8", "uint16", "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.floats(-5, 50), min_size=1), clip=st.sampled_from([6.0, 10.0, 15.0]))
def test_decoding_gives_the_clipped_distance_within_half_a_step(
    dtype: str, values: list[float], clip: float
) -> None:
    encoding = Encoding(dtype, clip)
    distance = np.array(values, np.float32)

    decoded = encoding.decode(encoding.encode(distance))

    half = encoding.step / 2 if dtype != "float32" else 0
    np.testing.assert_allclose(decoded, np.clip(distance, 0, clip), atol=half + 1e-5, rtol=0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_no_distance_is_stored_as_unexplored(dtype: str) -> None:
    encoding = Encoding(dtype, 10.0)

    codes = encoding.encode(np.array([0, 10, 1e9, -1e9]))

    assert encoding.fill not in codes
    assert np.isnan(encoding.decode(np.array([encoding.fill], dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_storing_what_was_read_changes_nothing(dtype: str) -> None:
    encoding = Encoding(dtype, 10.0)
    codes = encoding.encode(np.linspace(0, 10, 997))

    np.testing.assert_array_equal(encoding.encode(encoding.decode(codes)), codes)


def test_the_threshold_of_eight_is_a_stored_number_exactly() -> None:
    encoding = Encoding("uint8", 10.0)

    assert encoding.decode(np.array([200], np.uint8))[0] == np.float32(8)


def test_xarray_reads_distances_and_nan_from_the_attributes() -> None:
    encoding = Encoding("uint8", 10.0)
    stored = xr.Dataset({"d": ("x", np.array([0, 125, 255], np.uint8), encoding.attributes())})

    decoded = xr.decode_cf(stored)["d"].values

    np.testing.assert_allclose(decoded, [0, 5, np.nan], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "clip"), [("int8", 10.0), ("uint8", 0.0), ("uint8", np.nan)])
def test_an_impossible_encoding_is_refused(dtype: str, clip: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Encoding(dtype, clip)
