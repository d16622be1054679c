"""Mending: what was wrong is right, every voxel is what it was, and all of it can be taken back."""

import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from broken_layouts import a_folder_listed_twice, a_hole_between_columns, a_table_that_goes_on

from neuroconn.errors import StorageError, UsageError, VolumeError
from neuroconn.vaa3d.conformance import backup, check_vaa3d, repair_vaa3d, undo
from neuroconn.vaa3d.conformance.frames import size_from_names


def files(root: Path) -> dict[str, bytes]:
    """Every file of a tree but its backups."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and backup.FOLDER not in path.parts
    }


def wrong(page: int, total: int) -> tuple[int, int]:
    """What tiles of brains that did not open for weeks said: the total of another stack."""
    return page % 2, total + 3


def entries(path: Path) -> set[int]:
    """Places of a file that belong to its PageNumber entries."""
    with tifffile.TiffFile(path) as tif:
        size = 20 if tif.is_bigtiff else 12
        tags = [page.tags[297].offset for page in tif.pages]  # type: ignore[union-attr]
    return {at + k for at in tags for k in range(size)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw", "rowsperstrip": 1},
        {"compression": "zlib", "bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "bigtiff": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_page_numbers_become_right_and_nothing_else_changes(
    make: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    tree = make(tmp_path / "tree", number=wrong, **options)
    before, voxels = files(tree.root), tree.voxels()
    assert "tile.page-number" in check_vaa3d(tree.root).rules

    report = repair_vaa3d(tree.root)

    assert report.tiles == 9
    assert check_vaa3d(tree.root).rules <= {"tile.byte-order", "level.zlib"}
    np.testing.assert_array_equal(tree.voxels(), voxels)
    after = files(tree.root)
    assert after.keys() == before.keys()
    for name, data in after.items():
        changed = {k for k, (a, b) in enumerate(zip(data, before[name], strict=True)) if a != b}
        assert changed <= (entries(tree.root / name) if name.endswith(".tif") else set())
    with tifffile.TiffFile(tree.tile()) as tif:
        assert [page.tags[297].value for page in tif.pages] == [(k, 4) for k in range(4)]  # type: ignore[union-attr]


def test_an_entry_of_another_type_becomes_two_shorts(make: Any, tiff: Any, tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", number=wrong)
    tiff.retag(tree.tile(), 297, struct.pack("<HI", 4, 1), at=2)  # one LONG

    repair_vaa3d(tree.root)

    assert check_vaa3d(tree.root).findings == ()


def test_an_independent_reader_opens_the_brain_after_it(make: Any, tmp_path: Path) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    tree = make(tmp_path / "tree", number=lambda page, total: (page, 1))
    repair_vaa3d(tree.root)

    found = interface(tree.folder(0)).get_sub_volume(0, 272, 0, 20, 0, 6)

    np.testing.assert_array_equal(found[0], tree.voxels())


def test_a_sound_tree_is_left_alone(tree: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in tree.root.rglob("*")}

    report = repair_vaa3d(tree.root)

    assert (report.mended, report.refused, report.backup) == ((), (), None)
    assert {path: path.stat().st_mtime_ns for path in tree.root.rglob("*")} == before


def spoil_all(make: Any, root: Path) -> Any:
    """Break all that can be mended: numbers, one table missing, one format wrong, one missing."""
    tree = make(root, number=wrong)
    tree.table(0).unlink()
    (tree.folder(0) / ".iim.format").unlink()
    (tree.folder(1) / ".iim.format").write_text("TIFF (3D)")
    return tree


def test_a_mended_tree_is_the_sound_one_byte_for_byte(make: Any, tmp_path: Path) -> None:
    sound = make(tmp_path / "sound", number=lambda page, total: (page, total))
    tree = spoil_all(make, tmp_path / "tree")

    repair_vaa3d(tree.root, threads=3)

    assert files(tree.root) == files(sound.root)
    assert repair_vaa3d(tree.root).backup is None  # a second repair finds nothing to do


def test_a_repair_can_be_taken_back(make: Any, tmp_path: Path) -> None:
    tree = spoil_all(make, tmp_path / "tree")
    before = files(tree.root)
    repair_vaa3d(tree.root)

    folder, count = undo(tree.root)

    assert files(tree.root) == before
    assert folder.is_dir()
    assert count == 12  # nine tiles, a table, two formats
    with pytest.raises(UsageError, match="no repair"):
        undo(tree.root)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8, 13, 20])
def test_a_repair_that_is_killed_goes_on_and_can_be_taken_back(
    make: Any, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = make(tmp_path / "sound", number=lambda page, total: (page, total))
    tree = spoil_all(make, tmp_path / "tree")
    before, calls, sync = files(tree.root), [0], os.fsync

    def stop(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise KeyboardInterrupt
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            repair_vaa3d(tree.root, threads=1)
    half = tmp_path / "half"
    shutil.copytree(tree.root, half)

    repair_vaa3d(tree.root)

    assert files(tree.root) == files(sound.root)
    while any(f.suffix != ".undone" for f in (half / backup.FOLDER).iterdir()):
        undo(half)
    assert files(half) == before


def test_a_tile_whose_repair_stops_between_two_pages_is_finished_or_taken_back(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = make(tmp_path / "sound", number=lambda page, total: (page, total))
    tree = make(tmp_path / "tree", number=wrong)
    before, write = files(tree.root), backup._write

    def stop(path: Path, pieces: list[tuple[int, bytes]]) -> None:
        write(path, pieces[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(backup, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            repair_vaa3d(tree.root, threads=1)
    half = tmp_path / "half"
    shutil.copytree(tree.root, half)

    repair_vaa3d(tree.root)
    undo(half)

    assert files(tree.root) == files(sound.root)
    assert files(half) == before


def test_a_torn_line_of_the_journal_is_a_tile_not_touched(make: Any, tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", number=wrong)
    before = files(tree.root)
    report = repair_vaa3d(tree.root)
    journal = Path(str(report.backup)) / backup.JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"file": "RES(20x2')

    undo(tree.root)

    assert files(tree.root) == before


@pytest.mark.parametrize("spoil", [a_folder_listed_twice, a_hole_between_columns])
def test_a_table_that_contradicts_itself_is_laid_out_anew(
    tree: Any, tiff: Any, spoil: Callable[[Any, Any], None]
) -> None:
    good = tree.table().read_bytes()
    spoil(tree, tiff)

    report = repair_vaa3d(tree.root)

    assert tree.table().read_bytes() == good
    assert "from names and headers" in report.mended[0][1]


@pytest.mark.parametrize("damage", ["version", "trailing", "bytes", "spacing"])
def test_a_table_with_sound_columns_keeps_its_empty_tiles(
    tree: Any, tiff: Any, damage: str
) -> None:
    blocks = tree.column(0, 1, 1).blocks
    tree.change_column(blocks=(replace(blocks[0], file=None), blocks[1]))
    tree.tile(0, 1, 1).unlink()
    good = tree.table().read_bytes()
    if damage == "version":
        tree.poke(0, b"\0\0\0\0")
    elif damage == "trailing":
        tree.table().write_bytes(good + b"\0")
    elif damage == "bytes":
        tree.poke(len(good) - 4, b"\x04")
    else:
        tree.poke(16, b"\0" * 24)
    assert not check_vaa3d(tree.root).sound

    repair_vaa3d(tree.root)

    assert tree.table().read_bytes() == good


def test_a_told_voxel_size_goes_into_every_level(tree: Any) -> None:
    repair_vaa3d(tree.root, spacing_um=(3.0, 0.7, 0.7))

    report = check_vaa3d(tree.root)

    assert [level.spacing_um for level in report.levels] == [(3.0, 0.7, 0.7), (6.0, 1.4, 1.4)]
    assert report.rules == {"names.position"}  # the names still say what they said
    assert repair_vaa3d(tree.root, spacing_um=(3.0, 0.7, 0.7)).backup is None


def test_without_any_table_the_voxel_size_must_be_told(tree: Any) -> None:
    good = tree.table(0).read_bytes(), tree.table(1).read_bytes()
    for level in (0, 1):
        tree.table(level).unlink()

    report = repair_vaa3d(tree.root)

    assert report.mended == ()
    assert [why for _, why in report.refused if "--spacing" in why]
    repair_vaa3d(tree.root, spacing_um=(2.0, 0.5, 0.5))
    # Names are whole micrometres: here, that is all the origin there is.
    assert (tree.table(0).read_bytes(), tree.table(1).read_bytes()) == good


def test_names_of_a_large_brain_tell_its_voxel_size() -> None:
    for size in (0.35, 0.3, 0.325, 0.5, 1.0, 2.3, 0.2):
        starts = range(0, 60000, 250)
        names = [(v, int(v * size + 123.4 + 0.5) * 10) for v in starts]
        assert size_from_names(names, 10) == size
        deep = [(v, 777 + int(v * size * 10)) for v in range(0, 9000, 256)]
        assert size_from_names(deep, 1) == size
    assert size_from_names([(0, 0)], 10) is None
    assert size_from_names([(0, 0), (100, 500), (200, 5000)], 10) is None


def test_a_hole_in_a_tree_without_a_table_is_not_guessed(tree: Any) -> None:
    tree.table().unlink()
    tree.tile(1, 1, 1).unlink()
    before = files(tree.root)

    report = repair_vaa3d(tree.root)

    assert "only there" in report.refused[0][1]
    assert files(tree.root) == before


def test_turned_axes_are_not_straightened(tree: Any, tiff: Any) -> None:
    a_table_that_goes_on(tree, tiff)
    tree.poke(4, struct.pack("<3i", -1, 2, 3))

    assert "axes" in repair_vaa3d(tree.root).refused[0][1]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_tile_that_others_share_is_left_alone(make: Any, tmp_path: Path, kind: str) -> None:
    tree = make(tmp_path / "tree", number=wrong)
    snapshot = tmp_path / "snapshot.tif"
    if kind == "hard":
        snapshot.hardlink_to(tree.tile())
    else:
        tree.tile().rename(snapshot)
        tree.tile().symlink_to(snapshot)
    before = snapshot.read_bytes()

    report = repair_vaa3d(tree.root)

    assert report.tiles == 8
    assert report.refused[0][0] == tree.tile().relative_to(tree.root).as_posix()
    assert snapshot.read_bytes() == before


def test_a_tile_whose_pages_end_in_damage_is_left_alone(make: Any, tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", number=wrong)
    half = tree.tile().read_bytes()[: tree.tile().stat().st_size // 2]
    tree.tile().write_bytes(half)

    report = repair_vaa3d(tree.root)

    assert report.tiles == 8
    assert "nobody knows their number" in report.refused[0][1]
    assert tree.tile().read_bytes() == half


def test_an_unfinished_export_is_finished_by_its_writer(tree: Any) -> None:
    (tree.root / ".partial").mkdir()

    with pytest.raises(VolumeError, match="run the same export again"):
        repair_vaa3d(tree.root)


def test_a_refusing_disk_is_one_line(tree: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.folder(0) / ".iim.format").unlink()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="Read-only"):
        repair_vaa3d(tree.root)
