"""What a finished export is made of, tile by tile, kept beside the tree so that it can be updated.

Each tile of level 0 has a stamp, a digest of what its voxels depend on and may differ between two
exports of the same settings. Where stamps agree the tiles do, down to the byte, and so does every
coarse tile over nothing but such tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX

NAME = "neuroconn.tiles"
_TITLE = "neuroconn tiles, version 1: level z y x, bytes of the file (0: none), stamp"


@dataclass(frozen=True, slots=True)
class TileRecord:
    """Sizes of all tiles and stamps of those of level 0."""

    sizes: tuple[NDArray[np.int64], ...]
    """Bytes of each tile's file by level and (z, y, x); 0 without one."""
    stamps: NDArray[np.uint64]

    @classmethod
    def empty(cls, shapes: Sequence[ZYX]) -> TileRecord:
        """Return a record of tiles without files; a shape, in tiles, for each level."""
        sizes = tuple(np.zeros(shape, dtype=np.int64) for shape in shapes)
        return cls(sizes, np.zeros(shapes[0], dtype=np.uint64))

    def tile(self, level: int, index: ZYX) -> tuple[int, int]:
        """Return size and stamp of a tile."""
        stamp = int(self.stamps[index]) if level == 0 else 0
        return int(self.sizes[level][index]), stamp

    def lines(self) -> Iterator[bytes]:
        """Yield the record as text."""
        yield f"{_TITLE}\n".encode()
        for level, index in self._all():
            size, stamp = self.tile(level, index)
            yield f"{level} {index[0]} {index[1]} {index[2]} {size} {stamp:016x}\n".encode()

    @classmethod
    def read(cls, output: Path, shapes: Sequence[ZYX]) -> TileRecord:
        """Read the record of a finished export.

        Raises
        ------
        OutputError
            If there is none, or it does not speak of such tiles.
        """
        record, path = cls.empty(shapes), output / NAME
        try:
            with path.open(encoding="ascii") as file:
                if file.readline().strip() != _TITLE:
                    raise ValueError("another kind of file")
                for (level, index), line in zip(record._all(), file, strict=True):
                    *place, size, stamp = line.split()
                    if place != [str(n) for n in (level, *index)]:
                        raise ValueError(f"not a line of tile {(level, *index)}: {line.strip()!r}")
                    record.sizes[level][index] = int(size)
                    if level == 0:
                        record.stamps[index] = int(stamp, 16)
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be read ({error}), so nobody knows what its tiles are made of: "
                f"export anew"
            ) from None
        return record

    def _all(self) -> Iterator[tuple[int, ZYX]]:
        for level, sizes in enumerate(self.sizes):
            for z, y, x in product(*map(range, sizes.shape)):
                yield level, (z, y, x)
