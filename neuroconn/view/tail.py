"""What is new in a log or a journal of a run folder, since the last look."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from neuroconn.inference.output.folder import LocalFolder, open_folder
from neuroconn.volume.address import Address

_BLOCK = 1 << 23


class Tail(Protocol):
    """Something that grows by whole lines."""

    def block(self) -> bytes:
        """Return new whole lines, some megabytes at most; empty if there are none."""
        ...

    @property
    def cut(self) -> bool:
        """Whether what was read is no longer all there, as after a repair."""
        ...


class FileTail:
    r"""New whole lines of a file, each read once.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "log"
    >>> _ = path.write_bytes(b"a\nb\nhalf a li")
    >>> tail = FileTail(path)
    >>> tail.block(), tail.block()
    (b'a\nb\n', b'')
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._inode = 0

    def block(self) -> bytes:
        """Return new whole lines."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                block = file.read(_BLOCK)
        except FileNotFoundError:
            return b""
        whole = block[: block.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole

    @property
    def cut(self) -> bool:
        """Whether the file was replaced, or has become shorter."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return self._read > 0
        before, self._inode = self._inode or now.st_ino, now.st_ino
        return now.st_size < self._read or now.st_ino != before


def journal_tail(folder: Address) -> Tail:
    """Follow the journal of a run folder."""
    place = open_folder(folder)
    if isinstance(place, LocalFolder) and not place.moved("journal"):
        return FileTail(place.journal_path)
    return place.tail("journal")


def log_tail(folder: Address, name: str) -> Tail:
    """Follow a log of a run folder, such as ``events``."""
    place = open_folder(folder)
    if isinstance(place, LocalFolder) and not place.moved(name):
        return FileTail(place.log_path(name))
    return place.tail(name)
