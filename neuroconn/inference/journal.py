"""The record of what is done: append-only, one checksummed line a finished chunk.

A line is the CRC-32 of a JSON object, a space, and that object, so that ``grep`` and ``cut -c10-``
read it. A line is written after the core it speaks of; the frontier grows after the line. What a
crash tears off the end is computed again, to the same bytes.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from neuroconn.errors import OutputError, StorageError
from neuroconn.geometry import ZYX
from neuroconn.inference.identity import differences, run_identity
from neuroconn.inference.journal_line import Record
from neuroconn.inference.lock import RunLock

__all__ = ["Journal", "Record"]

_FAILED = -1  # in place of a digest


class Journal:
    """The journal of one run folder; make one with :meth:`create`, :meth:`open` or :meth:`read`.

    Attributes
    ----------
    identity : dict
        The run this folder belongs to.
    dropped : int
        Bytes behind the last sound record when the journal was opened.
    conflicts : list of (z, y, x)
        Chunks found twice with different bytes while reading: the engine is not deterministic.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], lock: RunLock | None) -> None:
        self.folder = folder
        self.identity = identity
        self.conflicts: list[ZYX] = []
        self._lock = lock
        self._fd: int | None = None
        self._end, size = _sound(self.path)
        self.dropped = size - self._end
        if lock is not None:
            self._open_for_writing()

    @classmethod
    def create(cls, folder: Path, identity: Mapping[str, Any]) -> Journal:
        """Start the journal of a new run; the folder is made if need be.

        Raises
        ------
        OutputError
            If the folder has a journal already, or another process is starting one.
        StorageError
            If the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = RunLock(folder / "lock")
        except OutputError:
            raise
        except OSError as error:
            raise StorageError(f"cannot start a run in {folder}: {error}") from error
        return cls._under(lock, folder, identity)

    @classmethod
    def open(
        cls, folder: Path, identity: Mapping[str, Any], *, force_unlock: bool = False
    ) -> Journal:
        """Resume a run: take the lock, cut off what a crash tore.

        Raises
        ------
        OutputError
            If the folder holds no run, a run with another identity (the message names each field
            and both values), or another process is at work in it.
        StorageError
            If the journal cannot be written.
        """
        found = _read_identity(folder)
        differing = differences(found, run_identity(**identity))
        if differing:
            raise OutputError(
                f"{folder} belongs to a run with other settings ({'; '.join(differing)}); chunks "
                "of two runs do not fit together. Choose another output, or that run's settings."
            )
        return cls._under(RunLock(folder / "lock", force=force_unlock), folder)

    @classmethod
    def read(cls, folder: Path) -> Journal:
        """Look at a run without touching it, also while it is under way.

        Raises
        ------
        OutputError
            If the folder holds no run.
        """
        return cls(folder, _read_identity(folder), None)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether ``folder`` holds a run."""
        return (folder / "identity.json").is_file()

    @property
    def path(self) -> Path:
        """The file of records."""
        return self.folder / "journal.jsonl"

    def append(self, records: Iterable[Record]) -> None:
        """Write records in one go and wait until they are on the disk.

        Raises
        ------
        StorageError
            If the disk refuses; nothing of these records stays in the journal.
        """
        if self._fd is None:
            raise ValueError("this journal was opened for reading")
        data = b"".join(record.to_line() for record in records)
        if not data:
            return
        try:
            _write_all(self._fd, data)
            _flush(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise StorageError(
                f"cannot append to {self.path}: {error}. Make room and run the same command again."
            ) from error
        self._end += len(data)

    def records(self) -> Iterator[Record]:
        """Sound records in the order of writing, the first of each chunk.

        A chunk that failed and was done later comes twice. Repeats are left out; those whose
        bytes differ are added to :attr:`conflicts`.
        """
        self.conflicts.clear()
        seen: dict[int, int] = {}  # one int per chunk: tuples would take twice the memory
        for record in self._sound_records():
            z, y, x = record.index
            key = (z << 42) | (y << 21) | x
            digest = _FAILED if record.status == "failed" else record.digest
            first = seen.get(key)
            if first is None or (first == _FAILED and digest != _FAILED):
                seen[key] = digest
                yield record
            elif digest not in (first, _FAILED):
                self.conflicts.append(record.index)

    def note_failure(self, index: ZYX, attempt: int, reason: str, traceback: str = "") -> None:
        """Add to ``failures.jsonl`` why a chunk failed; for people, never read by a run."""
        note = {"zyx": index, "attempt": attempt, "reason": reason, "traceback": traceback}
        try:
            with (self.folder / "failures.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(note) + "\n")
        except OSError as error:
            raise StorageError(f"cannot write in {self.folder}: {error}") from error

    def close(self) -> None:
        """Release file and lock; a second call does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def _under(cls, lock: RunLock, folder: Path, new: Mapping[str, Any] | None = None) -> Journal:
        """Open for writing under ``lock``, which is given back if that fails."""
        try:
            identity = _read_identity(folder) if new is None else _write_identity(folder, new)
            return cls(folder, identity, lock)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError) and not isinstance(error, OutputError):
                raise StorageError(f"cannot write in {folder}: {error}") from error
            raise

    def _open_for_writing(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if self.dropped:
            _keep_damaged(self.path, self._end)
            os.ftruncate(self._fd, self._end)
        os.fsync(self._fd)
        _flush_folder(self.folder)

    def _sound_records(self) -> Iterator[Record]:
        if not self._end:
            return
        with self.path.open("rb") as file:
            at = 0
            while at < self._end:
                line = file.readline()
                at += len(line)
                yield Record.from_line(line)


def _sound(path: Path) -> tuple[int, int]:
    """End of the last record before the first bad one, and the size of the file."""
    end = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(line[9:-1]):
                    break
                end += len(line)
            return end, file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return 0, 0


def _keep_damaged(path: Path, end: int) -> None:
    """Put aside what is cut off, if it is more than the torn end of one line."""
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read()
    if b"\n" in rest:
        with path.with_suffix(".damaged").open("ab") as file:
            file.write(rest)


def _read_identity(folder: Path) -> dict[str, Any]:
    path = folder / "identity.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"{folder} holds no run: there is no {path.name}") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot tell which run {folder} holds: {path}: {error}") from None
    if not isinstance(found, dict):
        raise OutputError(f"cannot tell which run {folder} holds: {path} is not a mapping")
    return found


def _write_identity(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Write the identity under its final name in one step."""
    path = folder / "identity.json"
    if path.exists():
        raise OutputError(f"{folder} holds a run already; open it to resume, or choose another")
    canonical = run_identity(**identity)
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(canonical, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return canonical


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _flush(fd: int) -> None:
    getattr(os, "fdatasync", os.fsync)(fd)  # macOS has no fdatasync


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
