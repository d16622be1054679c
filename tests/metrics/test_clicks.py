"""Markers along rays, against a slow twin and cases counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.metrics.clicks import click, random_aims, random_rays, spans

Ends = tuple[tuple[float, float, float], tuple[float, float, float]]
ALONG: Ends = ((0, 0, 0), (0, 0, 20))


def row(**bright: float) -> NDArray[np.float64]:
    """One row of 21 voxels, given as x7=100."""
    volume = np.zeros((1, 1, 21))
    for place, value in bright.items():
        volume[0, 0, int(place[1:])] = value
    return volume


def one(volume: NDArray[np.generic], ends: Ends = ALONG) -> list[float]:
    start, stop = np.array(ends, dtype=float)[:, None]
    found: list[float] = click(volume, start, stop)[0].tolist()
    return found


def sample(volume: NDArray[np.generic], point: NDArray[np.float64]) -> float:
    """Linear between voxels, 0 outside."""
    if (point < 0).any() or (point > np.subtract(volume.shape, 1)).any():
        return 0.0
    low = np.minimum(np.floor(point).astype(int), np.maximum(np.subtract(volume.shape, 2), 0))
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        place = low + corner
        if (place < volume.shape).all():
            share = np.prod(1 - np.abs(point - place))
            total += share * float(volume[tuple(place)])
    return total


def slow_click(
    volume: NDArray[np.generic], start: NDArray[np.float64], stop: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The rule, word by word, one ray and one point at a time."""
    marker = np.full(3, np.nan)
    for _ in range(200):
        length = math.dist(start, stop)
        if length < 0.5:
            break
        pieces = math.floor(length + 0.5)
        direction = (stop - start) / length
        points = [start + i * length / pieces * direction for i in range(pieces + 1)]
        values = [sample(volume, point) for point in points]
        if sum(values) == 0:
            break
        marker = sum(v * p for v, p in zip(values, points, strict=True)) / sum(values)
        start = marker - 0.4 * length * direction
        stop = marker + 0.4 * length * direction
    return marker


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.uint8, np.float32]))
def test_all_rays_at_once_are_as_one_by_one(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 12, 3)
    volume = (rng.random(shape) ** 8 * 255).astype(dtype)
    start, stop = rng.uniform(-2, shape + 1, (2, 6, 3))

    found = click(volume, start, stop)

    for ray in range(6):
        np.testing.assert_allclose(found[ray], slow_click(volume, start[ray], stop[ray]), atol=1e-6)


def test_one_bright_voxel_is_found() -> None:
    assert one(row(x7=100)) == [0, 0, 7]


def test_of_two_voxels_the_brighter_wins_although_the_first_centroid_is_between() -> None:
    assert one(row(x4=100, x16=50)) == pytest.approx([0, 0, 4], abs=0.01)
    assert one(row(x4=50, x16=100)) == pytest.approx([0, 0, 16], abs=0.01)


def test_between_two_equal_voxels_the_marker_falls_into_the_gap() -> None:
    assert one(row(x8=100, x12=100)) == pytest.approx([0, 0, 10], abs=0.01)


def test_background_draws_the_marker_to_the_middle_of_the_ray() -> None:
    assert one(row(x3=100) + 100)[2] > 5
    assert one(row(x3=1000) + 1) == pytest.approx([0, 0, 3], abs=0.1)


def test_an_empty_ray_has_no_marker() -> None:
    beside = np.zeros((1, 5, 21))
    beside[0, 4] = 9

    assert np.isnan(one(beside)).all()
    assert np.isnan(one(beside, ((0, 9, 0), (0, 9, 20)))).all()


def test_a_ray_shorter_than_half_a_voxel_is_no_ray() -> None:
    assert np.isnan(one(row(x0=9), ((0, 0, 0), (0, 0, 0.49)))).all()
    assert one(row(x0=9), ((0, 0, 0), (0, 0, 0.5))) == pytest.approx([0, 0, 0], abs=0.3)
    assert np.isnan(one(row(x0=9), ((0, 0, 0), (0, 0, 0)))).all()


def test_a_negative_peak_pushes_the_marker_away() -> None:
    bright = row(x6=40000) + 1000

    assert one(bright.astype(np.uint16)) == pytest.approx([0, 0, 6], abs=0.1)
    assert abs(one(bright.astype(np.uint16).view(np.int16))[2] - 6) > 3


def test_no_rays_are_no_markers() -> None:
    assert click(row(), np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)


LINES = Graph([[5, 5, -10], [5, 5, 30], [2, 2, 2], [2, 2, 3]], edges=[[0, 1], [2, 3]])


def test_aims_lie_on_lines_inside_the_box_in_proportion_to_length() -> None:
    aims = random_aims(LINES, (0, 0, 0), (9, 9, 9), 4000, np.random.default_rng(0))

    long = aims[:, 1] == 5
    assert ((aims >= 0) & (aims <= 9)).all()
    assert (aims[long, 0] == 5).all()
    assert (aims[~long, :2] == 2).all()
    assert long.mean() == pytest.approx(0.9, abs=0.02)  # 9 of 10 voxels of length
    assert aims[long, 2].mean() == pytest.approx(4.5, abs=0.2)


def test_without_a_line_in_the_box_there_is_no_aim() -> None:
    assert random_aims(LINES, (20, 20, 20), (30, 30, 30), 9, np.random.default_rng(0)).size == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rays_pass_through_their_aim_from_face_to_face(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(11, 40, 3)
    aims = rng.uniform(5, shape - 6, (20, 3))

    rays = random_rays(aims, shape.tolist(), rng, jitter=0)

    course = rays.stop - rays.start
    off = np.cross(aims - rays.start, course)
    assert np.abs(off).max() < 1e-6 * (course**2).sum(axis=1).max()
    for ends in (rays.start, rays.stop):
        at_a_face = np.isclose(ends, 0) | np.isclose(ends, shape - 1)
        assert at_a_face.any(axis=1).all()
        assert ((ends > -1e-6) & (ends < shape - 1 + 1e-6)).all()
    assert len(rays[:3]) == 3


def test_the_hand_moves_both_ends_by_the_jitter() -> None:
    aims = np.full((5000, 3), 20.0)
    still, moved = (
        random_rays(aims, (41, 41, 41), np.random.default_rng(1), jitter=jitter)
        for jitter in (0.0, 0.5)
    )

    for first, second in ((still.start, moved.start), (still.stop, moved.stop)):
        assert np.std(second - first, axis=0) == pytest.approx([0.5] * 3, rel=0.05)


def test_directions_are_uniform_on_the_sphere() -> None:
    aims = np.full((20000, 3), 50.0)

    rays = random_rays(aims, (101, 101, 101), np.random.default_rng(2), jitter=0)

    direction = (rays.stop - rays.start) / np.linalg.norm(rays.stop - rays.start, axis=1)[:, None]
    assert direction.mean(axis=0) == pytest.approx([0] * 3, abs=0.02)
    assert (direction**2).mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.01)


def test_a_line_beside_the_box_enters_after_it_has_left() -> None:
    start, course = np.zeros((3, 3)), np.array([[0, 0, 1], [0, 1, 0], [1.0, 1, 1]])

    enter, leave = spans(start, course, (1, 0, 2), (3, 4, 5))

    assert (enter > leave).tolist() == [True, True, False]
    assert (enter[2], leave[2]) == (2, 3)
