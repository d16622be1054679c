"""Fibres, balls and centrelines against formulas, quadrature and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.geometry import Box
from neuroconn.phantom.items import Balls, Centrelines, Fibres, Index

A = 1000.0
BOX = Box((-12, -12, -12), (13, 13, 13))
coordinate = st.floats(-20, 20, allow_nan=False)
point = st.tuples(coordinate, coordinate, coordinate)


def draw(*links: tuple[list[float], list[float]], sigma: float | tuple[float, ...] = 1.0) -> object:
    """Light of fibres of amplitude A in BOX."""
    start, stop = (np.array([link[k] for link in links], float) for k in (0, 1))
    n = len(links)
    fibres = Fibres(start, stop, np.full(n, A), np.broadcast_to(np.asarray(sigma), (n, 3)).copy())
    light = np.zeros(BOX.shape, np.float32)
    fibres.add_to(light, BOX, fibres.index().query(BOX))
    return light


def at(light: object, z: int, y: int, x: int) -> float:
    return float(np.asarray(light)[z + 12, y + 12, x + 12])


def test_far_from_its_ends_a_fibre_has_its_amplitude_on_the_axis() -> None:
    light = draw(([0, 0, -40], [0, 0, 40]))

    assert at(light, 0, 0, 0) == pytest.approx(A, rel=1e-4)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_one_sigma_off_the_axis_0_6065_is_left(sigma: float) -> None:
    light = draw(([0, 0, -40], [0, 0, 40]), sigma=sigma)

    assert at(light, 0, int(sigma), 0) == pytest.approx(0.6065 * A, rel=1e-3)
    assert at(light, int(sigma), 0, 5) == pytest.approx(0.6065 * A, rel=1e-3)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_a_lone_piece_of_two_sigmas(sigma: float) -> None:
    light = draw(([0, 0, -sigma], [0, 0, sigma]), sigma=sigma)

    assert at(light, 0, 0, 0) == pytest.approx(0.6827 * A, rel=1e-3)
    assert at(light, 0, 0, int(sigma)) == pytest.approx(0.4772 * A, rel=1e-3)


def test_pieces_in_a_row_add_up_to_the_whole() -> None:
    ends = [-7.0, -2.5, 1.25, 6.0]
    course = np.array([0.3, 0.5, 1.0])
    parts = [(list(a * course), list(b * course)) for a, b in itertools.pairwise(ends)]

    pieces = draw(*parts, sigma=(1.75, 0.7, 0.7))
    whole = draw((list(ends[0] * course), list(ends[-1] * course)), sigma=(1.75, 0.7, 0.7))

    np.testing.assert_allclose(pieces, whole, atol=2e-3 * A)
    np.testing.assert_allclose(np.asarray(pieces).sum(), np.asarray(whole).sum(), rtol=1e-3)


@settings(max_examples=15)
@given(point, point, st.tuples(*[st.floats(0.6, 2.5)] * 3))
def test_a_fibre_is_a_line_integral_of_gaussians(
    a: tuple[float, ...], b: tuple[float, ...], sigma: tuple[float, float, float]
) -> None:
    light = draw((list(a), list(b)), sigma=sigma)

    # Quadrature over the piece, in units of sigma.
    grid = np.stack(np.meshgrid(*[np.arange(-12, 13, 6)] * 3, indexing="ij"), -1)
    u, w = (grid - a) / sigma, (np.subtract(b, a)) / sigma
    length = np.linalg.norm(w)
    steps = max(400, int(length * 20))
    t = (np.arange(steps) + 0.5) / steps
    square = ((u[..., None, :] - t[:, None] * w) ** 2).sum(-1)
    expected = A * length / math.sqrt(2 * math.pi) * np.exp(-0.5 * square).mean(-1)
    np.testing.assert_allclose(np.asarray(light)[::6, ::6, ::6], expected, atol=6e-4 * A)


def test_a_piece_without_length_gives_no_light() -> None:
    assert not np.asarray(draw(([0, 0, 0], [0, 0, 0]))).any()


def ball(radius: float, *, hard: bool, psf: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> object:
    balls = Balls(np.zeros((1, 3)), np.array([radius]), np.array([A]), psf, np.array([hard]))
    light = np.zeros(BOX.shape, np.float32)
    balls.add_to(light, BOX, balls.index().query(BOX))
    return light


def test_the_middle_of_a_large_ball_has_its_amplitude() -> None:
    assert at(ball(8.0, hard=True), 0, 0, 0) == pytest.approx(A)
    assert at(ball(1.0, hard=False), 0, 0, 0) == pytest.approx(A)


def test_the_edge_of_a_ball_is_half_as_bright_and_as_soft_as_the_blur() -> None:
    light = ball(6.0, hard=True, psf=(2.0, 1.0, 1.0))

    for place in [(6, 0, 0), (0, 6, 0), (0, 0, -6)]:
        assert at(light, *place) == pytest.approx(A / 2)
    for place in [(8, 0, 0), (0, 7, 0), (0, 0, -7)]:
        assert at(light, *place) == pytest.approx(0.1587 * A, rel=1e-3)


def test_a_bead_is_a_gaussian_of_blur_and_radius_together() -> None:
    light = ball(math.sqrt(3), hard=False)  # sigma = sqrt(1 + 3)

    assert at(light, 0, 2, 0) == pytest.approx(math.exp(-0.5) * A, rel=1e-5)
    assert at(light, 2, 0, 2) == pytest.approx(math.exp(-1) * A, rel=1e-5)


boxes = st.builds(
    lambda a, n: Box(a, tuple(p + q for p, q in zip(a, n, strict=True))),
    st.tuples(*[st.integers(-150, 150)] * 3),
    st.tuples(*[st.integers(0, 120)] * 3),
)


@given(st.lists(st.tuples(point, st.tuples(*[st.floats(0, 90)] * 3)), max_size=12), boxes)
def test_an_index_finds_what_meets_the_box_in_order(
    items: list[tuple[object, ...]], box: Box
) -> None:
    low = np.array([i[0] for i in items], float).reshape(-1, 3) * 6
    high = low + np.array([i[1] for i in items], float).reshape(-1, 3)

    found = Index(low, high).query(box)

    meets = (np.floor(low) < box.stop) & (np.ceil(high) + 1 > box.start)
    expected = np.flatnonzero(meets.all(axis=1)) if box.size else []
    assert found.tolist() == list(expected)


def slow_distance(lines: Centrelines, box: Box, clip: float) -> np.ndarray:
    """All voxels against all pieces."""
    axes = [np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)]
    p = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(float)
    best = np.full(box.shape, clip)
    for a, b in zip(lines.start, lines.stop, strict=True):
        w = b - a
        t = np.clip(((p - a) @ w) / max(w @ w, 1e-30), 0, 1)
        best = np.minimum(best, np.linalg.norm(p - a - t[..., None] * w, axis=-1))
    return best.astype(np.float32)


@settings(max_examples=30)
@given(st.lists(st.tuples(point, point), max_size=5), st.floats(0.5, 12))
def test_distance_equals_brute_force(pairs: list[tuple[object, ...]], clip: float) -> None:
    start, stop = (np.array([p[k] for p in pairs], float).reshape(-1, 3) for k in (0, 1))
    lines = Centrelines(start, stop)
    box = Box((-6, -9, -3), (5, 7, 9))

    found = lines.distance(box, lines.index(clip + 1).query(box), clip)

    np.testing.assert_allclose(found, slow_distance(lines, box, clip), atol=1e-5)


def test_distance_to_a_point_and_to_nothing() -> None:
    point = Centrelines(np.zeros((1, 3)), np.zeros((1, 3)))
    none = Centrelines(np.zeros((0, 3)), np.zeros((0, 3)))
    box = Box.of_shape((1, 4, 13))

    found = point.distance(box, point.index(11).query(box), 10.0)

    assert found[0, 3, 4] == 5
    assert found[0, 0].tolist() == [*range(11), 10, 10]
    assert (none.distance(box, none.index(11).query(box), 10.0) == 10).all()


@given(point, point, st.sampled_from([(4, 4, 4), (5, 3, 7)]))
def test_chunks_are_those_that_dense_samples_fall_into(
    a: tuple[float, ...], b: tuple[float, ...], chunk: tuple[int, int, int]
) -> None:
    lines = Centrelines(np.array([a]), np.array([b]))

    found = set(map(tuple, lines.chunks(chunk)))

    t = np.linspace(0, 1, 3000)[:, None]
    samples = (np.asarray(a) * (1 - t) + np.asarray(b) * t + 0.5) / chunk
    # On a plane between chunks the samples round to either side.
    clear = (np.abs(samples - np.round(samples)) > 1e-9).all(axis=1)
    assert set(map(tuple, np.floor(samples[clear]).astype(int))) <= found
    # Nor is there one too many: each comes within a hair of the piece.
    for index in found:
        low = np.multiply(index, chunk)
        gap = np.maximum(low - samples * chunk, samples * chunk - low - chunk).max(axis=1).min()
        assert gap <= 0.02


@given(st.lists(st.tuples(point, point), min_size=1, max_size=4))
def test_clipping_keeps_what_is_inside_and_nothing_else(pairs: list[tuple[object, ...]]) -> None:
    start, stop = (np.array([p[k] for p in pairs], float) for k in (0, 1))
    box = Box((-5, 0, -8), (6, 9, 3))

    cut = Centrelines(start, stop).clip(box)

    low, high = np.asarray(box.start) - 0.5, np.asarray(box.stop) - 0.5
    for ends in (cut.start, cut.stop):
        assert ((ends >= low - 1e-9) & (ends <= high + 1e-9)).all()
    t = np.linspace(0, 1, 2001)[:, None]
    inside = 0.0
    for a, b in zip(start, stop, strict=True):
        p = a * (1 - t) + b * t
        share = ((p >= low) & (p < high)).all(axis=1).mean()
        inside += share * float(np.linalg.norm(b - a))
    kept = float(np.linalg.norm(cut.stop - cut.start, axis=1).sum())
    assert kept == pytest.approx(inside, abs=0.15)
