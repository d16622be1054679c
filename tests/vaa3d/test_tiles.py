"""TIFF pages as Vaa3D needs them, whatever their size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.errors import UsageError
from neuroconn.vaa3d import tiles
from neuroconn.vaa3d.tiles import check_compression, read_tile, write_tiff, write_tile

LARGE = np.random.default_rng(0).integers(0, 900, (2, 700, 600), dtype=np.uint16)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "none"])
def test_large_pages_are_one_strip_too(compression: Any, tmp_path: Path) -> None:
    write_tile(tmp_path / "a.tif", LARGE, compression=compression)

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert [len(page.dataoffsets) for page in tif.pages] == [1, 1]
        assert [page.rowsperstrip for page in tif.pages] == [700, 700]
    found = read_tile(tmp_path / "a.tif", LARGE.shape, LARGE.dtype, slice(1, 2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, LARGE[1:])


@pytest.mark.parametrize("shape", [(3, 5, 4), (4, 3, 3), (1, 1, 1), (2, 4, 3), (5, 1, 7)])
def test_shapes_that_look_like_colour_stay_grey(shape: tuple[int, ...], tmp_path: Path) -> None:
    tile = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)

    write_tile(tmp_path / "a.tif", tile)

    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == shape[0]
        assert {(p.samplesperpixel, p.photometric.name) for p in tif.pages} == {(1, "MINISBLACK")}
    found = read_tile(tmp_path / "a.tif", shape, tile.dtype, slice(None))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, tile)


def test_big_offsets_read_back(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", LARGE, bigtiff=True)

    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), LARGE)


@pytest.mark.parametrize(
    "tile", [np.zeros((2, 2, 2), np.int16), np.zeros((2, 2, 2)), np.zeros((2, 2, 2, 3), np.uint8)]
)
def test_tiles_that_crash_or_confuse_vaa3d_are_refused(tile: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_tile(tmp_path / "a.tif", tile)

    assert not list(tmp_path.iterdir())


def test_lzw_without_its_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_compression("lzw")
    monkeypatch.setattr(tiles, "find_spec", lambda name: None)

    check_compression("zlib")
    with pytest.raises(UsageError, match=r"neuroconn\[tiff\]"):
        check_compression("lzw")
