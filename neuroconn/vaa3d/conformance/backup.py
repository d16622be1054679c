"""What a repair is about to change, kept beside the tree first, so that it can be taken back.

Small files are copied. Of tiles, which may be terabytes, only the bytes that change are kept: a
line of JSON each, on disk before the tile is touched. A line cut off by a crash names a tile that
was not touched yet.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from neuroconn.errors import StorageError, UsageError, VolumeError

FOLDER = ".repair-backup"
"""Beside the RES folders: TeraFly looks at nothing else."""
JOURNAL = "journal.jsonl"
UNDONE = ".undone"

Edit = tuple[int, bytes, bytes]
"""Place in a file, the bytes there, and those to come."""


class Backup:
    """The backup of one repair; its folder appears with the first change.

    Parameters
    ----------
    tree : Path
        The tree under repair.
    """

    def __init__(self, tree: Path) -> None:
        self._tree, self._lock = tree, Lock()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        self.folder = tree / FOLDER / stamp

    @property
    def used(self) -> bool:
        """Whether anything was changed."""
        return self.folder.is_dir()

    def replace(self, path: Path, data: bytes) -> None:
        """Write a file anew, whole or not at all, and keep the old one.

        Raises
        ------
        StorageError
            If the disk refuses.
        """
        name = path.relative_to(self._tree)
        with self._lock, _refusals(path):
            old = path.is_file()
            if old:
                copy = self.folder / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
                _sync(copy)
            self._note({"file": name.as_posix(), "kept": old})
            temporary = self.folder / "new"
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(path)

    def patch(self, path: Path, edits: list[Edit]) -> None:
        """Change a few bytes of a file in place, and keep the old ones.

        Raises
        ------
        StorageError
            If the disk refuses.
        VolumeError
            If the bytes are not those that were expected.
        """
        name = path.relative_to(self._tree).as_posix()
        with _refusals(path):
            _check(path, edits)
            with self._lock:
                told = [[at, old.hex(), new.hex()] for at, old, new in edits]
                self._note({"file": name, "edits": told})
            _write(path, [(at, new) for at, _, new in edits])

    def _note(self, line: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / JOURNAL).open("ab") as journal:
            journal.write(json.dumps(line).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())


def undo(tree: Path) -> tuple[Path, int]:
    """Take the latest repair back.

    Parameters
    ----------
    tree : Path
        A tree that was repaired.

    Returns
    -------
    path, int
        The backup that was used, renamed so that the next call takes an earlier one back, and the
        number of files put back.

    Raises
    ------
    UsageError
        If there is nothing to take back.
    StorageError
        If the disk refuses.
    """
    folders = [f for f in tree.glob(f"{FOLDER}/*") if f.is_dir() and f.suffix != UNDONE]
    if not folders:
        raise UsageError(f"{tree} has no repair to take back")
    folder = max(folders)
    files = set()
    for line in reversed(list(_lines(folder / JOURNAL))):
        path = tree / line["file"]
        with _refusals(path):
            if "edits" in line:
                _write(path, [(at, bytes.fromhex(old)) for at, old, _ in line["edits"]])
            elif line["kept"]:
                shutil.copy2(folder / line["file"], folder / "new")
                (folder / "new").replace(path)
            else:
                path.unlink(missing_ok=True)
        files.add(path)
    done = folder.with_name(folder.name + UNDONE)
    folder.rename(done)
    return done, len(files)


def _lines(journal: Path) -> Iterator[dict[str, Any]]:
    for line in journal.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _check(path: Path, edits: list[Edit]) -> None:
    with path.open("rb") as file:
        for at, old, new in edits:
            file.seek(at)
            if len(old) != len(new) or file.read(len(old)) != old:
                raise VolumeError(f"{path} changed while it was repaired: check it again")


def _write(path: Path, pieces: list[tuple[int, bytes]]) -> None:
    with path.open("r+b") as file:
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except (StorageError, VolumeError):
        raise
    except OSError as error:
        raise StorageError(
            f"cannot change {path}: {error.strerror}; see to the disk and its permissions, then "
            "run the same command again"
        ) from error
