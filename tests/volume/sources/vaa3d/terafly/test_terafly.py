"""TeraFly trees with and without their table, of every kind in circulation."""

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d import TeraflyOptions, TeraflyPlan, TeraflyVolume, write_terafly
from neuroconn.vaa3d.mdata import Block, Column
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.vaa3d import terafly_tiles

VOLUME = np.random.default_rng(5).integers(0, 65535, (20, 34, 42), dtype=np.uint16)
SIZES = ((9, 11), (11, 10, 13), (15, 2, 25))
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


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("tiff", ENCODINGS, ids=str)
def test_every_encoding_in_circulation_reads_equal(
    build: Any, tmp_path: Path, table: bool, dtype: Any, tiff: dict[str, Any]
) -> None:
    volume = VOLUME.astype(dtype)
    build(tmp_path, volume, table=table, **tiff)

    source = open_source(tmp_path)

    assert (source.shape, source.dtype, source.unit) == (WHOLE.stop, dtype, (1, 13, 25))
    np.testing.assert_array_equal(source.read(WHOLE), volume)


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("suffix", [".raw", ".v3draw"])
def test_tiles_may_be_v3draw_stacks(build: Any, tmp_path: Path, table: bool, suffix: str) -> None:
    files = build(tmp_path, table=table, suffix=suffix)
    np.testing.assert_array_equal(open_source(tmp_path).read(WHOLE), VOLUME)

    victim = files[1, 1, 2]
    victim.write_bytes(victim.read_bytes()[:-2])
    with pytest.raises(VolumeError, match=victim.name):
        open_source(tmp_path).read(WHOLE)


@pytest.fixture(scope="module", params=[True, False], ids=["table", "names"])
def tree(
    build: Any, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
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
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_both_ways_agree_with_an_independent_reader(build: Any, tmp_path: Path) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    build(tmp_path, compression="lzw", rowsperstrip=1)
    whole = open_source(tmp_path).read(WHOLE)

    tree = interface(str(tmp_path / LEVEL))

    x, y, z, _ = tree.get_dim()
    assert (z, y, x) == VOLUME.shape
    np.testing.assert_array_equal(tree.get_sub_volume(0, x, 0, y, 0, z)[0], whole)
    (tmp_path / LEVEL / "mdata.bin").unlink()
    np.testing.assert_array_equal(open_source(tmp_path).read(WHOLE), whole)


def test_the_finest_level_is_read_and_a_level_can_be_named(build: Any, tmp_path: Path) -> None:
    coarse = VOLUME[::2, ::2, ::2]
    build(tmp_path, coarse, ((10,), (17,), (21,)), table=False)
    build(tmp_path)
    (tmp_path / "RES(17x21x10)" / ".iim.format").write_text("Vaa3D raw (tiled, 3D)")
    (tmp_path / "vmap.bin").write_bytes(b"x")

    assert open_source(tmp_path).shape == VOLUME.shape
    source = open_source(tmp_path / "RES(17x21x10)")
    np.testing.assert_array_equal(source.read(Box.of_shape(source.shape)), coarse)


def test_without_a_table_the_voxel_size_is_unknown_and_said_to_be(
    build: Any, tmp_path: Path
) -> None:
    build(tmp_path, table=False)

    source = open_source(tmp_path)

    assert source.spacing_um is None
    assert source.origin_um == (0.0, 0.0, 0.0)
    assert "order of their names" in source.notes[0]


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (np.nan, 1.0, 1.0)])
def test_an_impossible_voxel_size_is_unknown_and_said_to_be(
    build: Any, tmp_path: Path, spacing: Any
) -> None:
    build(tmp_path, spacing=spacing)

    source = open_source(tmp_path)

    assert source.spacing_um is None
    assert "no usable voxel size" in source.notes[0]


def test_turned_axes_are_said(build: Any, tmp_path: Path) -> None:
    build(tmp_path)
    table = tmp_path / LEVEL / "mdata.bin"
    table.write_bytes(table.read_bytes()[:4] + np.array([-1, 2, 3], "<i4").tobytes()
                      + table.read_bytes()[16:])  # fmt: skip

    assert "(-1, 2, 3)" in open_source(tmp_path).notes[0]


def test_null_tiles_are_zeros_whatever_lies_there(build: Any, tmp_path: Path) -> None:
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


def test_a_tree_of_null_tiles_alone_is_black(build: Any, write_table: Any, tmp_path: Path) -> None:
    build(tmp_path, table=False)
    shutil.rmtree(tmp_path / LEVEL)
    (tmp_path / LEVEL).mkdir()
    write_table(tmp_path / LEVEL, (4, 5, 6), [[Column("a", (0, 0), (5, 6), (Block(None, 0, 4),))]])

    source = open_source(tmp_path)

    assert source.shape == (4, 5, 6)
    assert not source.read(Box.of_shape((4, 5, 6))).any()


def test_signed_tiles_are_unsigned_by_convention_and_said_to_be(build: Any, tmp_path: Path) -> None:
    for table in (True, False):
        build(tmp_path, VOLUME.view(np.int16), table=table)

        source = open_source(tmp_path)

        assert source.dtype == np.uint16
        assert any("read as unsigned" in note for note in source.notes)
        np.testing.assert_array_equal(source.read(WHOLE), VOLUME)


def test_the_source_stays_as_it_is(build: Any, tmp_path: Path) -> None:
    build(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    one, two = open_source(tmp_path), open_source(tmp_path)
    one.read(WHOLE)

    assert one.identity == two.identity
    assert one.identity.files == 18
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert TeraflyVolume(tmp_path).shape == one.shape
