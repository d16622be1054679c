"""Background and camera noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neuroconn.geometry import Box
from neuroconn.phantom import Camera, Tissue
from neuroconn.phantom.hashing import chain, start, uniform
from neuroconn.phantom.tissue import background, expose, value_noise

PLAIN = Tissue(octaves=(), pits=0, stripes=0, flicker=0, cells=0)
BOX = Box((-5, 10, 700), (3, 25, 731))


def grid(box: Box) -> np.ndarray:
    """Positions of all voxels, (n, 3)."""
    axes = [np.arange(a, b) for a, b in zip(box.start, box.stop, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)


def hashed(seed: int, stream: int, *place: int) -> float:
    """Uniform at a place."""
    state = start(seed, stream)
    for coordinate in place:
        state = chain(np.uint64(state), coordinate)
    return float(uniform(np.uint64(state)))


@given(st.tuples(*[st.integers(-40, 40)] * 3), st.floats(2, 30), st.integers(0, 2))
def test_noise_is_hashed_on_the_lattice_and_a_mean_between(
    node: tuple[int, int, int], pitch: float, axis: int
) -> None:
    step = np.eye(3)[axis]
    low = 2 * hashed(7, 5, *node) - 1
    high = 2 * hashed(7, 5, *(int(v) for v in node + step)) - 1

    at = value_noise(np.array([np.multiply(node, pitch)]) + 1e-9, pitch, 7, 5)
    half = value_noise((np.add(node, step / 2) * pitch)[None] + 1e-9, pitch, 7, 5)

    assert at[0] == pytest.approx(low, abs=1e-6)
    assert half[0] == pytest.approx((low + high) / 2, abs=1e-6)


def test_noise_stays_between_its_lattice_values() -> None:
    points = np.random.default_rng(0).uniform(-100, 100, (2000, 3))

    noise = value_noise(points, 9.0, 1, 1)

    assert np.abs(noise).max() < 1
    assert noise.std() > 0.15


@pytest.mark.parametrize("pitch", [2.5, 5.0, 24.0, 160.0])
def test_background_is_value_noise_at_every_voxel(pitch: float) -> None:
    tissue = PLAIN.model_copy(update={"octaves": ((pitch, 0.3),)})

    found = background(BOX, tissue, seed=11)

    noise = value_noise(grid(BOX), pitch, 11, 0).reshape(BOX.shape)
    np.testing.assert_allclose(found, 750 * (1 + 0.3 * noise), rtol=1e-4)


def test_tissue_without_texture_is_flat() -> None:
    np.testing.assert_array_equal(background(BOX, PLAIN, 0), np.full(BOX.shape, 750, np.float32))


def test_pits_only_darken() -> None:
    tissue = PLAIN.model_copy(update={"pits": 0.8})

    found = background(Box.of_shape((40, 40, 40)), tissue, 0)

    assert found.max() == 750
    assert found.min() < 700


def test_stripes_run_along_x_and_flicker_changes_whole_planes() -> None:
    stripes = background(BOX, PLAIN.model_copy(update={"stripes": 0.2}), 0)
    flicker = background(BOX, PLAIN.model_copy(update={"flicker": 0.2}), 0)

    assert np.ptp(stripes, axis=2).max() == 0
    assert np.ptp(stripes, axis=1).max() > 0
    assert np.ptp(flicker, axis=(1, 2)).max() == 0
    assert np.ptp(flicker) > 0


def test_background_never_falls_below_a_twentieth() -> None:
    tissue = PLAIN.model_copy(update={"octaves": ((5.0, 5.0),)})

    assert background(BOX, tissue, 0).min() == pytest.approx(0.05 * 750)


def test_noise_has_the_mean_and_variance_of_shot_and_read_noise() -> None:
    box = Box.of_shape((48, 64, 64))
    mean = np.full(box.shape, 750, np.float32)

    image = expose(mean, box, Camera(offset=700, gain=3.2, read=10), seed=3).astype(float)

    n = box.size
    assert image.mean() == pytest.approx(1450, abs=4 * 50 / np.sqrt(n))
    assert image.var() == pytest.approx(3.2 * 750 + 100, abs=5 * 2500 * np.sqrt(2 / n) + 5)
    assert abs(np.corrcoef(image[..., 1:].ravel(), image[..., :-1].ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("counts", [0.0, 0.3, 5.0, 49.0])
def test_few_photons_are_poisson_numbers_at_the_hash_of_the_voxel(counts: float) -> None:
    box = Box((3, -4, 90), (9, 4, 100))
    mean = np.full(box.shape, 2.0 * counts, np.float32)
    u = np.array([hashed(5, 93, *(int(v) for v in p)) for p in grid(box)])

    image = expose(mean, box, Camera(offset=10, gain=2.0, read=0), seed=5)

    expected = stats.poisson.ppf(u, np.float32(counts)) if counts else np.zeros(len(u))
    np.testing.assert_array_equal(image.ravel(), 10 + 2 * expected)


@pytest.mark.parametrize("counts", [0.7, 20.0])
def test_few_photons_are_distributed_like_poisson_numbers(counts: float) -> None:
    box = Box.of_shape((16, 32, 32))

    image = expose(
        np.full(box.shape, counts, np.float32), box, Camera(offset=0, gain=1, read=0), seed=1
    )

    found = np.bincount(image.ravel(), minlength=80)[:80]
    expected = box.size * stats.poisson.pmf(np.arange(80), np.float32(counts))
    often = expected > 10
    squares = ((found - expected)[often] ** 2 / expected[often]).sum()
    assert squares < stats.chi2.ppf(0.999, often.sum())


def test_many_photons_are_near_poisson_numbers_too() -> None:
    box = Box.of_shape((8, 10, 10))
    u = np.array([hashed(5, 93, *(int(v) for v in p)) for p in grid(box)])
    usual = (u > 0.002) & (u < 0.998)

    image = expose(
        np.full(box.shape, 80, np.float32), box, Camera(offset=0, gain=1, read=0), seed=5
    )

    off = image.ravel()[usual] - stats.poisson.ppf(u, 80)[usual]
    assert np.abs(off).max() <= 1
    assert np.mean(off != 0) < 0.15


def test_grey_levels_saturate_instead_of_wrapping() -> None:
    box = Box.of_shape((2, 2, 2))

    bright = expose(np.full(box.shape, 1e6, np.float32), box, Camera(), seed=0)
    dark = expose(np.zeros(box.shape, np.float32), box, Camera(offset=0, read=30), seed=0)

    assert (bright == 65535).all()
    assert dark.max() < 200
