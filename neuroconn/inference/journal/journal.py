"""The record of what is done: append-only, one checksummed line a finished chunk.

A line is the CRC-32 of a JSON object, a space, and that object, so that ``grep`` and ``cut -c10-``
read it. A line is written after the core it speaks of; the frontier grows after the line. What a
crash tears off the end is computed again, to the same bytes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from neuroconn.errors import OutputError, StorageError
from neuroconn.geometry import ZYX
from neuroconn.inference.identity import differences, run_identity
from neuroconn.inference.journal.file import JournalFile
from neuroconn.inference.journal.line import Record
from neuroconn.inference.journal.lock import RunLock
from neuroconn.inference.output.folder import Folder, Lock, open_folder
from neuroconn.volume.address import Address

__all__ = ["Journal", "Record"]

logger = logging.getLogger(__name__)

_FAILED = -1  # in place of a digest
_BLOCK = 1 << 20


class Journal:
    """The journal of one run folder; make one with :meth:`create`, :meth:`open` or :meth:`read`.

    Attributes
    ----------
    identity : dict
        The run this folder belongs to.
    conflicts : list of (z, y, x)
        Chunks found twice with different bytes while reading: the engine is not deterministic.
    """

    def __init__(self, folder: Folder, identity: dict[str, Any], lock: Lock | None) -> None:
        self.folder = folder.path
        self.identity = identity
        self.conflicts: list[ZYX] = []
        self._folder = folder
        self._lock = lock
        self._lines = folder.journal(write=lock is not None, lock=lock)

    @classmethod
    def create(cls, folder: Address, identity: Mapping[str, Any]) -> Journal:
        """Start the journal of a new run; the folder is made if need be.

        Parameters
        ----------
        folder : path or ObjectPath
            A folder of this machine, or an address on an object store.
        identity : mapping
            What the run is.

        Raises
        ------
        OutputError
            If the folder has a journal already, or another process is starting one.
        StorageError
            If the folder cannot be written.
        """
        place = open_folder(folder)
        try:
            place.prepare()
            lock = place.lock()
        except OutputError:
            raise
        except OSError as error:
            raise StorageError(f"cannot start a run in {folder}: {error}") from error
        return cls._under(lock, place, identity)

    @classmethod
    def open(
        cls, folder: Address, identity: Mapping[str, Any], *, force_unlock: bool = False
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
        place = open_folder(folder)
        differing = differences(read_identity(place), run_identity(**identity))
        if differing:
            raise OutputError(
                f"{folder} belongs to a run with other settings ({'; '.join(differing)}); chunks "
                "of two runs do not fit together. Choose another output, or that run's settings."
            )
        return cls._under(place.lock(force=force_unlock), place)

    @classmethod
    def read(cls, folder: Address) -> Journal:
        """Look at a run without touching it, also while it is under way.

        Raises
        ------
        OutputError
            If the folder holds no run.
        """
        place = open_folder(folder)
        return cls(place, read_identity(place), None)

    @staticmethod
    def exists(folder: Address) -> bool:
        """Whether ``folder`` holds a run."""
        return open_folder(folder).read(IDENTITY) is not None

    @property
    def path(self) -> Path | str:
        """Where the records are: a file, or a prefix of an object store."""
        return self._lines.path

    @property
    def dropped(self) -> int:
        """Bytes of records that were torn or damaged when they were read last."""
        return self._lines.dropped

    def append(self, records: Iterable[Record]) -> None:
        """Write records in one go and wait until they are durable.

        Raises
        ------
        StorageError
            If the storage refuses; nothing of these records stays in the journal.
        OutputError
            If another client has taken over the run, by force.
        """
        data = b"".join(record.to_line() for record in records)
        if data or self._lock is None:
            self._check_place()
            self._lines.append(data)

    def records(self) -> Iterator[Record]:
        """Sound records in the order of writing, the first of each chunk.

        A chunk that failed and was done later comes twice. Repeats are left out; those whose
        bytes differ are added to :attr:`conflicts`.
        """
        self.conflicts.clear()
        seen: dict[int, int] = {}  # one int per chunk: tuples would take twice the memory
        for record in self._all_records():
            z, y, x = record.index
            key = (z << 42) | (y << 21) | x
            digest = _FAILED if record.status == "failed" else record.digest
            first = seen.get(key)
            if first is None or (first == _FAILED and digest != _FAILED):
                seen[key] = digest
                yield record
            elif digest not in (first, _FAILED):
                self.conflicts.append(record.index)

    def blocks(self) -> Iterator[bytes]:
        """Sound lines in the order of writing, repeats included, a megabyte or more at a time."""
        held: list[bytes] = []
        size = 0
        for block in self._lines.blocks():
            held.append(block)
            size += len(block)
            if size >= _BLOCK:
                yield b"".join(held)
                held, size = [], 0
        if held:
            yield b"".join(held)

    def rewrite(self, without: set[ZYX]) -> None:
        """Replace the journal by one that does not speak of some chunks, whole or not at all."""
        kept = (record for record in self.records() if record.index not in without)
        self._lines.replace(record.to_line() for record in kept)

    def note_failure(self, index: ZYX, attempt: int, reason: str, traceback: str = "") -> None:
        """Add to the log of failures why a chunk failed; for people, never read by a run."""
        note = {"zyx": index, "attempt": attempt, "reason": reason, "traceback": traceback}
        try:
            self._folder.add("failures", json.dumps(note))
        except OSError as error:  # that it failed is in the journal
            logger.warning("cannot note why chunk %s failed: %s", index, error)

    def close(self) -> None:
        """Release journal and lock; a second call does nothing."""
        self._lines.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def _under(cls, lock: Lock, folder: Folder, new: Mapping[str, Any] | None = None) -> Journal:
        """Open for writing under ``lock``, which is given back if that fails."""
        try:
            identity = read_identity(folder) if new is None else write_identity(folder, new)
            return cls(folder, identity, lock)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError) and not isinstance(error, OutputError | StorageError):
                raise StorageError(f"cannot write in {folder.path}: {error}") from error
            raise

    def _check_place(self) -> None:
        """Refuse to write where nobody would look, or where somebody else writes."""
        if not (isinstance(self._lock, RunLock) and isinstance(self._lines, JournalFile)):
            return  # an object store does so by itself
        self._lines.check_place()
        if not self._lock.held():
            raise OutputError(
                f"another client has taken over the run in {self.folder}. What is done is kept; "
                "leave the run to that one"
            )

    def _all_records(self) -> Iterator[Record]:
        for block in self._lines.blocks():
            for line in block.splitlines(keepends=True):
                yield Record.from_line(line)


IDENTITY = "identity.json"


def read_identity(folder: Folder) -> dict[str, Any]:
    """Return what the run of a folder is.

    Raises
    ------
    OutputError
        If it holds no run, or does not say which.
    """
    where = f"{folder.path}/{IDENTITY}"
    try:
        text = folder.read(IDENTITY)
        if text is None:
            raise OutputError(f"{folder.path} holds no run: there is no {IDENTITY}")
        found = json.loads(text)
    except (OutputError, StorageError):
        raise
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot tell which run {folder.path} holds: {where}: {error}") from None
    if not isinstance(found, dict):
        raise OutputError(f"cannot tell which run {folder.path} holds: {where} is not a mapping")
    return found


def identity_text(canonical: Mapping[str, Any]) -> bytes:
    """Return the document that says what a run is."""
    return json.dumps(canonical, indent=1).encode()


def write_identity(folder: Folder, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Write what a run is under its final name in one step.

    Raises
    ------
    OutputError
        If the folder belongs to a run already.
    """
    canonical = run_identity(**identity)
    if folder.read(IDENTITY) is not None or not folder.create(IDENTITY, identity_text(canonical)):
        raise OutputError(
            f"{folder.path} holds a run already; open it to resume, or choose another"
        )
    return canonical
