"""Files appear whole, and a refusing disk is one line."""

import errno
import os
from pathlib import Path

import pytest

from neuroconn.errors import OutputError, StorageError
from neuroconn.vaa3d.files import publish, storage_errors, write_whole


def test_a_file_is_moved_to_its_name_and_never_copied(tmp_path: Path) -> None:
    temporary = tmp_path / "tile.tmp"
    temporary.write_bytes(b"whole")
    inode = temporary.stat().st_ino

    publish(temporary, tmp_path / "deep" / "er" / "tile.tif")

    assert (tmp_path / "deep" / "er" / "tile.tif").stat().st_ino == inode
    assert not temporary.exists()


def test_a_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda handle: named.append((tmp_path / "tile.tif").exists()))
    (tmp_path / "tile.tmp").write_bytes(b"whole")

    publish(tmp_path / "tile.tmp", tmp_path / "tile.tif")

    assert named == [False]
    assert (tmp_path / "tile.tif").exists()


def test_small_files_leave_nothing_in_the_scratch_folder(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()

    write_whole(tmp_path / "level" / "mdata.bin", b"table", scratch=tmp_path / "scratch")

    assert (tmp_path / "level" / "mdata.bin").read_bytes() == b"table"
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "permissions"),
        (errno.EIO, "check the disk"),
    ],
)
def test_a_refusing_disk_says_what_to_do(code: int, advice: str) -> None:
    with pytest.raises(StorageError, match=advice) as caught, storage_errors(Path("tree")):
        raise OSError(code, "no")

    assert caught.value.exit_code == 74
    assert "tree" in str(caught.value)


@pytest.mark.parametrize("error", [OutputError("taken"), StorageError("full"), KeyError("x")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage_errors(Path("tree")):
        raise error

    assert caught.value is error
