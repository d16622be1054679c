"""TeraFly trees without ``mdata.bin``: order from names, sizes from tiles."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.vaa3d import terafly_names

VOLUME = np.random.default_rng(5).integers(0, 65535, (20, 34, 42), dtype=np.uint16)
SIZES = ((9, 11), (11, 10, 13), (15, 2, 25))
WHOLE = Box.of_shape((20, 34, 42))
LEVEL = "RES(34x42x20)"


def test_what_vaa3d_ignores_is_ignored(build: Any, tmp_path: Path) -> None:
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
def test_a_hole_is_named(build: Any, tmp_path: Path, lost: Any, message: str) -> None:
    build(tmp_path, table=False)[lost].unlink()

    with pytest.raises(VolumeError, match=message):
        open_source(tmp_path)


def test_a_missing_column_row_or_layer_is_named(build: Any, tmp_path: Path) -> None:
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


def test_columns_in_other_places_are_refused(build: Any, tmp_path: Path) -> None:
    column = build(tmp_path, table=False)[0, 1, 1].parent
    column.rename(column.with_name(column.name[:-1] + "1"))

    with pytest.raises(VolumeError, match="must be alike"):
        open_source(tmp_path)


def test_names_of_mixed_width_have_no_order(build: Any, tmp_path: Path) -> None:
    files = build(tmp_path, VOLUME[:, :11, :15], ((9, 11), (11,), (15,)), table=False)
    files[1, 0, 0].rename(files[1, 0, 0].with_name("045720_045720_1000000.tif"))
    files[0, 0, 0].rename(files[0, 0, 0].with_name("045720_045720_999990.tif"))

    with pytest.raises(VolumeError, match="pad the numbers"):
        open_source(tmp_path)


def test_names_without_numbers_go_by_the_alphabet(build: Any, tmp_path: Path) -> None:
    files = build(tmp_path, VOLUME[:, :11, :15], ((9, 11), (11,), (15,)), table=False)
    for k, name in enumerate(("a.tif", "b.tif")):
        files[k, 0, 0].rename(files[k, 0, 0].with_name(name))

    box = Box.of_shape((20, 11, 15))
    np.testing.assert_array_equal(open_source(tmp_path).read(box), VOLUME[:, :11, :15])


@pytest.mark.parametrize("junk", ["Thumbs.db", "a.tif.partial", "NULL.txt"])
def test_junk_among_the_tiles_is_refused(build: Any, tmp_path: Path, junk: str) -> None:
    (build(tmp_path, table=False)[0, 0, 0].parent / junk).write_text("x")

    with pytest.raises(VolumeError, match=f"{junk} is no tile"):
        open_source(tmp_path)


def test_files_and_empty_folders_in_place_of_tiles_are_refused(tmp_path: Path) -> None:
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
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = build(tmp_path, table=False)
    monkeypatch.setattr(terafly_names, "MANY", 3)
    read, facts = [], terafly_names.tile_facts
    monkeypatch.setattr(terafly_names, "tile_facts", lambda p: read.append(p) or facts(p))

    source = open_source(tmp_path)

    telling = {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 0, 1), (0, 0, 2)}
    assert sorted(read) == sorted(files[index] for index in telling)
    np.testing.assert_array_equal(source.read(WHOLE), VOLUME)
