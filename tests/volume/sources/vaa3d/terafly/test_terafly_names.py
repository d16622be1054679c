"""TeraFly trees without ``mdata.bin``: order from names, sizes from tiles."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d import named
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.vaa3d import terafly

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
    monkeypatch.setattr(named, "MANY", 3)
    read, facts = [], terafly.tile_facts
    monkeypatch.setattr(terafly, "tile_facts", lambda p: read.append(p) or facts(p))

    source = open_source(tmp_path)

    telling = {(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 0, 1), (0, 0, 2)}
    assert set(read) == {files[index] for index in telling}
    np.testing.assert_array_equal(source.read(WHOLE), VOLUME)


def test_another_level_tells_the_voxel_size(build: Any, tmp_path: Path) -> None:
    coarse = VOLUME[::2, ::2, ::2][:10, :17, :21]
    build(tmp_path, coarse, ((10,), (17,), (21,)), spacing=(4.0, 0.7, 0.7))
    build(tmp_path, table=False)

    source = open_source(tmp_path)

    assert source.shape == VOLUME.shape
    assert source.spacing_um == (2.0, 0.35, 0.35)
    assert source.origin_um == (10.5, 20.25, 30000.5)
    assert "those of RES(17x21x10)" in source.notes[0]


def test_names_that_leave_no_doubt_tell_the_voxel_size(build: Any, tmp_path: Path) -> None:
    files = build(tmp_path, table=False)  # names count a voxel as a micrometre, from 4572 on

    assert open_source(tmp_path).spacing_um is None  # a few voxels leave too much doubt

    for path in sorted(files.values(), key=str, reverse=True):
        (y, x), z = path.parent.name.split("_"), path.stem.split("_")[-1]
        names = [f"{(int(n) - 45720) * 1000 + 45720:08}" for n in (y, x)]
        folder = tmp_path / LEVEL / names[0] / "_".join(names)
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / f"{'_'.join(names)}_{int(z) * 1000:08}.tif")
    for row in {path.parents[1] for path in files.values()}:
        shutil.rmtree(row)
    source = open_source(tmp_path)

    assert source.spacing_um == (1000.0, 1000.0, 1000.0)
    assert source.origin_um == (0.0, 4572.0, 4572.0)
    assert "also tell voxel size" in source.notes[0]
    np.testing.assert_array_equal(source.read(WHOLE), VOLUME)
