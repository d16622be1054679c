"""Volumes in one file, with their record beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import OutputError
from neuroconn.vaa3d.single import write_single
from neuroconn.vaa3d.v3draw import open_v3draw

VOLUME = np.random.default_rng(0).integers(0, 32767, (9, 8, 7), dtype=np.uint16)
COLOUR = np.random.default_rng(0).integers(0, 255, (9, 8, 7, 3), dtype=np.uint8)


def write(path: Path, volume: NDArray[Any] = VOLUME, **options: Any) -> bool:
    kind = "v3draw" if path.suffix == ".v3draw" else "tiff"
    return write_single(
        lambda box: volume[box.slices],
        path,
        format=kind,
        shape=(9, 8, 7),
        dtype=volume.dtype.name,
        colour=volume.ndim == 4,
        identity={"format": kind, "clip": 6, **options.pop("identity", {})},
        **options,
    )


@pytest.mark.parametrize("depth", [1, 4, 100])
def test_any_slab_depth_gives_the_same_file(depth: int, tmp_path: Path) -> None:
    for name in ("a.v3draw", "a.tif"):
        write(tmp_path / name, depth=9)
        write(tmp_path / f"b{name}", depth=depth)
        assert (tmp_path / name).read_bytes() == (tmp_path / f"b{name}").read_bytes()

    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw")[0], VOLUME)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), VOLUME)


def test_colour_is_planar_in_v3draw_and_interleaved_in_tiff(tmp_path: Path) -> None:
    write(tmp_path / "a.v3draw", COLOUR, depth=2)
    write(tmp_path / "a.tif", COLOUR, depth=2)

    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw"), np.moveaxis(COLOUR, -1, 0))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), COLOUR)


def test_a_finished_file_is_left_alone(tmp_path: Path) -> None:
    assert write(tmp_path / "a.tif") is True
    before = (tmp_path / "a.tif").stat().st_mtime_ns

    assert write(tmp_path / "a.tif") is False

    assert (tmp_path / "a.tif").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "a.tif.json").read_text()) == {"format": "tiff", "clip": 6}
    with pytest.raises(OutputError, match="other clip"):
        write(tmp_path / "a.tif", identity={"clip": 10})


def test_an_interrupted_file_begins_again_and_was_never_seen(tmp_path: Path) -> None:
    def killed(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.v3draw", depth=4, progress=killed)
    assert not (tmp_path / "a.v3draw").exists()

    write(tmp_path / "a.v3draw", identity={"clip": 10})

    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw")[0], VOLUME)
    assert {p.name for p in tmp_path.iterdir()} == {"a.v3draw", "a.v3draw.json"}


@pytest.mark.parametrize("foreign", ["a.tif", "a.tif.json"])
def test_foreign_files_are_never_overwritten(foreign: str, tmp_path: Path) -> None:
    (tmp_path / foreign).write_text("mine")

    with pytest.raises(OutputError, match="not an export of ours"):
        write(tmp_path / "a.tif")

    assert (tmp_path / foreign).read_text() == "mine"


def test_resolution_is_pixels_per_centimetre(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", spacing_um=(2.0, 1.0, 0.5))

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        tags = tif.pages[0].tags
        x, y = (tags[name].value for name in ("XResolution", "YResolution"))
        assert (x[0] / x[1], y[0] / y[1]) == (20_000, 10_000)
        assert tags["ResolutionUnit"].value == 3


def test_progress_counts_planes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    write(tmp_path / "a.tif", depth=4, progress=lambda *state: seen.append(state))

    assert seen == [(4, 9), (8, 9), (9, 9)]
