"""Lines are told from planes and blobs; brains of known neurons are seeded on them."""

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from test_seeds import GRID, store

from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.inference.seeds import bright
from neuroconn.inference.seeds.bright import (
    Scan,
    bright_chunks,
    bright_voxels,
    chunk_responses,
    chunk_scores,
    outliers,
)
from neuroconn.inference.seeds.ridges import halo, responses
from neuroconn.phantom import Growth, Neurites, Optics, Phantom, PhantomSettings, Tissue, grow
from neuroconn.volume import Image, open_image

SIDE = 48
FLAT = np.full((SIDE, SIDE, SIDE), 100, np.uint16)


def strongest(voxels: NDArray[Any], spacing: tuple[float, float, float] = (1, 1, 1)) -> list[float]:
    """Largest response of each channel in a volume without a border."""
    margin = halo(spacing)
    padded = np.pad(voxels, [(h, h) for h in margin], mode="symmetric")
    return [float(r.max()) for r in responses(padded, spacing)]


def line(axis: int = 2) -> NDArray[np.uint16]:
    voxels = FLAT.copy()
    voxels[tuple(slice(None) if a == axis else SIDE // 2 for a in range(3))] += 500
    return voxels


def plane(axis: int) -> NDArray[np.uint16]:
    voxels = FLAT.copy()
    np.moveaxis(voxels, axis, 0)[SIDE // 2] += 500
    return voxels


def ball(radius: float) -> NDArray[np.uint16]:
    z, y, x = (n - SIDE // 2 for n in np.ogrid[:SIDE, :SIDE, :SIDE])
    return FLAT + (500 * (z * z + y * y + x * x < radius**2)).astype(np.uint16)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lines_answer_and_planes_edges_and_flicker_do_not(axis: int) -> None:
    ridge, wide, _ = strongest(line(axis))
    step, flicker = FLAT.copy(), FLAT.copy()
    np.moveaxis(step, axis, 0)[SIDE // 2 :] += 500
    np.moveaxis(flicker, axis, 0)[::2] += 100
    for other in (plane(axis), step, flicker):
        assert strongest(other)[0] < 0.01 * ridge
        assert strongest(other)[1] < 0.01 * wide
    assert strongest(FLAT) == [0, 0, 0]


def test_a_line_answers_alike_in_every_direction() -> None:
    t = np.arange(-400, 401) / 10
    along = [(1, 1, 0), (0, 1, 1), (1, 1, 1), (1, 2, 3)]
    straight = strongest(line())[0]
    for direction in along:
        voxels = np.zeros((SIDE, SIDE, SIDE))
        unit = np.array(direction) / np.linalg.norm(direction)
        at = np.rint(SIDE / 2 + t[:, None] * unit).astype(int)
        at = np.unique(at[((at >= 0) & (at < SIDE)).all(1)], axis=0)
        voxels[tuple(at.T)] = 500 / np.abs(unit).max()  # as bright per length
        assert 0.5 < strongest(FLAT + voxels.astype(np.uint16))[0] / straight < 2


@pytest.mark.parametrize("radius", [2, 3, 4])
def test_a_ball_is_a_blob_and_a_rod_as_thick_is_a_line(radius: float) -> None:
    y, x = (n - SIDE // 2 for n in np.ogrid[:SIDE, :SIDE])
    rod = FLAT + np.where(y * y + x * x < radius**2, 500, 0).astype(np.uint16)
    as_rod, as_ball = strongest(rod), strongest(ball(radius))
    assert as_ball[0] < 0.6 * as_rod[0]
    assert as_ball[2] > 5 * as_rod[2]


def test_long_voxels_are_seen_as_wide_as_they_are() -> None:
    whole = line(1) + line(0) - 100
    thin = strongest(whole[::3], (3.0, 1.0, 1.0))
    assert thin[0] == pytest.approx(strongest(whole)[0], rel=0.5)
    assert halo((3.0, 1.0, 1.0))[0] < halo((1.0, 1.0, 1.0))[0]


@given(data=st.data())
@settings(max_examples=15)
def test_a_block_answers_like_the_whole_to_the_last_bit(data: st.DataObject) -> None:
    shape = (40, 44, 36)
    spacing = data.draw(st.sampled_from([(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 0.4, 0.9)]))
    top = data.draw(st.sampled_from([255, 65535]))
    seed = data.draw(st.integers(0, 99))
    voxels = np.random.default_rng(seed).integers(0, top, shape).astype(np.uint16)
    start: ZYX = tuple(data.draw(st.integers(0, n - 1)) for n in shape)  # type: ignore[assignment]
    ends = zip(start, shape, strict=True)
    stop: ZYX = tuple(data.draw(st.integers(a + 1, n)) for a, n in ends)  # type: ignore[assignment]
    margin = halo(spacing)
    padded = np.pad(voxels, [(h, h) for h in margin], mode="symmetric")
    block = padded[Box(start, tuple(b + 2 * h for b, h in zip(stop, margin, strict=True))).slices]  # type: ignore[arg-type]

    whole = list(responses(padded, spacing))
    for part, all_of_it in zip(responses(block, spacing), whole, strict=True):
        np.testing.assert_array_equal(part, all_of_it[Box(start, stop).slices])


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Noise with a fibre in chunk (1, 2, 0) and a soma in chunk (0, 1, 2)."""
    voxels = np.random.default_rng(0).poisson(100, (64, 96, 80)).astype(np.uint16)
    voxels[48:50, 80:82, 4:28] = 900
    z, y, x = np.ogrid[:64, :96, :80]
    voxels[(z - 16) ** 2 + (y - 48) ** 2 + (x - 72) ** 2 < 25] = 2000
    return store(tmp_path_factory.mktemp("bright") / "brain.ome.zarr", voxels)


def test_bright_places_are_found_and_nothing_else(brain: Image) -> None:
    assert len(brain.levels) > 1
    assert set(bright_chunks(brain, GRID)) == {(1, 2, 0), (0, 1, 2)}
    assert len(bright_chunks(brain, GRID, limit=1)) == 1
    voxels = bright_voxels(brain, GRID, [(1, 2, 0), (0, 1, 2)])
    assert np.abs(voxels[0, :2] - (48.5, 80.5)).max() < 2
    assert np.abs(voxels[1] - (16, 48, 72)).max() < 7


def test_bright_places_are_found_on_a_coarse_level_too(
    brain: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bright, "CHEAP", 48**3)
    coarse = chunk_scores(brain, GRID, budget=48**3)
    assert {(1, 2, 0), (0, 1, 2)} <= set(outliers(coarse, limit=4))
    half = ChunkGrid(brain.levels[1].shape, (16, 16, 16))
    scores = chunk_scores(brain, half, 1, budget=48**3)
    assert (0, 1, 2) in outliers(scores, limit=4)


@pytest.mark.parametrize("chunk", [(32, 32, 32), (16, 24, 20), (7, 9, 11)])
def test_scores_do_not_depend_on_the_blocks_they_are_read_in(
    brain: Image, monkeypatch: pytest.MonkeyPatch, chunk: ZYX
) -> None:
    grid = ChunkGrid((64, 96, 80), chunk)
    whole = [chunk_responses(Scan.of(brain, grid, budget=b)) for b in (1 << 28, 48**3)]
    monkeypatch.setattr(bright, "_BLOCK", 20)
    parts = [chunk_responses(Scan.of(brain, grid, budget=b)) for b in (1 << 28, 48**3)]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    assert whole[0][0].shape[1:] == grid.counts


def test_memory_does_not_grow_with_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bright, "_BLOCK", 32)
    monkeypatch.setattr(bright, "_THREADS", 1)
    peaks = []
    for length in (64, 320):
        shape = (64, 64, length)
        image = store(tmp_path / f"{length}.ome.zarr", np.zeros(shape, np.uint16), smallest=999)
        tracemalloc.start()
        chunk_scores(image, ChunkGrid(shape, (32, 32, 32)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_damaged_block_is_dark_and_the_rest_is_seen(
    brain: Image, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bright, "_BLOCK", 32)
    shutil.copytree(brain.path, tmp_path / "b.ome.zarr")
    (tmp_path / "b.ome.zarr/0/c/0/0/0").write_bytes(b"")

    scores = chunk_scores(open_image(tmp_path / "b.ome.zarr"), GRID)

    assert scores[0, 0, 0] == 0
    assert scores[1, 2, 0] > 1
    assert "(0, 0, 0) to (1, 1, 1) are not looked at" in caplog.text


def test_numbers_that_are_none_do_not_spread() -> None:
    voxels = FLAT.astype(np.float32)
    voxels[SIDE // 2, SIDE // 2] += 500
    voxels[0, 0, 0], voxels[0, 0, 1], voxels[0, 0, 2] = np.nan, np.inf, -np.inf
    assert all(np.isfinite(strongest(voxels)))


def test_chunks_smaller_than_a_coarse_voxel_share_it(brain: Image) -> None:
    fine = ChunkGrid((64, 96, 80), (1, 1, 1))
    scores = chunk_scores(brain, fine, budget=48**3)
    assert scores.shape == fine.counts
    z, _, x = brain.levels[1].factor
    np.testing.assert_array_equal(scores[::z], scores[z - 1 :: z])
    np.testing.assert_array_equal(scores[:, :, ::x], scores[:, :, x - 1 :: x])


def test_an_even_brain_still_gives_one_seed(tmp_path: Path) -> None:
    assert outliers(np.zeros((2, 2, 2), np.float32), limit=5) == [(0, 0, 0)]
    image = store(tmp_path / "even.ome.zarr", np.full((40, 40, 40), 7, np.uint16))
    assert bright_chunks(image, ChunkGrid((40, 40, 40), (20, 20, 20))) == [(0, 0, 0)]


def test_cells_of_the_grid_take_turns() -> None:
    scores = np.zeros((4, 4, 16), np.float32)
    scores[0, 0, :4] = (9, 8, 7, 6)
    scores[3, 3, 12:] = (2, 3, 4, 0.5)
    assert outliers(scores, limit=4) == [(0, 0, 0), (3, 3, 14), (0, 0, 1), (3, 3, 13)]
    inside = np.ones(scores.shape, bool)
    inside[0] = False
    assert outliers(scores, limit=9, inside=inside) == [(3, 3, 14), (3, 3, 13), (3, 3, 12)]


def phantom(seed: int, contrast: float, stretch: float, neurons: int = 5) -> Phantom:
    """Neurons of a given contrast in tissue with cells, stripes and flicker; long voxels in z."""
    rng = np.random.default_rng([seed, 5])
    shape = (int(96 / stretch), 160, 160)
    forests, styles = [], []
    for k in range(neurons):
        root = tuple(rng.uniform(8, n - 8) for n in (96, 160, 160))
        growth = Growth(length=rng.uniform(150, 400), persistence=rng.uniform(40, 150))
        neuron = grow(growth, rng, root=root, bounds=Box.of_shape((96, 160, 160)))  # type: ignore[arg-type]
        forests.append(neuron.at(neuron.positions / (stretch, 1, 1)))
        brightness = 51 * contrast * rng.lognormal(0, 0.5)
        styles.append(Neurites(brightness=brightness, spread=0, soma=k == 0))
    look = PhantomSettings(
        optics=Optics(psf=(max(0.6, 1.75 / stretch), 0.7, 0.7)), tissue=Tissue(flicker=0.05)
    )
    return Phantom(shape, forests, look, styles=styles, seed=seed)


def neurons(drawn: Phantom, chunk: int) -> list[set[ZYX]]:
    """Chunks of each neuron."""
    found = []
    for k in range(len(drawn.forests)):
        styles = [s.model_copy(update={"labelled": j == k}) for j, s in enumerate(drawn.styles)]
        alone = Phantom(drawn.shape, drawn.forests, drawn.settings, styles=styles, seed=drawn.seed)
        found.append(set(alone.neurite_chunks(chunk)))
    return found


def contrast_alone(voxels: NDArray[np.uint16], grid: ChunkGrid, limit: int) -> list[ZYX]:
    """What a difference of Gaussians would choose, if it were given as many seeds."""
    v = voxels.astype(np.float32)
    fine, broad = ndimage.gaussian_filter(v, 1), ndimage.gaussian_filter(v, 3)
    score = (fine - broad) / np.sqrt(np.maximum(broad, 1))
    best = {index: float(score[grid.core(index).slices].max()) for index in grid}
    return sorted(best, key=lambda index: -best[index])[:limit]


@pytest.mark.slow
def test_every_neuron_of_a_phantom_gets_a_seed(tmp_path: Path) -> None:
    ours, coarse, plain, right = [], [], [], []
    for seed, contrast, stretch in ((1, 3, 1), (2, 3, 3), (3, 6, 1), (4, 6, 3)):
        drawn = phantom(seed, contrast, stretch)
        voxels, each = drawn.image(), neurons(drawn, 16)
        image = store(tmp_path / f"{seed}.ome.zarr", voxels, spacing=(stretch, 1.0, 1.0))
        grid = ChunkGrid(drawn.shape, (16, 16, 16))
        fine = outliers(chunk_scores(image, grid), limit=512)
        half = outliers(chunk_scores(image, grid, budget=voxels.size - 1), limit=512)
        for found, chosen in (
            (ours, fine),
            (coarse, half),
            (plain, contrast_alone(voxels, grid, len(fine))),
        ):
            found += [bool(n & set(chosen)) for n in each]
        right.append(np.mean([c in set().union(*each) for c in fine]))

    assert np.mean(ours) >= 0.9
    assert np.mean(coarse) >= 0.9
    assert np.mean(ours) >= np.mean(plain)
    assert np.mean(right) >= 0.5
