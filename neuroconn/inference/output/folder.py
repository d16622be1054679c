"""Where a run keeps what is not voxels: a folder of this machine, or a prefix of an object store.

Both hold documents, which are replaced whole or not at all; logs, whose lines are added and never
changed; the journal; and a lock. What an append means differs, what it promises does not: when it
returns, the lines are durable, and nobody reads half of one.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from neuroconn.errors import OutputError, StorageError
from neuroconn.inference.journal.file import JournalFile, is_sound
from neuroconn.inference.journal.lock import RunLock, holder
from neuroconn.inference.journal.object_lock import ObjectLock, object_holder
from neuroconn.inference.journal.segment_lines import JournalSegments
from neuroconn.inference.journal.segments import Segments, SegmentTail
from neuroconn.inference.output.moved import Files
from neuroconn.volume.address import Address, ObjectPath
from neuroconn.volume.objects import Objects

Lock: TypeAlias = RunLock | ObjectLock

_LOGS = ("journal", "seeds", "events", "failures")
_PATIENCE_S = 5.0
"""How long a line that nobody waits for may wait for others on an object store."""


class Lines(Protocol):
    """The lines of a journal."""

    dropped: int
    """Bytes that were found damaged or torn."""

    def append(self, data: bytes) -> None:
        """Store lines durably."""

    def blocks(self) -> Iterator[bytes]:
        """Sound lines in order, an arbitrary number at a time."""

    def replace(self, blocks: Iterable[bytes]) -> None:
        """Put other lines in place of all, whole or not at all."""

    def close(self) -> None:
        """Let go of what is open."""


@contextmanager
def explained(where: Path) -> Iterator[None]:
    """Say in one line what could not be written, and why.

    Raises
    ------
    StorageError
        Instead of the errors of the system.
    """
    try:
        yield
    except (OutputError, StorageError):
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise StorageError(
            f"cannot write {where}: {reason}; free some space, or see to its rights, and run the "
            "same command again"
        ) from error


class LocalFolder:
    """Files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the folder."""
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """Return a document, None if it was never written."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a document, durably."""
        part = self.path / f"{name}.{os.getpid()}.part"
        try:
            with explained(self.path / name):
                with part.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.path / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def create(self, name: str, data: bytes) -> bool:
        """Write a document; returns False if there is one. Only the holder of the lock may."""
        if (self.path / name).exists():
            return False
        self.write(name, data)
        return True

    def add(self, log: str, line: str, *, wait: bool = True) -> None:
        """Add a line to a log; without ``wait`` it may be lost in a power cut."""
        path = self.log_path(log)
        with explained(path), path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write((b"\n" if torn else b"") + line.encode() + b"\n")
            if wait:
                file.flush()
                os.fsync(file.fileno())

    def lines(self, log: str) -> Iterator[str]:
        """Lines of a log, a torn one among them perhaps."""
        if self.moved(log):
            for block in Segments(Files(self.path), log).blocks():
                yield from block.decode("utf-8", errors="replace").splitlines()
            return
        path = self.log_path(log)
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from file

    def log_path(self, log: str) -> Path:
        """File of a log."""
        return self.path / f"{log}.jsonl"

    @property
    def journal_path(self) -> Path:
        """File of the journal."""
        return self.path / "journal.jsonl"

    def moved(self, log: str) -> bool:
        """Whether a log was copied here from an object store, in numbered objects."""
        return (self.path / log).is_dir()

    def tail(self, log: str) -> SegmentTail:
        """Follow such a log, or such a journal."""
        return SegmentTail(Segments(Files(self.path), log), is_sound if log == "journal" else None)

    def journal(self, *, write: bool, lock: Lock | None = None) -> JournalFile | JournalSegments:
        """Open the journal."""
        if write:
            self._adopt()
        elif self.moved("journal"):
            return JournalSegments(Files(self.path), write=False)
        return JournalFile(self.journal_path, write=write)

    def _adopt(self) -> None:
        """Make files of what was copied here from an object store; a crash may repeat lines."""
        for log in _LOGS:
            if self.moved(log):
                found: Iterator[bytes] = Segments(Files(self.path), log).blocks()
                if log == "journal":
                    found = JournalSegments(Files(self.path), write=False).blocks()
                self.write(f"{log}.jsonl", b"".join(found))
                shutil.rmtree(self.path / log)

    def lock(self, *, force: bool = False) -> RunLock:
        """Take the folder for this process."""
        with explained(self.path / "lock"):
            return RunLock(self.path / "lock", force=force)

    def holder(self) -> dict[str, Any] | None:
        """Who is at work in the folder."""
        return holder(self.path / "lock")


class ObjectFolder:
    """Objects under an address; each log is a prefix of numbered objects."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.objects = Objects(path)
        self._logs: dict[str, Segments] = {}
        self._waiting: dict[str, list[str]] = {}
        self._since: dict[str, float] = {}

    def prepare(self) -> None:
        """Nothing: a prefix needs no making."""

    def read(self, name: str) -> bytes | None:
        """Return a document, None if it was never written."""
        return self.objects.get(name)

    def write(self, name: str, data: bytes) -> None:
        """Replace a document."""
        self.objects.put(name, data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a document; returns False if another one is there."""
        return self.objects.create(name, data)

    def add(self, log: str, line: str, *, wait: bool = True) -> None:
        """Add a line to a log; without ``wait`` it is stored with those of the next seconds."""
        waiting = self._waiting.setdefault(log, [])
        if not waiting:
            self._since[log] = time.monotonic()
        waiting.append(line)
        if wait or time.monotonic() - self._since[log] >= _PATIENCE_S:
            self.flush(log)

    def flush(self, log: str) -> None:
        """Store the lines that wait."""
        data = "".join(f"{line}\n" for line in self._waiting.pop(log, ())).encode()
        if not data:
            return
        if log not in self._logs:
            self._logs[log] = Segments(self.objects, log)
            self._logs[log].tidy()
        while not self._logs[log].append(data):
            self._logs[log].look()

    def lines(self, log: str) -> Iterator[str]:
        """Lines of a log."""
        self.flush(log)
        for block in Segments(self.objects, log).blocks():
            yield from block.decode("utf-8", errors="replace").splitlines()

    def tail(self, log: str) -> SegmentTail:
        """Follow a log, or the journal."""
        keep = is_sound if log == "journal" else None
        return SegmentTail(Segments(self.objects, log), keep)

    def journal(self, *, write: bool, lock: Lock | None = None) -> JournalSegments:
        """Open the journal."""
        taken = isinstance(lock, ObjectLock) and lock.taken
        return JournalSegments(self.objects, write=write, fence=taken)

    def lock(self, *, force: bool = False) -> ObjectLock:
        """Take the folder for this process."""
        return ObjectLock(self.objects, force=force)

    def holder(self) -> dict[str, Any] | None:
        """Who is at work in the folder."""
        return object_holder(self.objects)


Folder: TypeAlias = LocalFolder | ObjectFolder


class Log:
    """One log of a run folder."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return f"{self._folder.path}/{self._name}"

    def add(self, line: str, *, wait: bool = True) -> None:
        """Add a line; without ``wait`` it need not be durable at once."""
        self._folder.add(self._name, line, wait=wait)

    def __iter__(self) -> Iterator[str]:
        return self._folder.lines(self._name)


def open_folder(path: Address) -> Folder:
    """Return the run folder at an address."""
    return ObjectFolder(path) if isinstance(path, ObjectPath) else LocalFolder(path)
