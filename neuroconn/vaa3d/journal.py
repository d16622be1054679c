"""Which tiles are done: one checksummed line each, so that a killed export goes on where it was."""

from __future__ import annotations

import errno
import fcntl
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX


class Block(IntEnum):
    """Where the coarse voxels are that a tile gives to the level above."""

    MISSING = 0
    """Nowhere: the tile is not done."""
    STORED = 1
    """In a file of the scratch folder, until nobody needs it any more."""
    ZERO = 2
    """All of them are zero."""
    OLD = 3
    """As in the earlier export that this one updates."""


@dataclass(frozen=True, slots=True)
class Made:
    """A finished tile."""

    level: int
    index: ZYX
    size: int
    """Bytes of its file; 0 if it is all zeros and has none."""
    block: Block
    stamp: int = 0
    """Digest of what its voxels depend on and may change between exports; level 0 only."""

    @property
    def reused(self) -> bool:
        """Whether it is a tile of the export that is updated."""
        return self.block is Block.OLD


class TileJournal:
    """Append-only record of finished tiles.

    A torn last line, left by a crash, is cut off. A tile whose line is lost is written again; so
    lines need not be on disk before the run goes on, only after the tile they speak of.

    Parameters
    ----------
    path : Path
        Created if absent; locked while open.

    Raises
    ------
    OutputError
        If another process is writing the same volume.
    """

    def __init__(self, path: Path) -> None:
        self._handle = path.open("a+b")
        self._claim(path)
        self._handle.truncate(sum(len(line) for line, _ in self._lines()))

    def __enter__(self) -> TileJournal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.close()

    def records(self) -> Iterator[Made]:
        """Yield what is recorded, in the order of writing; the last of a tile counts."""
        return (made for _, made in self._lines())

    def record(self, made: Made) -> None:
        """Note that a tile is on disk, or needs no file; a killed process does not lose the line.

        A machine that goes down may, and the tile is written again.
        """
        fields = [made.level, *made.index, made.size, int(made.block), made.stamp]
        payload = json.dumps(fields, separators=(",", ":")).encode()
        self._handle.write(b"%08x %s\n" % (zlib.crc32(payload), payload))
        self._handle.flush()

    def _claim(self, path: Path) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks; exporting there is still allowed.
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return
            self._handle.close()
            raise OutputError(
                f"another export is writing {path.parent.parent}: wait for it or stop it first"
            ) from None

    def _lines(self) -> Iterator[tuple[bytes, Made]]:
        self._handle.seek(0)
        for line in self._handle:
            digest, _, payload = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or digest != b"%08x" % zlib.crc32(payload):
                return
            level, z, y, x, size, block, stamp = json.loads(payload)
            yield line, Made(level, (z, y, x), size, Block(block), stamp)
