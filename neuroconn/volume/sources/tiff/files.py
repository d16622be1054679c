"""Files as they were when they were opened, and tables that stay in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroconn.errors import VolumeError

KEPT = 16
"""Entries up to which a table is kept in memory; longer ones are read again when needed."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was when its directories were read."""

    path: Path
    size: int
    modified: int
    """Nanoseconds, to notice that it was rewritten while it is being read."""

    def open(self) -> int:
        """Return a descriptor for reading.

        Raises
        ------
        VolumeError
            If the file is gone or no longer the same.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise VolumeError(f"{self.path} cannot be opened any more: {error.strerror}") from error
        now = os.fstat(descriptor)
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            os.close(descriptor)
            raise VolumeError(
                f"{self.path} has changed since it was opened: it had {self.size} bytes, now "
                f"{now.st_size}; convert it again once nothing writes to it"
            )
        return descriptor


@dataclass(frozen=True, slots=True)
class Table:
    """Offsets or sizes of the segments of a page."""

    at: int
    count: int
    item: str
    """Their type in the file, as NumPy names it."""
    checksum: int
    kept: tuple[int, ...] | None
    """The numbers, where there are few."""

    def part(self, descriptor: int, first: int, last: int) -> tuple[int, ...]:
        """Return the entries from ``first`` up to ``last``; fewer if the file has shrunk."""
        if self.kept is not None:
            return self.kept[first:last]
        size = np.dtype(self.item).itemsize
        data = os.pread(descriptor, (last - first) * size, self.at + first * size)
        return tuple(np.frombuffer(data, self.item, len(data) // size).tolist())
