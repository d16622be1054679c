"""The compiled ways give what the formulas give, number for number."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.config.overlay import OverlaySettings
from neuroconn.vaa3d.kernels import step_down
from neuroconn.vaa3d.lookup import LookupTable
from neuroconn.vaa3d.overlay import Window, avoid_powers_of_two, overlay

overlays = st.builds(
    OverlaySettings,
    clip=st.floats(0.5, 10),
    power=st.floats(0.3, 5),
    factor=st.floats(0.1, 8),
    image=st.sampled_from([0.0, 0.5, 1.0]),
)


@settings(max_examples=25, deadline=None)
@given(
    chosen=overlays,
    low=st.integers(0, 300),
    span=st.integers(1, 400),
    raw_dtype=st.sampled_from([np.uint8, np.uint16]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    unexplored=st.sampled_from(["raw", "null"]),
    seed=st.integers(0, 99),
)
def test_a_table_gives_what_the_formula_gives(
    chosen: OverlaySettings,
    low: int,
    span: int,
    raw_dtype: Any,
    dtype: Any,
    unexplored: Any,
    seed: int,
) -> None:
    window, rng = Window(low, low + span), np.random.default_rng(seed)
    distances = np.arange(256) * 0.04
    distances[255] = np.nan
    largest = int(np.iinfo(raw_dtype).max)
    raw = rng.integers(0, min(largest, 900) + 1, (3, 5, 70)).astype(raw_dtype)
    raw[0, 0, :2] = 0, largest
    codes = rng.integers(0, 256, raw.shape).astype(np.uint8)

    def mix(values: Any, distance: Any) -> Any:
        return overlay(values, distance, chosen, window, dtype=dtype, unexplored=unexplored)

    found = LookupTable(mix, window, distances, largest)(raw, codes)

    assert found.dtype == dtype
    np.testing.assert_array_equal(found, mix(raw, distances[codes]))


def test_a_table_is_for_codes_of_one_byte() -> None:
    with pytest.raises(ValueError, match="256 codes"):
        LookupTable(lambda raw, d: raw, Window(0, 9), np.arange(65536.0), 255)


def test_every_value_is_stepped_down_as_the_formula_says() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    expected = avoid_powers_of_two(values)

    step_down(values)

    np.testing.assert_array_equal(values, expected)
