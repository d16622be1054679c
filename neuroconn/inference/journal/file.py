"""The journal as a file: appended to, never rewritten but whole."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from neuroconn.errors import StorageError

_BLOCK = 1 << 23


class JournalFile:
    """Checksummed lines in a file, up to the first that is not sound.

    Parameters
    ----------
    path : Path
        The file; need not exist.
    write : bool
        Cut off what a crash tore, and allow appending. What is cut off and more than the torn end
        of one line is put aside in a file next to it.

    Attributes
    ----------
    dropped : int
        Bytes behind the last sound line when the file was opened.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self._fd: int | None = None
        self._end, size = _sound(path)
        self.dropped = size - self._end
        if write:
            self._open()

    def append(self, data: bytes) -> None:
        """Write lines and wait until they are on the disk.

        Raises
        ------
        StorageError
            If the disk refuses; nothing of these lines stays in the file.
        """
        if self._fd is None:
            raise ValueError("this journal was opened for reading")
        try:
            _write_all(self._fd, data)
            _flush(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise StorageError(
                f"cannot append to {self.path}: {error}. Make room and run the same command again."
            ) from error
        self._end += len(data)

    def check_place(self) -> None:
        """Look whether the file that is written to is the one that its name leads to.

        Raises
        ------
        StorageError
            If lines would go into a file that nobody can find any more.
        """
        with suppress(OSError):
            if self._fd is not None and os.path.samestat(os.fstat(self._fd), self.path.stat()):
                return
        raise StorageError(
            f"{self.path} was removed or replaced while the run was at work, so nothing more is "
            "stored. Put the output back and run the same command again to resume."
        )

    def blocks(self) -> Iterator[bytes]:
        """Sound lines in the order of writing, some megabytes at a time."""
        if not self._end:
            return
        with self.path.open("rb") as file:
            while (rest := self._end - file.tell()) > 0:
                block = file.read(min(rest, _BLOCK))
                if not block:  # cut short by someone meanwhile
                    return
                yield block if block.endswith(b"\n") else block + file.readline()

    def replace(self, blocks: Iterable[bytes]) -> None:
        """Put other lines in place of all, whole or not at all."""
        part = self.path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"cannot write {self.path}: {error}") from error
        self.close()
        part.replace(self.path)
        self._end, _ = _sound(self.path)
        self._open()

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        if self.dropped:
            _keep_damaged(self.path, self._end)
            os.ftruncate(self._fd, self._end)
        os.fsync(self._fd)
        flush_folder(self.path.parent)


def flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def is_sound(line: bytes) -> bool:
    """Whether a line, with its newline, is the one that was written."""
    return line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(line[9:-1])


def _sound(path: Path) -> tuple[int, int]:
    """End of the last line before the first bad one, and the size of the file."""
    end = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not is_sound(line):
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


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _flush(fd: int) -> None:
    getattr(os, "fdatasync", os.fsync)(fd)  # macOS has no fdatasync
