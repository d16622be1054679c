"""Other ways to lay a tracing over a brain, and whether the right one is named."""

import numpy as np
import pytest

from neuroconn.annotation import Forest, check_alignment, distance_map, render
from neuroconn.annotation.alternatives import alternatives
from neuroconn.annotation.placement import flip_axes, place, reorder
from neuroconn.errors import UsageError
from neuroconn.geometry import Box, Frame

SHAPE = (40, 60, 80)
FRAME = Frame((2.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def tracing() -> Forest:
    rng = np.random.default_rng(8)
    steps = rng.normal((0.1, 0.2, 0.3), 1, (200, 3))
    path = np.clip(np.add(np.cumsum(steps, axis=0), (4, 5, 6)), 1, np.subtract(SHAPE, 2))
    return Forest(path, np.arange(-1, 199))


@pytest.fixture(scope="module")
def image(tracing: Forest) -> np.ndarray:
    distance = distance_map(render(tracing, Box.of_shape(SHAPE)), clip=4)
    noise = np.random.default_rng(0).normal(100, 10, SHAPE)
    return (noise + 400 * np.exp(-(distance**2))).astype(np.uint16)


def advice(raw: Forest, image: np.ndarray, units: str = "voxel") -> str:
    """What the check says of a file laid over the image, in one string."""
    options = {"units": units, "flip": "", "axes": "xyz"}
    forest = place(raw, frame=FRAME, shape=SHAPE, **options)
    others = alternatives(raw, frame=FRAME, shape=SHAPE, **options)
    return " ".join(check_alignment(forest, image, others=others).warnings)


def test_a_tracing_that_fits_gets_no_advice(tracing: Forest, image: np.ndarray) -> None:
    assert advice(tracing, image) == ""
    assert advice(tracing.transform((2, 1, 1)), image, "um") == ""


@pytest.mark.parametrize("flip", ["y", "z", "x", "zy", "zyx"])
def test_flips_are_named(tracing: Forest, image: np.ndarray, flip: str) -> None:
    said = advice(flip_axes(tracing, flip, SHAPE), image)

    named = "y flipped" if flip == "y" else f"flip: {flip}"
    assert f"brighter at the nodes with {named} (median percentile" in said


@pytest.mark.parametrize("axes", ["xzy", "zxy"])
def test_other_columns_are_named(image: np.ndarray, tracing: Forest, axes: str) -> None:
    small = Forest(tracing.positions[:60], tracing.parents[:60])
    distance = distance_map(render(small, Box.of_shape(SHAPE)), clip=4)
    own = (100 + 400 * np.exp(-(distance**2)) + image / 50).astype(np.uint16)
    written = np.empty_like(small.positions)
    for column, axis in enumerate(axes):  # column 0 of the file is read as x, and so on
        written[:, 2 - column] = small.positions[:, "zyx".index(axis)]
    raw = small.at(written)
    np.testing.assert_array_equal(reorder(raw, axes).positions, small.positions)

    assert f"axes: {axes}" in advice(raw, own)


def test_other_units_and_other_voxel_sizes_are_named(tracing: Forest, image: np.ndarray) -> None:
    halved = tracing.transform(0.5, (-0.25, -0.25, -0.25))

    assert "coordinates 2 times as large" in advice(halved, image)
    um = Forest(tracing.positions[:90] * (2, 1, 1), tracing.parents[:90])
    assert "units: um" in advice(um, image)


def test_only_ways_that_stay_inside_are_offered(tracing: Forest) -> None:
    options = {"units": "voxel", "flip": "", "axes": "xyz", "frame": FRAME, "shape": SHAPE}

    offered = list(alternatives(tracing, **options))

    assert len({way.advice for way in offered}) == len(offered) >= 8
    for way in offered:
        inside = (way.forest.positions >= -0.5) & (way.forest.positions < np.subtract(SHAPE, 0.5))
        assert inside.all(axis=1).mean() >= 0.95


def test_columns_that_are_no_axes_are_refused(tracing: Forest) -> None:
    with pytest.raises(UsageError, match="once each"):
        reorder(tracing, "xxy")
