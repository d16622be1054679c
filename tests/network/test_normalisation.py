"""Grey values to network input: one map per brain, usable for every brain."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from neuroconn.errors import VolumeError
from neuroconn.network import Constants, Normalisation

BRAIN = {
    "min": 3,
    "max": 60000,
    "mad": 12,
    "zeros": 0.0,
    "percentiles": {"1": 60, "50": 100, "99": 700, "99.9": 4000},
}
EMPTY = {
    "min": 0,
    "max": 900,
    "mad": 0,
    "zeros": 0.999,
    "percentiles": {"1": 0, "50": 0, "99": 0, "99.9": 0, "99.99": 400},
}
FLAT = {"min": 7, "max": 7, "mad": 0, "percentiles": {"1": 7, "50": 7, "99": 7}}


def test_asinh_is_what_its_formula_says() -> None:
    constants = Normalisation(softening=2, scale=3).constants(BRAIN)

    values = np.array([60, 100, 124, 60000], dtype=np.uint16)
    expected = [math.asinh((v - 100) / 24) / 3 for v in values.tolist()]

    np.testing.assert_allclose(constants.apply(values), expected, rtol=1e-5)


def test_percentiles_become_zero_and_one() -> None:
    constants = Normalisation(kind="percentile", low=1, high=99).constants(BRAIN)

    values = constants.apply(np.array([0, 60, 380, 700, 60000], dtype=np.uint16))

    np.testing.assert_allclose(values, [0, 0, 0.5, 1, 1], atol=1e-6)


@pytest.mark.parametrize("statistics", [BRAIN, EMPTY, FLAT], ids=["brain", "empty", "flat"])
@pytest.mark.parametrize("kind", ["asinh", "percentile"])
def test_every_brain_has_finite_input_and_dark_is_near_zero(
    statistics: dict[str, Any], kind: str
) -> None:
    constants = Normalisation.model_validate({"kind": kind}).constants(statistics)

    values = constants.apply(np.array([statistics["percentiles"]["50"], 0, 65535], np.uint16))

    assert np.isfinite(values).all()
    assert 0 <= values[0] < 0.1
    assert values[2] > values[0]


def test_in_a_zeroed_background_the_first_grey_values_stand_out() -> None:
    values = Normalisation().constants(EMPTY).apply(np.array([0, 400, 900], np.uint16))

    assert values[0] == 0
    assert 0.3 < values[1] < values[2] < 2


def test_a_flat_volume_is_measured_in_grey_levels() -> None:
    assert Normalisation(softening=1).constants(FLAT).divisor == 1
    assert Normalisation(kind="percentile").constants(FLAT) == Constants("linear", 7, 1)


@given(
    st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", ">u2"]),
    st.sampled_from([Constants("asinh", 100, 48, 3), Constants("linear", 60, 640)]),
)
@settings(max_examples=30, deadline=None)
def test_arrays_and_tensors_are_normalised_alike(dtype: str, constants: Constants) -> None:
    values = np.arange(0, 250, 7).astype(dtype)
    before = values.copy()

    array = constants.apply(values)
    tensor = constants.apply(torch.from_numpy(values.astype(values.dtype.newbyteorder("="))))

    assert array.dtype == np.float32
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(array, tensor.numpy(), atol=1e-6)
    np.testing.assert_array_equal(values, before)


def test_brighter_never_becomes_darker() -> None:
    for kind in ("asinh", "percentile"):
        constants = Normalisation.model_validate({"kind": kind}).constants(BRAIN)
        assert (np.diff(constants.apply(np.arange(65536, dtype=np.uint16))) >= 0).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mad": None}, "mad = None"),
        ({"mad": float("nan")}, "not a finite number"),
        ({"percentiles": {"1": 0}}, "lack percentile 50"),
        ({"percentiles": {}}, "stored: none"),
    ],
)
def test_missing_or_broken_statistics_name_the_number(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(VolumeError, match=reason):
        Normalisation().constants({**BRAIN, **change})


def test_missing_deviation_is_an_error_and_not_zero() -> None:
    statistics = {k: v for k, v in BRAIN.items() if k != "mad"}

    with pytest.raises(VolumeError, match="lack 'mad'"):
        Normalisation().constants(statistics)


@pytest.mark.parametrize(
    "settings_", [{"softening": 0}, {"low": 99, "high": 1}, {"kind": "zscore"}, {"gamma": 1}]
)
def test_impossible_settings_are_refused(settings_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Normalisation.model_validate(settings_)


@pytest.mark.parametrize("divisor", [0.0, -1.0, float("nan"), float("inf")])
def test_constants_that_would_make_nan_cannot_exist(divisor: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Constants("asinh", 0.0, divisor)


def test_in_a_zeroed_volume_the_unit_follows_what_is_not_zero() -> None:
    statistics = {
        "min": 0,
        "max": 255,
        "mad": 0,
        "mean": 0.12,
        "zeros": 0.999,
        "percentiles": {"50": 0, "99.99": 255},
    }

    constants = Normalisation(softening=3, scale=1).constants(statistics)

    assert constants.divisor == pytest.approx(3 * 120 / 24)
    without_mean = {k: v for k, v in statistics.items() if k != "mean"}
    assert Normalisation(softening=3, scale=1).constants(without_mean).divisor == pytest.approx(
        3 * 255 / 24
    )
