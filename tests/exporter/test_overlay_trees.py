"""Overlays on disk: what TeraFly shows of any view, and what a voxel depends on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroconn.config import find_preset
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.exporter import export
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.inference.encoding import Encoding
from neuroconn.vaa3d.overlay import Window, overlay
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.shown import as_shown_by_terafly
from neuroconn.volume import create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

SHAPE = (40, 70, 300)
ENCODING = Encoding("uint8", clip=10.0)


def volumes() -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Dim tissue, so that small powers of two abound, beside a neurite; the end is unexplored."""
    rng = np.random.default_rng(7)
    z, y, x = np.ogrid[:40, :70, :300]
    away = np.hypot(z - 20, y - 35 - 10 * np.sin(x / 20))
    raw = rng.gamma(1.5, 8, SHAPE) + 300 * np.exp(-away) + np.where(x > 150, 0, 40)
    codes = ENCODING.encode(away + rng.normal(0, 0.3, SHAPE))
    codes[:, :, 256:] = ENCODING.fill
    return raw.astype(np.uint16), codes


RAW, CODES = volumes()


def store(folder: Path, *, chunk: int = 16, shard: int = 64) -> tuple[Path, Path]:
    counts = voxel_histogram(RAW)
    notes = {"intensity": {**intensity_statistics(counts), "histogram": pack_histogram(counts)}}
    paths = folder / "brain.zarr", folder / "distance.zarr"
    for path, voxels in zip(paths, (RAW, CODES), strict=True):
        image = create_image(
            path,
            levels=plan_levels(SHAPE),
            dtype=voxels.dtype,
            frame=Frame((1.0, 1.0, 1.0)),
            chunk=chunk,
            shard=shard,
            kind="brain" if voxels is RAW else "distance",
            fill_value=0 if voxels is RAW else ENCODING.fill,
            attributes=notes if voxels is RAW else {"model": {"name": "m", "sha256": "ab"}},
            array_attributes={} if voxels is RAW else ENCODING.attributes(),
        )
        for box in Box.of_shape(SHAPE).split((shard,) * 3):
            write_region(image.array(0), box, np.ascontiguousarray(voxels[box.slices]))
    return paths


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return store(tmp_path_factory.mktemp("images"))


def preset(name: str) -> OverlaySettings:
    return read_settings(OverlaySettings, find_preset("overlay", name))


@pytest.mark.parametrize("name", ["plain", "clip-10", "clip-6", "clip-6-power-2", "replace"])
def test_no_view_of_any_level_shows_its_brightest_voxels_black(
    name: str, images: tuple[Path, Path], tmp_path: Path
) -> None:
    export(*images, tmp_path / "out", settings=preset(name), tile=128)

    rng = np.random.default_rng(0)
    for level in TeraflyVolume(tmp_path / "out").levels:
        voxels = level.read(Box.of_shape(level.shape)).astype(np.int64)
        assert not ((voxels > 0) & (voxels & (voxels - 1) == 0)).any()
        for _ in range(100):
            corners = np.sort(rng.integers(0, np.add(level.shape, 1), (2, 3)), axis=0)
            start, stop = corners.tolist()
            view = voxels[Box(tuple(start), tuple(stop)).slices].astype(np.uint16)
            if view.any():
                assert as_shown_by_terafly(view)[view == view.max()].min() > 0


def test_the_fault_is_met_without_the_step_down(images: tuple[Path, Path], tmp_path: Path) -> None:
    bare = OverlaySettings(avoid_powers_of_two=False)

    export(*images, tmp_path / "out", settings=bare)

    whole = TeraflyVolume(tmp_path / "out").read(Box.of_shape(SHAPE)).astype(np.int64)
    assert ((whole > 0) & (whole & (whole - 1) == 0)).any()


@pytest.mark.parametrize(("name", "dtype"), [("clip-6-power-2", "uint16"), ("replace", "uint8")])
def test_a_voxel_knows_neither_tile_nor_chunk(
    name: str, dtype: Any, images: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    others = store(tmp_path / "small", chunk=20, shard=100)
    bare = preset(name).model_copy(update={"avoid_powers_of_two": False})

    export(*images, tmp_path / "a", settings=bare, dtype=dtype, tile=200)
    export(*others, tmp_path / "b", settings=bare, dtype=dtype, tile=110, partition="balanced")

    a, b = (TeraflyVolume(tmp_path / tree) for tree in "ab")
    about = json.loads((tmp_path / "a" / "neuroconn.json").read_text())
    expected = overlay(RAW, ENCODING.decode(CODES), bare, Window(*about["window"]), dtype=dtype)
    for finer, coarser in zip(a.levels, b.levels, strict=True):
        box = Box.of_shape(finer.shape)
        np.testing.assert_array_equal(finer.read(box), coarser.read(box))
    # The exact distance of a code may differ in its last bit between the two decoders.
    difference = a.read(Box.of_shape(SHAPE)).astype(int) - expected.astype(int)
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-4


def test_an_export_says_how_its_voxels_were_made_and_of_what(
    images: tuple[Path, Path], tmp_path: Path
) -> None:
    export(*images, tmp_path / "out")
    export(*images, tmp_path / "a.tif", format="tiff", settings=preset("replace"))

    tree, file = (
        json.loads((tmp_path / name).read_text()) for name in ("out/neuroconn.json", "a.tif.json")
    )
    low, high = tree["window"]
    assert tree["settings"] == OverlaySettings().model_dump()
    assert (
        f"floor(65535 * (1 * n + 2 * p) / 3 + 0.5), n = clip((raw - {low:g})"
        in (tree["about"]["formula"])
    )
    assert "floor(32767 * (0 * n + 2 * p) / 2 + 0.5)" in file["about"]["formula"]
    assert f"/ {high - low:g}, 0, 1)" in file["about"]["formula"]
    for record in (tree, file):
        assert record["about"]["brain"]["path"] == str(images[0])
        assert record["about"]["distance"]["model"] == {"name": "m", "sha256": "ab"}


def test_a_moved_brain_may_finish_its_export(images: tuple[Path, Path], tmp_path: Path) -> None:
    export(*images, tmp_path / "out")
    (tmp_path / "moved").symlink_to(images[0].parent)
    moved = tmp_path / "moved" / images[0].name, tmp_path / "moved" / images[1].name

    again = export(*moved, tmp_path / "out")

    assert (again.written, again.kept > 0) == (0, True)
