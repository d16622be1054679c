"""From two OME-Zarr images to what Vaa3D opens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pairs import FRAME, brain_image, map_image, store

from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import OutputError, StorageError, UsageError, VolumeError
from neuroconn.exporter import export
from neuroconn.exporter import run as export_run
from neuroconn.geometry import Box, Frame, Level
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.overlay import Window, avoid_powers_of_two, overlay, rgb
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.v3draw import open_v3draw
from neuroconn.volume import write_region

SHAPE = (70, 90, 100)
DEFAULT = OverlaySettings()


def volumes() -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """A noisy brain, and distances in steps the codes hold; nobody looked at x < 48."""
    rng = np.random.default_rng(0)
    raw = rng.gamma(2, 200, SHAPE).astype(np.uint16)
    distance = rng.integers(0, 251, SHAPE) / 25
    distance[:, :, :48] = np.nan
    return raw, distance


RAW, DISTANCE = volumes()
COUNTS = np.cumsum(np.bincount(RAW.ravel(), minlength=65536))
WINDOW = Window(*(int(np.searchsorted(COUNTS, np.ceil(COUNTS[-1] * p))) for p in (0.01, 0.999)))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("images")
    brain_image(root / "brain.ome.zarr", RAW)
    map_image(root / "distance.ome.zarr", DISTANCE)
    return root / "brain.ome.zarr", root / "distance.ome.zarr"


@pytest.mark.parametrize("unexplored", ["raw", "null"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_tree_holds_the_overlay_of_the_whole_volume(
    dtype: Any, unexplored: Any, images: tuple[Path, Path], tmp_path: Path
) -> None:
    report = export(*images, tmp_path / "out", dtype=dtype, unexplored=unexplored, tile=48)

    whole = overlay(RAW, DISTANCE, DEFAULT, WINDOW, dtype=dtype, unexplored=unexplored)
    expected = avoid_powers_of_two(whole)
    tree = TeraflyVolume(tmp_path / "out")
    for level in tree.levels:
        assert level.dtype == dtype
        np.testing.assert_array_equal(level.read(Box.of_shape(level.shape)), expected)
        expected = avoid_powers_of_two(halve(expected, how="max"))
    assert report.window == WINDOW
    assert report.peak == (255 if dtype == "uint8" else 65535)
    assert tree.frame == FRAME
    assert report.levels[0].empty == (4 if unexplored == "null" else 0)


def test_a_voxel_does_not_depend_on_tile_size_or_threads(
    images: tuple[Path, Path], tmp_path: Path
) -> None:
    box, found = Box.of_shape(SHAPE), []
    for tile, threads in ((37, 1), (64, 3), (256, 1)):
        export(*images, tmp_path / str(tile), tile=tile, threads=threads, compression="none")
        found.append(TeraflyVolume(tmp_path / str(tile)).read(box))

    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("name", ["a.v3draw", "a.tif"])
def test_single_16_bit_files_stay_in_the_signed_range(
    name: str, images: tuple[Path, Path], tmp_path: Path
) -> None:
    kind: Any = "tiff" if name.endswith("tif") else "v3draw"

    report = export(*images, tmp_path / name, format=kind)

    found = tifffile.imread(tmp_path / name) if kind == "tiff" else open_v3draw(tmp_path / name)[0]
    expected = avoid_powers_of_two(overlay(RAW, DISTANCE, DEFAULT, WINDOW, peak=32767))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint16
    assert 30000 < found.max() <= 32767
    assert (report.peak, report.written) == (32767, SHAPE[0])


def test_colour_goes_to_single_files_only(images: tuple[Path, Path], tmp_path: Path) -> None:
    colour = OverlaySettings(colour="rgb")

    export(*images, tmp_path / "a.tif", format="tiff", settings=colour, unexplored="null")

    expected = rgb(RAW, DISTANCE, colour, WINDOW, unexplored="null")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), expected)
    with pytest.raises(UsageError, match="RGB tile crashes"):
        export(*images, tmp_path / "tree", settings=colour)
    assert not (tmp_path / "tree").exists()


def test_a_crop_is_a_part_of_the_whole_at_its_place(
    images: tuple[Path, Path], tmp_path: Path
) -> None:
    box = Box((5, 17, 40), (60, 80, 93))

    export(*images, tmp_path / "whole")
    export(*images, tmp_path / "crop", box=box)

    whole, crop = TeraflyVolume(tmp_path / "whole"), TeraflyVolume(tmp_path / "crop")
    np.testing.assert_array_equal(crop.read(Box.of_shape(box.shape)), whole.read(box))
    assert crop.frame.origin_um == (10 + 2 * 5, 20 + 17, 30 + 40)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_maps_of_other_types_give_the_same_overlay(
    dtype: str, images: tuple[Path, Path], tmp_path: Path
) -> None:
    map_image(tmp_path / "map", DISTANCE, dtype)

    export(*images, tmp_path / "a.v3draw", format="v3draw")
    export(images[0], tmp_path / "map", tmp_path / "b.v3draw", format="v3draw")

    a, b = (open_v3draw(tmp_path / f"{n}.v3draw")[0].astype(int) for n in "ab")
    assert np.abs(a - b).max() <= 1


def test_a_map_of_a_coarser_level_is_exported_there(tmp_path: Path) -> None:
    levels = [
        Level(SHAPE, (1, 1, 1), (1, 1, 1)),
        Level((35, 45, 50), (2, 2, 2), (2, 2, 2)),
    ]
    brain = brain_image(tmp_path / "brain", RAW, levels=levels)
    coarse = np.full((35, 45, 50), 500, np.uint16)
    grid = brain.grid(1)
    for index in grid:
        write_region(brain.array(1), grid.core(index), coarse[grid.core(index).slices].copy())
    map_image(tmp_path / "map", np.full(coarse.shape, 3.0), frame=brain.frames[1])

    report = export(tmp_path / "brain", tmp_path / "map", tmp_path / "a.tif", format="tiff")

    assert report.shape == coarse.shape
    expected = overlay(coarse[:1], np.full((1, 45, 50), 3.0), DEFAULT, WINDOW, peak=32767)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif")[:1], expected)


def test_a_nearly_constant_brain_still_has_a_window(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = np.zeros((40, 40, 40), np.uint16)
    raw[20, 20, 20] = 700
    brain_image(tmp_path / "brain", raw)
    map_image(tmp_path / "map", np.full(raw.shape, np.nan))

    report = export(tmp_path / "brain", tmp_path / "map", tmp_path / "out")

    assert report.window == Window(0, 700)
    assert "showing 0 to 700" in caplog.text
    assert "fit into one view" in caplog.text


def mismatches() -> dict[str, Callable[[Path], tuple[Path, Path]]]:
    small = np.zeros((40, 40, 40))

    def other_shape(root: Path) -> tuple[Path, Path]:
        map_image(root / "map", small[1:])
        return root / "brain", root / "map"

    def other_place(root: Path) -> tuple[Path, Path]:
        map_image(root / "map", small, frame=Frame((2.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
        return root / "brain", root / "map"

    def other_spacing(root: Path) -> tuple[Path, Path]:
        map_image(root / "map", small, frame=Frame((2.0, 1.0, 1.5), (10.0, 20.0, 30.0)))
        return root / "brain", root / "map"

    def swapped(root: Path) -> tuple[Path, Path]:
        map_image(root / "map", small)
        return root / "map", root / "brain"

    def no_scale(root: Path) -> tuple[Path, Path]:
        store(root / "map", small.astype(np.uint8), "distance", fill_value=255)
        return root / "brain", root / "map"

    def no_statistics(root: Path) -> tuple[Path, Path]:
        store(root / "bare", small.astype(np.uint16), "brain")
        map_image(root / "map", small)
        return root / "bare", root / "map"

    def absent(root: Path) -> tuple[Path, Path]:
        return root / "brain", root / "nothing"

    def real_numbers(root: Path) -> tuple[Path, Path]:
        store(root / "float", small.astype(np.float32), "brain")
        map_image(root / "map", small)
        return root / "float", root / "map"

    def signed(root: Path) -> tuple[Path, Path]:
        store(root / "signed", small.astype(np.int16), "brain")
        map_image(root / "map", small)
        return root / "signed", root / "map"

    cases = (other_shape, other_place, other_spacing, swapped, no_scale, no_statistics, absent)
    return {f.__name__: f for f in (*cases, real_numbers, signed)}


@pytest.mark.parametrize("case", list(mismatches()))
def test_images_that_do_not_fit_are_refused_and_nothing_written(case: str, tmp_path: Path) -> None:
    brain_image(tmp_path / "brain", np.arange(64000, dtype=np.uint16).reshape(40, 40, 40))
    brain, distance = mismatches()[case](tmp_path)

    with pytest.raises(VolumeError) as caught:
        export(brain, distance, tmp_path / "out")

    assert caught.value.exit_code == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"settings": OverlaySettings(clip=12)}, "reaches"),
        ({"dtype": "int16"}, "int16"),
        ({"format": "png"}, "png"),
        ({"unexplored": "white"}, "white"),
        ({"tile": 2}, "too small"),
        ({"box": Box((0, 0, 0), (71, 1, 1))}, "not inside"),
    ],
)
def test_settings_that_do_not_fit_are_refused_and_nothing_written(
    wrong: dict[str, Any], message: str, images: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        export(*images, tmp_path / "out", **wrong)

    assert not (tmp_path / "out").exists()


def test_the_image_alone_needs_no_reach(images: tuple[Path, Path], tmp_path: Path) -> None:
    plain = OverlaySettings(clip=12, factor=0)

    report = export(*images, tmp_path / "a.tif", format="tiff", settings=plain)

    assert report.threshold is None


def test_a_changed_map_does_not_continue_an_old_export(tmp_path: Path) -> None:
    brain_image(tmp_path / "brain", RAW)
    image = map_image(tmp_path / "map", DISTANCE)
    export(tmp_path / "brain", tmp_path / "map", tmp_path / "out")

    (image.path / "run").mkdir()
    (image.path / "run" / "journal.jsonl").write_text("one more chunk\n")

    with pytest.raises(OutputError, match="other distance"):
        export(tmp_path / "brain", tmp_path / "map", tmp_path / "out")


def test_a_disk_without_room_is_an_error_before_the_first_tile(
    images: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    usage = type("Usage", (), {"free": 50_000})
    monkeypatch.setattr(export_run.shutil, "disk_usage", lambda place: usage)

    with pytest.raises(StorageError, match="room for") as caught:
        export(*images, tmp_path / "out", compression="zlib")
    assert caught.value.exit_code == 74
    assert not (tmp_path / "out").exists()

    usage.free = 500_000
    export(*images, tmp_path / "out", compression="zlib")
    assert "may fill up" in caplog.text
    usage.free = 0
    assert export(*images, tmp_path / "out", compression="zlib").written == 0
