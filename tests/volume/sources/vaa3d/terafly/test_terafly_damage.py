"""TeraFly trees that lack something, contradict themselves or cannot be trusted."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d.mdata import Block, Column
from neuroconn.vaa3d.v3draw import write_v3draw
from neuroconn.volume.sources import open_source

VOLUME = np.random.default_rng(5).integers(0, 65535, (20, 34, 42), dtype=np.uint16)
SIZES = ((9, 11), (11, 10, 13), (15, 2, 25))
WHOLE = Box.of_shape((20, 34, 42))
LEVEL = "RES(34x42x20)"
A = Column("a", (0, 0), (5, 6), (Block(None, 0, 4),))


def test_all_missing_tiles_are_counted_and_some_named_at_once(build: Any, tmp_path: Path) -> None:
    files = build(tmp_path)
    lost = [files[1, 0, 0], files[0, 2, 1], files[1, 2, 1], files[0, 2, 2]]
    for path in lost:
        path.unlink()

    with pytest.raises(VolumeError, match=rf"lacks 4 of the 18.*{lost[0].name}.*\.\.\.\)"):
        open_source(tmp_path)

    shutil.rmtree(lost[0].parent.parent)
    with pytest.raises(VolumeError, match="lacks 9 of the 18"):
        open_source(tmp_path)


def test_presence_costs_one_listing_a_column(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))

    open_source(tmp_path / LEVEL)

    columns = [path for path in listed if "_" in Path(path).name]
    assert len(columns) == len(set(columns)) == 9


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("../outside", "a.tif"),
        ("row/../../outside", "a.tif"),
        ("/", "a.tif"),
        ("row", "../a.tif"),
        ("row", ".."),
        ("row", "/etc/passwd"),
        ("row", "sub/a.tif"),
        ("ro\0w", "a.tif"),
        ("row", "a\n.tif"),
        ("row", "\x1b[2J.tif"),
        ("row", ""),
    ],
)
def test_names_that_leave_the_tree_are_refused(
    write_table: Any, tmp_path: Path, folder: str, file: str
) -> None:
    level = tmp_path / "RES(5x6x4)"
    level.mkdir()
    block = Block(file or "x", 0, 4)
    write_table(level, (4, 5, 6), [[Column(folder, (0, 0), (5, 6), (block,))]])
    if not file:
        data = (level / "mdata.bin").read_bytes()
        (level / "mdata.bin").write_bytes(data.replace(b"\x02\0x\0", b"\x01\0\0"))

    with pytest.raises(VolumeError, match="not to be trusted"):
        open_source(tmp_path)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("what", ["tile", "column"])
def test_links_that_leave_the_tree_are_refused(
    build: Any, tmp_path: Path, table: bool, what: str
) -> None:
    victim = build(tmp_path, table=table)[0, 1, 1]
    victim = victim if what == "tile" else victim.parent
    outside = tmp_path / f"outside{victim.suffix}"
    victim.rename(outside)
    victim.symlink_to(outside)

    with pytest.raises(VolumeError, match="leads out of"):
        open_source(tmp_path)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
def test_links_inside_the_tree_and_to_the_tree_are_followed(
    build: Any, tmp_path: Path, table: bool
) -> None:
    victim = build(tmp_path / "real", table=table)[0, 1, 1]
    victim.rename(tmp_path / "real" / LEVEL / "kept.tif")
    victim.symlink_to(tmp_path / "real" / LEVEL / "kept.tif")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    np.testing.assert_array_equal(open_source(tmp_path / "link").read(WHOLE), VOLUME)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("position", [(0, 0, 0), (1, 2, 2)])
@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (VOLUME[:9, :11, :15].astype(np.uint8), "uint8"),
        (VOLUME[:9, :11, :14], r"\(9, 11, 14\)"),
        (VOLUME[:8, :11, :15], r"\(8, 11, 15\)"),
        (np.zeros((9, 11, 15), np.float16), "float16"),
        (np.zeros((9, 11, 15, 3), np.uint8), "colour"),
        (b"not a tiff", "not a"),
        (b"", "truncated"),
    ],
    ids=["uint8", "narrow", "short", "float", "colour", "text", "empty"],
)
def test_a_tile_unlike_the_others_is_named_at_open_or_when_read(
    build: Any, tmp_path: Path, table: bool, position: Any, tile: Any, message: str
) -> None:
    victim = build(tmp_path, table=table)[position]
    victim.unlink()
    if isinstance(tile, bytes):
        victim.write_bytes(tile)
    else:
        photometric = "rgb" if tile.ndim == 4 else "minisblack"
        tifffile.imwrite(victim, tile, photometric=photometric, metadata=None)

    with pytest.raises(VolumeError, match=message) as caught:
        open_source(tmp_path).read(WHOLE)
    assert victim.name in str(caught.value) or not table
    if not table or position == (0, 0, 0):  # known from the headers that are read anyway
        with pytest.raises(VolumeError):
            open_source(tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".raw"])
def test_one_uint8_tile_among_uint16_is_refused(
    build: Any, save: Any, tmp_path: Path, suffix: str
) -> None:
    victim = build(tmp_path, suffix=suffix)[1, 2, 2]
    victim.unlink()
    save(victim, np.zeros((11, 13, 25), np.uint8))
    source = open_source(tmp_path)
    with pytest.raises(VolumeError, match=rf"{victim.name} holds uint8"):
        source.read(WHOLE)

    (tmp_path / LEVEL / "mdata.bin").unlink()
    with pytest.raises(VolumeError, match=rf"{victim.name} holds uint8"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (np.zeros((11, 15), np.uint8), "uint8"),
        (np.zeros((11, 14), np.uint16), r"\(9, 11, 14\)"),
        (np.zeros((11, 15, 2), np.uint16), "2 samples"),
    ],
    ids=["uint8", "narrow", "two samples"],
)
def test_a_page_unlike_the_others_is_named(
    build: Any, tmp_path: Path, page: NDArray[Any], message: str
) -> None:
    victim = build(tmp_path)[0, 0, 0]
    with tifffile.TiffWriter(victim) as writer:
        for k in range(9):
            odd = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            if k == 5 and page.ndim == 3:
                odd |= {"planarconfig": "contig", "extrasamples": [0]}
            writer.write(page if k == 5 else VOLUME[k, :11, :15], **odd)
    source = open_source(tmp_path)

    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (5, 11, 15))), VOLUME[:5, :11, :15])
    with pytest.raises(VolumeError, match=rf"{victim.name}.*{message}"):
        source.read(Box((5, 0, 0), (6, 11, 15)))


def test_several_channels_are_refused_by_name(build: Any, write_table: Any, tmp_path: Path) -> None:
    build(tmp_path)
    level = tmp_path / LEVEL
    write_table(level, (4, 5, 6), [[Column("a", (0, 0), (5, 6), (Block("b", 0, 4),), 1, 3)]])
    with pytest.raises(VolumeError, match="one channel"):
        open_source(tmp_path)

    (level / "mdata.bin").unlink()
    stack = build(tmp_path, suffix=".raw", table=False)[0, 0, 0]
    for tile in level.rglob("*.tif"):
        tile.unlink()
    write_v3draw(stack, [np.zeros((2, 9, 11, 15), "u2")], (2, 9, 11, 15), "u2")
    with pytest.raises(VolumeError, match="has 2 channels"):
        open_source(tmp_path)
    with pytest.raises(UsageError, match="channel 1"):
        open_source(tmp_path, channel=1)


@pytest.mark.parametrize("sign", [".iim.format", "cmap.bin", "CH_00"])
@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
def test_trees_of_several_channels_are_refused(
    build: Any, tmp_path: Path, sign: str, table: bool
) -> None:
    build(tmp_path, table=table)
    level = tmp_path / LEVEL
    if sign == "CH_00":
        (level / sign).mkdir()
    else:
        (level / sign).write_text("Vaa3D raw (tiled, 4D)")

    with pytest.raises(VolumeError, match="several channels"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "rows",
    [
        [[Column("a", (0, 0), (4, 6), A.blocks)]],
        [[Column("a", (1, 0), (4, 6), A.blocks)]],
        [[Column("a", (0, 0), (5, 7), A.blocks)]],
        [[Column("a", (0, 0), (5, 6), (Block(None, 0, 3),))]],
        [[Column("a", (0, 0), (5, 6), (Block(None, 0, 2), Block(None, 3, 1)))]],
        [[Column("a", (0, 0), (5, 6), (Block(None, 0, 3), Block(None, 2, 2)))]],
        [[Column("a", (0, 0), (5, 6), (Block(None, 0, 4), Block(None, 4, 0)))]],
        [[Column("a", (0, 0), (5, 6), ())]],
        [[Column("a", (0, 0), (5, 3), A.blocks), Column("b", (0, 2), (5, 4), A.blocks)]],
        [[Column("a", (0, 0), (5, 3), A.blocks), Column("b", (1, 3), (4, 3), A.blocks)]],
        [[A], [A]],
    ],
)
def test_tables_with_holes_or_overlaps_are_refused(
    write_table: Any, tmp_path: Path, rows: Any
) -> None:
    level = tmp_path / "RES(5x6x4)"
    level.mkdir()
    write_table(level, (4, 5, 6), [[A]])
    open_source(tmp_path)

    write_table(level, (4, 5, 6), rows)

    with pytest.raises(VolumeError, match=r"mdata\.bin is damaged"):
        open_source(tmp_path)


@pytest.mark.parametrize("cut", [0, 3, 67, 68, 90, 120, -1])
def test_cut_tables_are_refused(build: Any, tmp_path: Path, cut: int) -> None:
    build(tmp_path)
    table = tmp_path / LEVEL / "mdata.bin"
    table.write_bytes(table.read_bytes()[:cut])

    with pytest.raises(VolumeError, match=r"mdata\.bin"):
        open_source(tmp_path)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
def test_damaged_tiles_and_tables_never_end_in_another_error(
    build: Any, tmp_path: Path, table: bool
) -> None:
    files = build(
        tmp_path, VOLUME[:, :11, :17], ((9, 11), (11,), (15, 2)), table=table, compression="zlib"
    )
    level = tmp_path / "RES(11x17x20)"
    victims = [*files.values(), *([level / "mdata.bin"] * 4 if table else [])]
    good = {path: path.read_bytes() for path in victims}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        victim = victims[seed % len(victims)]
        data = bytearray(good[victim])
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, 300 if seed % 2 else len(data))) % len(data)] ^= 1 << int(
                rng.integers(8)
            )
        if seed % 5 == 0:
            data = data[: int(rng.integers(0, len(data)))]
        victim.write_bytes(data)
        try:
            source = open_source(tmp_path)
            found = source.read(Box.of_shape(source.shape))
        except (VolumeError, UsageError):
            pass
        else:
            assert found.shape == source.shape
            if victim.name == "mdata.bin":  # its values may be wrong, its voxels may not
                np.testing.assert_array_equal(found, VOLUME[:, :11, :17])
        assert victim.read_bytes() == data
        victim.write_bytes(good[victim])


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.98])
@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
def test_cut_tiles_are_named_and_the_rest_reads_on(
    build: Any, tmp_path: Path, part: float, table: bool
) -> None:
    victim = build(tmp_path, table=table, compression="zlib")[1, 2, 2]
    whole = victim.read_bytes()
    source = open_source(tmp_path)
    victim.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(VolumeError, match=victim.name):
        source.read(WHOLE)
    box = Box((0, 0, 0), (20, 21, 42))
    np.testing.assert_array_equal(source.read(box), VOLUME[box.slices])


def test_a_tile_that_vanishes_is_named(build: Any, tmp_path: Path) -> None:
    for suffix in (".tif", ".raw"):
        victim = build(tmp_path / suffix, suffix=suffix)[1, 2, 2]
        source = open_source(tmp_path / suffix)
        victim.unlink()

        with pytest.raises(VolumeError, match=victim.name):
            source.read(WHOLE)
