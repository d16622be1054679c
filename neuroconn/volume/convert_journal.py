"""The record of finished bands, from which an interrupted conversion continues.

One line a record: a CRC-32 in hexadecimal, a space, JSON. The first line says what is converted
and how. A torn or damaged line ends the record: it and whatever follows is done again.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from neuroconn.errors import OutputError, StorageError

FOLDER = ".neuroconn"
NAME = "convert.journal"


class ConvertJournal:
    """An append-only file of checksummed records, held by one process at a time."""

    def __init__(self, brain: Path, header: dict[str, Any]) -> None:
        self._path = journal_path(brain)
        self._path.parent.mkdir(exist_ok=True)
        self._file = self._path.open("a+b")
        try:
            self._lock(brain)
            good = sum(len(line) for line, _ in _lines(self._path))
            self._file.truncate(good)
            if not good:
                self.append(header)
        except BaseException:
            self._file.close()
            raise

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield what is recorded after the header; one record is in memory at a time."""
        return read_journal(self._path.parent.parent)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; it is on disk when this returns.

        Raises
        ------
        StorageError
            If the storage is full or refuses.
        """
        try:
            self._file.write(_line(record))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror}; free some space and run the same "
                "command again"
            ) from error

    def _lock(self, brain: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another process is converting into {brain}; wait for it to end"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def journal_path(brain: Path) -> Path:
    """Where the conversion of a brain is recorded."""
    return brain / FOLDER / NAME


def read_header(brain: Path) -> dict[str, Any] | None:
    """Return what a conversion was begun with; None if nothing is recorded."""
    path = journal_path(brain)
    return next((record for _, record in _lines(path)), None) if path.is_file() else None


def read_journal(brain: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a conversion, without its header; nothing if there is no journal."""
    path = journal_path(brain)
    lines = _lines(path) if path.is_file() else iter(())
    return (record for number, (_, record) in enumerate(lines) if number)


def parse_journal(data: bytes) -> list[dict[str, Any]]:
    """Return the records in the bytes of a journal, its header first; none if it is damaged."""
    return [record for _, record in _good(data.splitlines(keepends=True))]


def make_durable(paths: Iterable[Path]) -> None:
    """Wait until files or folders are on disk, so that a record is never ahead of them."""
    for path in set(paths):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Good lines with their records, up to the first that is not."""
    with path.open("rb") as file:
        yield from _good(file)


def _good(lines: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in lines:
        text = line[9:-1]
        if not line.endswith(b"\n") or line[:9] != b"%08x " % zlib.crc32(text):
            return
        yield line, json.loads(text)
