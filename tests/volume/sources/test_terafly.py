"""TeraFly trees with and without their table, of every kind in circulation, whole or damaged."""

import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d import TeraflyOptions, TeraflyPlan, TeraflyVolume, write_terafly
from neuroconn.vaa3d.mdata import Block, Column, TileTable, encode
from neuroconn.vaa3d.v3draw import write_v3draw
from neuroconn.volume.sources import open_source, terafly_names, terafly_tiles

Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

VOLUME = np.random.default_rng(5).integers(0, 65535, (20, 34, 42), dtype=np.uint16)
SIZES: Sizes = ((9, 11), (11, 10, 13), (15, 2, 25))
WHOLE = Box.of_shape((20, 34, 42))
LEVEL = "RES(34x42x20)"
ENCODINGS: list[dict[str, Any]] = [
    {},
    {"compression": "lzw", "rowsperstrip": 1},
    {"compression": "zlib", "predictor": True},
    {"compression": "packbits"},
    {"byteorder": ">"},
    {"byteorder": ">", "compression": "lzw"},
    {"bigtiff": True},
    {"imagej": True, "photometric": None},
    {"tile": (16, 16), "compression": "zlib"},
]


def save(path: Path, voxels: NDArray[Any], **tiff: Any) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, voxels, **{"photometric": "minisblack", "metadata": None, **tiff})
    else:
        write_v3draw(path, [voxels[None]], (1, *voxels.shape), voxels.dtype)  # type: ignore[arg-type]


def build(
    root: Path,
    volume: NDArray[Any] = VOLUME,
    sizes: Sizes = SIZES,
    *,
    table: bool = True,
    suffix: str = ".tif",
    absent: Callable[[int, int, int], bool] = lambda k, i, j: False,
    spacing: tuple[float, float, float] = (2.0, 0.35, 0.35),
    **tiff: Any,
) -> dict[tuple[int, int, int], Path]:
    """Write a level and return its tiles by (z, y, x) position; names start at 45720."""
    level = root / "RES({1}x{2}x{0})".format(*volume.shape)
    z, y, x = ([*accumulate(axis, initial=0)] for axis in sizes)
    columns: dict[tuple[int, int], list[Block]] = {}
    files = {}
    for i, j, k in product(*(range(len(sizes[axis])) for axis in (1, 2, 0))):
        row, place = f"{10 * y[i] + 45720:06d}", f"{10 * x[j] + 45720:06d}"
        name = f"{row}_{place}_{10 * z[k]:06d}{suffix}"
        path = files[k, i, j] = level / row / f"{row}_{place}" / name
        blocks = columns.setdefault((i, j), [])
        blocks.append(Block(None if absent(k, i, j) else name, z[k], sizes[0][k]))
        if not absent(k, i, j):
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, volume[z[k] : z[k + 1], y[i] : y[i + 1], x[j] : x[j + 1]], **tiff)
    if table:
        rows = [
            [
                Column(
                    files[0, i, j].parent.relative_to(level).as_posix(),
                    (y[i], x[j]), (sizes[1][i], sizes[2][j]), tuple(columns[i, j]), volume.itemsize,
                )
                for j in range(len(sizes[2]))
            ]
            for i in range(len(sizes[1]))
        ]  # fmt: skip
        write_table(level, volume.shape, rows, spacing)
    return files


def write_table(level: Path, shape: Any, rows: Any, spacing: Any = (2.0, 0.35, 0.35)) -> None:
    table = TileTable(shape, spacing, (10.5, 20.25, 30000.5), tuple(map(tuple, rows)))
    (level / "mdata.bin").write_bytes(encode(table))


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tiff", ENCODINGS, ids=str)
def test_every_encoding_in_circulation_reads_equal(
    tmp_path: Path, table: bool, dtype: Any, tiff: dict[str, Any]
) -> None:
    volume = VOLUME.astype(dtype)
    build(tmp_path, volume, table=table, **tiff)

    source = open_source(tmp_path)

    assert (source.shape, source.dtype, source.unit) == (WHOLE.stop, dtype, (1, 13, 25))
    np.testing.assert_array_equal(source.read(WHOLE), volume)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("suffix", [".raw", ".v3draw"])
def test_tiles_may_be_v3draw_stacks(tmp_path: Path, table: bool, suffix: str) -> None:
    files = build(tmp_path, table=table, suffix=suffix)
    np.testing.assert_array_equal(open_source(tmp_path).read(WHOLE), VOLUME)

    victim = files[1, 1, 2]
    victim.write_bytes(victim.read_bytes()[:-2])
    with pytest.raises(VolumeError, match=victim.name):
        open_source(tmp_path).read(WHOLE)


@pytest.fixture(scope="module", params=[True, False], ids=["table", "names"])
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    build(root, table=request.param, compression="zlib", rowsperstrip=4)
    return root


@settings(max_examples=15, deadline=None)
@given(corners=st.tuples(*[st.tuples(st.integers(0, n), st.integers(0, n)) for n in VOLUME.shape]))
def test_a_window_is_a_crop_of_the_whole(corners: Any, tree: Path) -> None:
    (z0, z1), (y0, y1), (x0, x1) = (sorted(pair) for pair in corners)
    box = Box((z0, y0, x0), (z1, y1, x1))

    np.testing.assert_array_equal(open_source(tree).read(box), VOLUME[box.slices])


def test_threads_and_pickles_read_the_same(tree: Path) -> None:
    source = pickle.loads(pickle.dumps(open_source(tree)))
    boxes = list(WHOLE.split((3, 12, 42)))

    with ThreadPoolExecutor(4) as pool:
        for box, part in zip(boxes, pool.map(source.read, boxes), strict=True):
            np.testing.assert_array_equal(part, VOLUME[box.slices])


def test_only_the_segments_of_the_window_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = build(tmp_path, compression="zlib", rowsperstrip=4)
    source, read, seen = open_source(tmp_path), terafly_tiles.read_plane, []

    def noted(plane: Any, file: int, rows: Any, columns: Any, out: Any) -> Any:
        seen.append((plane.file.path, plane.page, rows, columns))
        return read(plane, file, rows, columns, out)

    monkeypatch.setattr(terafly_tiles, "read_plane", noted)
    source.read(Box((8, 12, 20), (10, 15, 22)))

    top, below = files[0, 1, 2], files[1, 1, 2]
    assert seen == [(top, 8, (1, 4), (3, 5)), (below, 0, (1, 4), (3, 5))]


def test_coordinates_survive_export_and_conversion(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(1, 4000, (40, 50, 60)).astype(np.uint16)
    plan = TeraflyPlan(
        (40, 50, 60), "uint16", (2.5, 0.35, 0.7), (30000.5, 12.25, 7.125),
        options=TeraflyOptions(tile=16, avoid_powers_of_two=False),
    )  # fmt: skip
    write_terafly(lambda box: volume[box.slices], tmp_path / "tree", plan)

    source = open_source(tmp_path / "tree")

    assert source.spacing_um == (2.5, 0.35, 0.7)
    assert source.origin_um == (30000.5, 12.25, 7.125)
    assert not source.notes
    np.testing.assert_array_equal(source.read(Box.of_shape((40, 50, 60))), volume)


def test_both_ways_agree_with_an_independent_reader(tmp_path: Path) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    build(tmp_path, compression="lzw", rowsperstrip=1)
    whole = open_source(tmp_path).read(WHOLE)

    tree = interface(str(tmp_path / LEVEL))

    x, y, z, _ = tree.get_dim()
    assert (z, y, x) == VOLUME.shape
    np.testing.assert_array_equal(tree.get_sub_volume(0, x, 0, y, 0, z)[0], whole)
    (tmp_path / LEVEL / "mdata.bin").unlink()
    np.testing.assert_array_equal(open_source(tmp_path).read(WHOLE), whole)


def test_the_finest_level_is_read_and_a_level_can_be_named(tmp_path: Path) -> None:
    coarse = VOLUME[::2, ::2, ::2]
    build(tmp_path, coarse, ((10,), (17,), (21,)), table=False)
    build(tmp_path)
    (tmp_path / "RES(17x21x10)" / ".iim.format").write_text("Vaa3D raw (tiled, 3D)")
    (tmp_path / "vmap.bin").write_bytes(b"x")

    assert open_source(tmp_path).shape == VOLUME.shape
    source = open_source(tmp_path / "RES(17x21x10)")
    np.testing.assert_array_equal(source.read(Box.of_shape(source.shape)), coarse)


def test_without_a_table_the_voxel_size_is_unknown_and_said_to_be(tmp_path: Path) -> None:
    build(tmp_path, table=False)

    source = open_source(tmp_path)

    assert source.spacing_um is None
    assert source.origin_um == (0.0, 0.0, 0.0)
    assert "order of their names" in source.notes[0]


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (np.nan, 1.0, 1.0)])
def test_an_impossible_voxel_size_is_unknown_and_said_to_be(tmp_path: Path, spacing: Any) -> None:
    build(tmp_path, spacing=spacing)

    source = open_source(tmp_path)

    assert source.spacing_um is None
    assert "no usable voxel size" in source.notes[0]


def test_turned_axes_are_said(tmp_path: Path) -> None:
    build(tmp_path)
    table = tmp_path / LEVEL / "mdata.bin"
    table.write_bytes(table.read_bytes()[:4] + np.array([-1, 2, 3], "<i4").tobytes()
                      + table.read_bytes()[16:])  # fmt: skip

    assert "(-1, 2, 3)" in open_source(tmp_path).notes[0]


def test_null_tiles_are_zeros_whatever_lies_there(tmp_path: Path) -> None:
    def absent(k: int, i: int, j: int) -> bool:
        return (k + i + j) % 2 == 0

    files = build(tmp_path, absent=absent)
    expected = VOLUME.copy()
    for k, i, j in files:
        if absent(k, i, j):
            z, y, x = ([*accumulate(axis, initial=0)] for axis in SIZES)
            expected[z[k] : z[k + 1], y[i] : y[i + 1], x[j] : x[j + 1]] = 0

    source = open_source(tmp_path)

    assert source.notes == ("9 of 18 tiles have no file by intention and read as zeros",)
    np.testing.assert_array_equal(source.read(WHOLE), expected)


def test_a_tree_of_null_tiles_alone_is_black(tmp_path: Path) -> None:
    build(tmp_path, table=False)
    shutil.rmtree(tmp_path / LEVEL)
    (tmp_path / LEVEL).mkdir()
    write_table(tmp_path / LEVEL, (4, 5, 6), [[Column("a", (0, 0), (5, 6), (Block(None, 0, 4),))]])

    source = open_source(tmp_path)

    assert source.shape == (4, 5, 6)
    assert not source.read(Box.of_shape((4, 5, 6))).any()


def test_all_missing_tiles_are_counted_and_some_named_at_once(tmp_path: Path) -> None:
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path)
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))

    open_source(tmp_path / LEVEL)

    columns = [path for path in listed if "_" in Path(path).name]
    assert len(columns) == len(set(columns)) == 9


def one_tile(level: Path, folder: str, file: str) -> None:
    write_table(level, (4, 5, 6), [[Column(folder, (0, 0), (5, 6), (Block(file, 0, 4),))]])


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
def test_names_that_leave_the_tree_are_refused(tmp_path: Path, folder: str, file: str) -> None:
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
def test_links_that_leave_the_tree_are_refused(tmp_path: Path, table: bool, what: str) -> None:
    victim = build(tmp_path, table=table)[0, 1, 1]
    victim = victim if what == "tile" else victim.parent
    outside = tmp_path / f"outside{victim.suffix}"
    victim.rename(outside)
    victim.symlink_to(outside)

    with pytest.raises(VolumeError, match="leads out of"):
        open_source(tmp_path)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
def test_links_inside_the_tree_and_to_the_tree_are_followed(tmp_path: Path, table: bool) -> None:
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
    tmp_path: Path, table: bool, position: Any, tile: Any, message: str
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


def test_signed_tiles_are_unsigned_by_convention_and_said_to_be(tmp_path: Path) -> None:
    for table in (True, False):
        build(tmp_path, VOLUME.view(np.int16), table=table)

        source = open_source(tmp_path)

        assert source.dtype == np.uint16
        assert any("read as unsigned" in note for note in source.notes)
        np.testing.assert_array_equal(source.read(WHOLE), VOLUME)


def test_several_channels_are_refused_by_name(tmp_path: Path) -> None:
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


def _rows(column: Column, *others: Column) -> list[list[Column]]:
    return [[column, *others]]


A = Column("a", (0, 0), (5, 6), (Block(None, 0, 4),))


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
def test_tables_with_holes_or_overlaps_are_refused(tmp_path: Path, rows: Any) -> None:
    level = tmp_path / "RES(5x6x4)"
    level.mkdir()
    write_table(level, (4, 5, 6), [[A]])
    open_source(tmp_path)

    write_table(level, (4, 5, 6), rows)

    with pytest.raises(VolumeError, match=r"mdata\.bin is damaged"):
        open_source(tmp_path)


@pytest.mark.parametrize("cut", [0, 3, 67, 68, 90, 120, -1])
def test_cut_tables_are_refused(tmp_path: Path, cut: int) -> None:
    build(tmp_path)
    table = tmp_path / LEVEL / "mdata.bin"
    table.write_bytes(table.read_bytes()[:cut])

    with pytest.raises(VolumeError, match=r"mdata\.bin"):
        open_source(tmp_path)


class TestNames:
    """Trees without ``mdata.bin``."""

    def test_what_vaa3d_ignores_is_ignored(self, tmp_path: Path) -> None:
        files = build(tmp_path, table=False)
        level, row, column = tmp_path / LEVEL, *reversed(files[0, 0, 0].parents[:2])
        (level / ".iim.format").write_text("Vaa3D raw (tiled, 3D)")
        (level / "two words").mkdir()
        (row / "notes.txt").write_text("x")
        (column / ".DS_Store").write_text("x")
        (column / "nodot").write_text("x")

        np.testing.assert_array_equal(open_source(tmp_path).read(WHOLE), VOLUME)

    @pytest.mark.parametrize(
        ("lost", "message"),
        [
            ((1, 1, 1), r"holds 1 parts and .* 2, .*only there: \['.*_000090\.tif'\]"),
            ((0, 0, 0), r"only here: \['.*_000000\.tif'\]"),
        ],
    )
    def test_a_hole_is_named(self, tmp_path: Path, lost: Any, message: str) -> None:
        build(tmp_path, table=False)[lost].unlink()

        with pytest.raises(VolumeError, match=message):
            open_source(tmp_path)

    def test_a_missing_column_row_or_layer_is_named(self, tmp_path: Path) -> None:
        files = build(tmp_path / "a", table=False)
        shutil.rmtree(files[0, 1, 1].parent)
        with pytest.raises(VolumeError, match="only there"):
            open_source(tmp_path / "a")

        shutil.rmtree(files[0, 1, 0].parent.parent)
        with pytest.raises(VolumeError, match=r"named after \(20, 34, 42\).*\(20, 24, 42\)"):
            open_source(tmp_path / "a")

        for (k, _, _), path in build(tmp_path / "b", table=False).items():
            if k == 1:
                path.unlink()
        with pytest.raises(VolumeError, match=r"add up to \(9, 34, 42\)"):
            open_source(tmp_path / "b")

    def test_columns_in_other_places_are_refused(self, tmp_path: Path) -> None:
        column = build(tmp_path, table=False)[0, 1, 1].parent
        column.rename(column.with_name(column.name[:-1] + "1"))

        with pytest.raises(VolumeError, match="must be alike"):
            open_source(tmp_path)

    def test_names_of_mixed_width_have_no_order(self, tmp_path: Path) -> None:
        files = build(tmp_path, VOLUME[:, :11, :15], ((9, 11), (11,), (15,)), table=False)
        files[1, 0, 0].rename(files[1, 0, 0].with_name("045720_045720_1000000.tif"))
        files[0, 0, 0].rename(files[0, 0, 0].with_name("045720_045720_999990.tif"))

        with pytest.raises(VolumeError, match="pad the numbers"):
            open_source(tmp_path)

    def test_names_without_numbers_go_by_the_alphabet(self, tmp_path: Path) -> None:
        files = build(tmp_path, VOLUME[:, :11, :15], ((9, 11), (11,), (15,)), table=False)
        for k, name in enumerate(("a.tif", "b.tif")):
            files[k, 0, 0].rename(files[k, 0, 0].with_name(name))

        box = Box.of_shape((20, 11, 15))
        np.testing.assert_array_equal(open_source(tmp_path).read(box), VOLUME[:, :11, :15])

    @pytest.mark.parametrize("junk", ["Thumbs.db", "a.tif.partial", "NULL.txt"])
    def test_junk_among_the_tiles_is_refused(self, tmp_path: Path, junk: str) -> None:
        (build(tmp_path, table=False)[0, 0, 0].parent / junk).write_text("x")

        with pytest.raises(VolumeError, match=f"{junk} is no tile"):
            open_source(tmp_path)

    def test_files_and_empty_folders_in_place_of_tiles_are_refused(self, tmp_path: Path) -> None:
        level = tmp_path / LEVEL
        level.mkdir()
        with pytest.raises(VolumeError, match="holds no tiles"):
            open_source(tmp_path)
        (level / "000000").mkdir()
        with pytest.raises(VolumeError, match="holds no tiles"):
            open_source(tmp_path)
        (level / "000000" / "000000_000000").mkdir()
        with pytest.raises(VolumeError, match="holds no tiles"):
            open_source(tmp_path)
        (level / "README").write_text("x")
        with pytest.raises(VolumeError, match="README is a file"):
            open_source(tmp_path)

    def test_of_many_tiles_only_the_telling_headers_are_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = build(tmp_path, table=False)
        monkeypatch.setattr(terafly_names, "MANY", 3)
        read, facts = [], terafly_names.tile_facts
        monkeypatch.setattr(terafly_names, "tile_facts", lambda p: read.append(p) or facts(p))

        source = open_source(tmp_path)

        telling = {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 0, 1), (0, 0, 2)}
        assert sorted(read) == sorted(files[index] for index in telling)
        np.testing.assert_array_equal(source.read(WHOLE), VOLUME)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
def test_damaged_tiles_and_tables_never_end_in_another_error(tmp_path: Path, table: bool) -> None:
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
    tmp_path: Path, part: float, table: bool
) -> None:
    victim = build(tmp_path, table=table, compression="zlib")[1, 2, 2]
    whole = victim.read_bytes()
    source = open_source(tmp_path)
    victim.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(VolumeError, match=victim.name):
        source.read(WHOLE)
    box = Box((0, 0, 0), (20, 21, 42))
    np.testing.assert_array_equal(source.read(box), VOLUME[box.slices])


def test_a_tile_that_vanishes_is_named(tmp_path: Path) -> None:
    for suffix in (".tif", ".raw"):
        victim = build(tmp_path / suffix, suffix=suffix)[1, 2, 2]
        source = open_source(tmp_path / suffix)
        victim.unlink()

        with pytest.raises(VolumeError, match=victim.name):
            source.read(WHOLE)


def test_the_source_stays_as_it_is(tmp_path: Path) -> None:
    build(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    one, two = open_source(tmp_path), open_source(tmp_path)
    one.read(WHOLE)

    assert one.identity == two.identity
    assert one.identity.files == 18
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert TeraflyVolume(tmp_path).shape == one.shape
