"""Which tiles are done: one checksummed line each, so that a killed export goes on where it was."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import zlib
from pathlib import Path
from threading import Lock
from types import TracebackType

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX

TileKey = tuple[int, ZYX]
"""Level and (z, y, x) position of a tile."""


class TileJournal:
    """Append-only record of finished tiles and their sizes in bytes (0: all zeros, no file).

    A torn last line, left by a crash, is cut off. A tile whose line is lost is written again.

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
        self._lock = Lock()
        self._claim(path)
        self.done: dict[TileKey, int] = {}
        self._handle.truncate(self._load())

    def __enter__(self) -> TileJournal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.close()

    def record(self, level: int, index: ZYX, size: int) -> None:
        """Note that a tile is on disk, or needs no file; the line is on disk on return."""
        payload = json.dumps([level, *index, size]).encode()
        with self._lock:
            self._handle.write(b"%08x %s\n" % (zlib.crc32(payload), payload))
            self._handle.flush()
            os.fsync(self._handle.fileno())
            self.done[level, index] = size

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

    def _load(self) -> int:
        self._handle.seek(0)
        good = 0
        for line in self._handle:
            digest, _, payload = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or digest != b"%08x" % zlib.crc32(payload):
                break
            level, z, y, x, size = json.loads(payload)
            self.done[level, (z, y, x)] = size
            good += len(line)
        return good
