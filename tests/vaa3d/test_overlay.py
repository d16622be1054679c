"""The overlay formula, and what TeraFly makes of it."""

from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from neuroconn.config import find_preset, list_presets
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import ConfigError, UsageError
from neuroconn.vaa3d.overlay import (
    Unexplored,
    Window,
    avoid_powers_of_two,
    formula,
    overlay,
    rgb,
)

UNIT = Window(0, 1000)
DEFAULT = OverlaySettings()


def one(n: float, distance: float, settings: OverlaySettings = DEFAULT, **kwargs: object) -> int:
    raw = np.full((1, 1, 1), n * 1000, dtype=np.uint16)
    value = overlay(raw, np.full((1, 1, 1), distance), settings, UNIT, **kwargs)  # type: ignore[arg-type]
    return int(value[0, 0, 0])


def local_max(view: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """What TeraFly shows of a 16-bit view: stretched by the view's own maximum."""
    k = ceil(log2(int(view.max())))
    return (((view.astype(np.uint64) << (16 - k)) & 0xFFFF) >> 8).astype(np.uint8)


@pytest.mark.parametrize(
    ("n", "distance", "value"),
    [(1, 0, 65535), (0, 6, 0), (0, 60, 0), (0.2, 6, 4369), (0, 1.5, 24576), (0.25, 0, 49151)],
)
def test_known_values(n: float, distance: float, value: int) -> None:
    assert one(n, distance) == value


def test_the_brightest_value_follows_dtype_and_peak() -> None:
    assert one(1, 0, peak=32767) == 32767
    assert one(1, 0, dtype=np.uint8) == 255


def test_unexplored_voxels_show_the_image_or_nothing() -> None:
    assert one(0.2, np.nan) == one(0.2, 6) == 4369
    assert one(0.2, np.nan, unexplored="null") == 0


def test_a_window_cuts_what_lies_outside() -> None:
    raw = np.array([[[0, 100, 150, 200, 60000]]], dtype=np.uint16)
    plain = OverlaySettings(factor=0)

    values = overlay(raw, np.full(raw.shape, np.nan), plain, Window(100, 200), dtype=np.uint8)

    assert values.ravel().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.uint32])
def test_signed_and_wide_output_is_refused(dtype: type) -> None:
    with pytest.raises(UsageError, match="uint8 or uint16"):
        one(0, 0, dtype=dtype)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    power=st.floats(0.5, 4),
    factor=st.floats(0, 8),
    cut=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_a_voxel_does_not_know_its_tile(
    seed: int, power: float, factor: float, cut: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(seed)
    chosen = OverlaySettings(power=power, factor=factor)
    raw = rng.integers(0, 2000, (6, 6, 6), dtype=np.uint16)
    distance = np.where(rng.random((6, 6, 6)) < 0.2, np.nan, rng.random((6, 6, 6)) * 12)
    whole = overlay(raw, distance, chosen, UNIT)

    tile = tuple(slice(n, None) for n in cut)
    alone = overlay(raw[tile], distance[tile], chosen, UNIT)

    np.testing.assert_array_equal(alone, whole[tile])


@given(near=st.floats(0, 15), step=st.floats(0, 5), n=st.floats(0, 1), image=st.floats(0, 1))
def test_nearer_is_never_darker(near: float, step: float, n: float, image: float) -> None:
    chosen = OverlaySettings(image=image)

    assert one(n, near, chosen) >= one(n, near + step, chosen)


def test_colours_carry_image_and_distance_apart() -> None:
    raw = np.array([[[0, 1000, 1000]]], dtype=np.uint16)

    picture = rgb(raw, np.array([[[0.0, 6.0, np.nan]]]), DEFAULT, UNIT)

    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [[0, 255, 0], [255, 0, 255], [255, 0, 255]]
    black = rgb(raw, np.array([[[0.0, 6.0, np.nan]]]), DEFAULT, UNIT, unexplored="null")
    assert black[0, 0, 2].tolist() == [0, 0, 0]


@given(arrays(np.uint16, (2, 3, 4)))
def test_no_view_shows_its_brightest_voxel_black(values: NDArray[np.uint16]) -> None:
    stepped = avoid_powers_of_two(values)

    if stepped.any():
        assert local_max(stepped)[stepped == stepped.max()].min() > 0


def test_only_powers_of_two_are_stepped_down() -> None:
    every = np.arange(65536, dtype=np.uint16)

    stepped = avoid_powers_of_two(every)

    changed = every[stepped != every]
    assert changed.tolist() == [2**j for j in range(16)]
    assert not np.isin(stepped[stepped > 0], changed).any()
    assert (every - stepped).max() <= 2
    assert local_max(np.array([0, 4096], dtype=np.uint16)).tolist() == [0, 0]  # the fault itself
    assert local_max(np.array([0, 4095], dtype=np.uint16)).tolist() == [0, 255]


def test_bytes_have_no_such_fault_and_stay() -> None:
    values = np.array([1, 2, 128], dtype=np.uint8)

    assert avoid_powers_of_two(values) is values


@pytest.mark.parametrize(("low", "high"), [(5, 5), (9, 3), (np.nan, 3), (0, np.inf)])
def test_an_empty_window_is_refused(low: float, high: float) -> None:
    with pytest.raises(UsageError, match="low < high"):
        Window(low, high)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        overlay(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)), DEFAULT, UNIT)


def test_replace_shows_the_prediction_alone() -> None:
    alone = OverlaySettings(image=0)

    assert one(1, 0, alone) == one(0, 0, alone) == 65535
    assert one(1, 6, alone) == one(0, 60, alone) == 0
    assert one(0.5, 3, alone, dtype=np.uint8) == 64  # (1 - 3/6) ** 2 of 255


def test_where_nobody_looked_replace_shows_what_the_overlay_does() -> None:
    alone = OverlaySettings(image=0)

    assert one(0.2, np.nan, alone) == one(0.2, np.nan) == 4369
    assert one(0.2, np.nan, alone, unexplored="null") == 0


def test_weights_count_against_each_other() -> None:
    assert one(1, 60, OverlaySettings(image=0.5, factor=0.5)) == 32768
    assert one(0, 0, OverlaySettings(image=0.5, factor=0.5)) == 32768
    assert one(1, 60, OverlaySettings(image=0.5, factor=0)) == 65535


@pytest.mark.parametrize("unexplored", ["raw", "null"])
@pytest.mark.parametrize(
    "chosen", [DEFAULT, OverlaySettings(image=0), OverlaySettings(clip=10, power=1, image=0.25)]
)
def test_the_recorded_formula_gives_the_recorded_voxels(
    chosen: OverlaySettings, unexplored: Unexplored
) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 1200, (3, 4, 5)).astype(np.uint16)
    distance = rng.random(raw.shape) * 12
    distance[0, 0] = np.nan

    words = formula(chosen, UNIT, 32767, unexplored)

    looked, _, dim = words.removesuffix(" where nobody looked").rpartition("; ")
    value, bright, near = looked.split(", n = ")[0], *looked.split(", n = ")[1].split(", p = ")
    known: dict[str, object] = {"clip": np.clip, "floor": np.floor, "raw": raw.astype(float)}
    known |= {"distance": distance}
    known |= {"n": eval(bright, known), "p": eval(near, known)}
    expected = np.where(np.isnan(distance), eval(dim, known), eval(value, known))
    found = overlay(raw, distance, chosen, UNIT, peak=32767, unexplored=unexplored)
    np.testing.assert_array_equal(found, expected)


def test_the_formula_of_colours_names_each_of_them() -> None:
    words = formula(OverlaySettings(colour="rgb"), UNIT, 255, "raw")

    assert words.startswith("red = blue = floor(255 * n + 0.5), green = floor(255 * p + 0.5)")
    assert words.endswith("green = 0 where nobody looked")


def test_an_overlay_of_nothing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nothing would show"):
        read_settings(OverlaySettings, find_preset("overlay", "plain"), "image=0")


def test_the_presets_differ_as_named() -> None:
    found = {
        name: read_settings(OverlaySettings, find_preset("overlay", name))
        for name in list_presets("overlay")["overlay"]
    }

    assert set(found) == {"plain", "clip-10", "clip-6", "clip-6-power-2", "replace", "rgb"}
    assert found["clip-6-power-2"] == DEFAULT
    assert found["plain"].factor == 0
    assert (found["replace"].image, found["replace"].factor) == (0, DEFAULT.factor)
    assert (found["clip-10"].clip, found["clip-10"].power) == (10, 1)
    assert (found["clip-6"].clip, found["clip-6"].power) == (6, 1)
    assert found["rgb"].colour == "rgb"


def test_crossed_percentiles_are_an_error() -> None:
    with pytest.raises(ConfigError, match="low_percentile"):
        read_settings(OverlaySettings, find_preset("overlay", "plain"), "low_percentile=99.95")
