"""The one damage that makes HDF5 loop for ever, seen before the library sees it.

Texts of variable length lie in heaps. The library steps through a heap by the sizes it finds
there, and never ends at a free piece of size 0, which is what a lost sector looks like.
"""

from __future__ import annotations

import io
import os
import struct
from typing import Any

_HEAP = b"GCOL\x01"
"""Signature and version; the library does not look at the three bytes that follow."""
_HEADER = 16
MAX_HEAP_BYTES = 64 * 2**20


class GuardedFile(io.FileIO):
    """A file for HDF5's metadata, which fails to be read where a heap of texts is broken.

    It is for one thread; voxels are read without it.
    """

    checks = True
    """Whether lengths take 8 bytes, as they do in all files but the oddest."""

    def readinto(self, buffer: Any, /) -> int:
        """Read as a file does.

        Raises
        ------
        ValueError
            If a heap in what was read has a piece of an impossible size.
        """
        start = self.tell()
        size = super().readinto(buffer) or 0
        content = bytes(buffer[:size])
        at = content.find(_HEAP) if self.checks else -1
        while at >= 0:
            self._check_heap(start + at)
            at = content.find(_HEAP, at + 1)
        return size

    def _check_heap(self, at: int) -> None:
        _, total = struct.unpack("<8sQ", os.pread(self.fileno(), 16, at).ljust(16, b"\0"))
        if not _HEADER <= total <= MAX_HEAP_BYTES:
            raise ValueError(f"a heap of texts at byte {at} claims {total} bytes")
        heap = os.pread(self.fileno(), total, at)
        step = _HEADER
        while step + _HEADER <= total:
            piece = heap[step : step + _HEADER]
            if len(piece) < _HEADER:
                raise ValueError(f"the heap of texts at byte {at} is cut")
            index, size = struct.unpack("<H6xQ", piece)
            taken = size if index == 0 else _HEADER + -(-size // 8) * 8
            if not 0 < taken <= total - step:
                raise ValueError(f"the heap of texts at byte {at} has a piece of {size} bytes")
            step += taken
