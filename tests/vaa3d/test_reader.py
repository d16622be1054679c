"""Reading trees that others wrote: irregular tiles, old encodings, damage."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d.mdata import Block, Column, TileTable, encode
from neuroconn.vaa3d.reader import TeraflyVolume

Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def build(
    root: Path, volume: NDArray[Any], sizes: Sizes, names: int = 0, **tiff: Any
) -> dict[tuple[int, int, int], Path]:
    """Write a one-level tree with our own few lines; tile names start anywhere (``names``)."""
    folder = root / "RES({1}x{2}x{0})".format(*volume.shape)
    starts = [list(accumulate(axis, initial=0))[:-1] for axis in sizes]
    rows, files = [], {}
    for i, (y, h) in enumerate(zip(starts[1], sizes[1], strict=True)):
        row = []
        for j, (x, w) in enumerate(zip(starts[2], sizes[2], strict=True)):
            place = f"{10 * y + names:06d}/{10 * y + names:06d}_{10 * x + names:06d}"
            (folder / place).mkdir(parents=True, exist_ok=True)
            blocks = []
            for k, (z, d) in enumerate(zip(starts[0], sizes[0], strict=True)):
                name = f"{place.split('/')[1]}_{10 * z + names:06d}.tif"
                tile = volume[z : z + d, y : y + h, x : x + w]
                options = {"photometric": "minisblack", "metadata": None} | tiff
                tifffile.imwrite(folder / place / name, tile, **options)
                files[k, i, j] = folder / place / name
                blocks.append(Block(name, z, d))
            row.append(Column(place, (y, x), (h, w), tuple(blocks), volume.itemsize))
        rows.append(tuple(row))
    table = TileTable(volume.shape, (2.0, 0.35, 0.35), (0.0, 0.0, 0.0), tuple(rows))  # type: ignore[arg-type]
    (folder / "mdata.bin").write_bytes(encode(table))
    return files


VOLUME = np.random.default_rng(5).integers(0, 65535, (30, 44, 52), dtype=np.uint16)
SIZES: Sizes = ((13, 17), (11, 20, 13), (25, 2, 25))


@settings(max_examples=15, deadline=None)
@given(corners=st.tuples(*[st.tuples(st.integers(0, n), st.integers(0, n)) for n in VOLUME.shape]))
def test_any_box_of_irregular_tiles_is_right(
    corners: tuple[tuple[int, int], ...], irregular: Path
) -> None:
    (z0, z1), (y0, y1), (x0, x1) = (sorted(pair) for pair in corners)
    box = Box((z0, y0, x0), (z1, y1, x1))

    found = TeraflyVolume(irregular).read(box)

    np.testing.assert_array_equal(found, VOLUME[box.slices])


@pytest.fixture(scope="module")
def irregular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("irregular")
    build(root, VOLUME, SIZES, names=45720)
    return root


@pytest.mark.slow
def test_tiles_as_large_as_those_in_circulation(tmp_path: Path) -> None:
    volume = np.random.default_rng(5).integers(0, 255, (241, 253, 508), dtype=np.uint8)
    build(tmp_path, volume, ((241,), (253,), (254, 254)), names=45720)
    box = Box((200, 100, 250), (241, 120, 260))

    np.testing.assert_array_equal(TeraflyVolume(tmp_path).read(box), volume[box.slices])


@pytest.mark.parametrize(
    "tiff",
    [
        {"compression": "lzw", "rowsperstrip": 1},
        {"compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"imagej": True, "photometric": None},
        {"tile": (16, 16)},
        {"compression": "zstd"},
    ],
    ids=str,
)
def test_encodings_in_circulation_read_equal(tiff: dict[str, Any], tmp_path: Path) -> None:
    build(tmp_path, VOLUME, SIZES, **tiff)

    np.testing.assert_array_equal(TeraflyVolume(tmp_path).read(Box.of_shape(VOLUME.shape)), VOLUME)


def test_signed_tiles_read_as_the_unsigned_values_they_were(tmp_path: Path) -> None:
    build(tmp_path, VOLUME.view(np.int16), SIZES)

    np.testing.assert_array_equal(TeraflyVolume(tmp_path).read(Box.of_shape(VOLUME.shape)), VOLUME)


def test_one_level_opens_by_its_own_folder(irregular: Path) -> None:
    volume = TeraflyVolume(irregular / "RES(44x52x30)")

    assert (volume.shape, volume.dtype) == (VOLUME.shape, np.uint16)
    assert volume.frame.spacing_um == (2.0, 0.35, 0.35)


@pytest.mark.parametrize(
    "damage", ["missing", "cut", "short", "dtype", "hole", "text", "chain", "huge"]
)
def test_a_bad_tile_is_named_and_never_read_as_zeros(damage: str, tmp_path: Path) -> None:
    victim = build(tmp_path, VOLUME, SIZES, compression="zlib")[1, 2, 0]
    if damage == "missing":
        victim.unlink()
    elif damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-900])
    elif damage == "short":
        tifffile.imwrite(victim, VOLUME[:5, :13, :25], photometric="minisblack")
    elif damage == "dtype":
        tifffile.imwrite(victim, np.zeros((17, 13, 25), np.uint8), photometric="minisblack")
    elif damage == "hole":
        with tifffile.TiffFile(victim, mode="r+") as tif:
            tif.pages[0].tags["StripByteCounts"].overwrite(0)
    elif damage == "chain":
        victim.write_bytes(victim.read_bytes()[:4] + b"\xff\xff\0\0" + victim.read_bytes()[8:])
    elif damage == "huge":  # a page that would fill the memory
        with tifffile.TiffFile(victim, mode="r+") as tif:
            tif.pages[1].tags["ImageLength"].overwrite(2**31)
    else:
        victim.write_text("not a tiff")
    volume = TeraflyVolume(tmp_path)

    with pytest.raises(VolumeError, match=victim.name):
        volume.read(Box.of_shape(VOLUME.shape))
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), (5, 5, 5))), VOLUME[:5, :5, :5])


def test_boxes_outside_the_volume_are_an_error(irregular: Path) -> None:
    with pytest.raises(IndexError, match="leaves the level"):
        TeraflyVolume(irregular).read(Box((0, 0, 0), (31, 1, 1)))


def test_a_folder_without_levels_or_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no RES"):
        TeraflyVolume(tmp_path)
    (tmp_path / "RES(4x4x4)").mkdir()
    with pytest.raises(VolumeError, match=r"mdata\.bin"):
        TeraflyVolume(tmp_path)


def test_colour_volumes_are_refused(tmp_path: Path) -> None:
    block = Block("a.tif", 0, 4)
    table = TileTable(
        (4, 4, 4), (1, 1, 1), (0, 0, 0), ((Column("a/b", (0, 0), (4, 4), (block,), 1, 3),),)
    )
    (tmp_path / "RES(4x4x4)").mkdir()
    (tmp_path / "RES(4x4x4)" / "mdata.bin").write_bytes(encode(table))

    with pytest.raises(VolumeError, match="one channel"):
        TeraflyVolume(tmp_path)


def test_missing_tiles_are_listed_without_opening_any(tmp_path: Path) -> None:
    files = build(tmp_path, VOLUME, SIZES)
    level = TeraflyVolume(tmp_path).levels[0]
    assert level.missing() == []

    for path in files.values():
        path.write_bytes(b"")
    files[1, 0, 2].unlink()
    (tmp_path / "away").mkdir()
    for column in {path.parent for (_, i, _), path in files.items() if i == 2}:
        column.rename(tmp_path / "away" / column.name)

    lost = [(1, 0, 2), *((k, 2, j) for j in range(3) for k in range(2))]
    assert level.missing() == [files[index] for index in lost]


@pytest.mark.parametrize(
    ("folder", "file"), [("../b", "a.tif"), ("/b", "a.tif"), ("b", "../a.tif"), ("b", "a\n.tif")]
)
def test_tables_that_point_elsewhere_are_refused(folder: str, file: str, tmp_path: Path) -> None:
    column = Column(folder, (0, 0), (4, 4), (Block(file, 0, 4),))
    (tmp_path / "RES(4x4x4)").mkdir()
    table = TileTable((4, 4, 4), (1, 1, 1), (0, 0, 0), ((column,),))
    (tmp_path / "RES(4x4x4)" / "mdata.bin").write_bytes(encode(table))

    with pytest.raises(VolumeError, match="not to be trusted"):
        TeraflyVolume(tmp_path)


def test_tiles_that_are_links_out_of_the_volume_are_refused(tmp_path: Path) -> None:
    victim = build(tmp_path / "a", VOLUME, SIZES)[0, 0, 0]
    victim.rename(tmp_path / "b.tif")
    victim.symlink_to(tmp_path / "b.tif")

    with pytest.raises(VolumeError, match="leads out"):
        TeraflyVolume(tmp_path / "a").levels[0].missing()
