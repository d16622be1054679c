"""The journal on an object store: numbered objects of checksummed lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from neuroconn.errors import OutputError, StorageError
from neuroconn.inference.journal.file import is_sound
from neuroconn.inference.journal.segments import Held, Segments


class JournalSegments:
    """The journal as numbered objects.

    Parameters
    ----------
    objects : Objects, or what behaves like them
        The run folder.
    write : bool
        Allow appending.
    fence : bool, optional
        Claim a number at once, so that a client that was shut out by force and is alive cannot
        append any more.
    """

    def __init__(self, objects: Held, *, write: bool, fence: bool = False) -> None:
        self._segments = Segments(objects, "journal")
        self._write = write
        self.dropped = 0
        if fence:
            self._store(b"")
        if write:
            self._segments.tidy()

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return self._segments.where

    def append(self, data: bytes) -> None:
        """Store lines durably.

        Raises
        ------
        OutputError
            If another client works on the run.
        StorageError
            If the server refuses.
        """
        if not self._write:
            raise ValueError("this journal was opened for reading")
        try:
            self._store(data)
        except StorageError as error:
            raise StorageError(f"{error}. Run the same command again to resume.") from None

    def blocks(self) -> Iterator[bytes]:
        """Sound lines in the order of writing; what is damaged is passed over and counted."""
        self.dropped = 0
        for block in self._segments.blocks():
            lines = block.splitlines(keepends=True)
            sound = [line for line in lines if is_sound(line)]
            self.dropped += len(block) - sum(map(len, sound))
            if sound:
                yield b"".join(sound)

    def replace(self, blocks: Iterable[bytes]) -> None:
        """Put other lines in place of all, whole or not at all."""
        if not self._segments.replace(blocks):
            raise OutputError(self._shut_out())

    def close(self) -> None:
        """Nothing is open."""

    def _store(self, data: bytes) -> None:
        if not self._segments.append(data):
            raise OutputError(self._shut_out())

    def _shut_out(self) -> str:
        return (
            f"another client writes to {self.path}: it has taken over this run. What is done is "
            "kept; leave the run to that one"
        )
