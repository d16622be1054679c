"""Writing a row of shards and everything of the pyramid that it completes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.volume.convert_plan import ConvertPlan, Row
from neuroconn.volume.pyramid import reduce_block, reduced_box
from neuroconn.volume.regions import read_region, write_region


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """One finished row: which of its shards are stored, and which are empty and elided."""

    level: int
    row: Row
    stored: str
    """One digit a shard along x: 1 stored, 0 elided."""


@dataclass(slots=True)
class _OpenRow:
    """A row of a coarse level that still waits for some of its children."""

    row: Row
    box: Box
    voxels: NDArray[Any]
    waiting: int


class Cascade:
    """Takes complete rows of level 0 in plan order and writes every level.

    One thread owns one shard: it reduces the shard into the open row above, then writes it in one
    call. At most one row is open on each level.
    """

    def __init__(
        self, arrays: Sequence[zarr.Array[Any]], plan: ConvertPlan, pool: Executor
    ) -> None:
        self._arrays = arrays
        self._plan = plan
        self._pool = pool
        self._open: dict[int, _OpenRow] = {}

    @property
    def open_voxels(self) -> int:
        """Voxels held for unfinished coarse rows."""
        return sum(row.voxels.size for row in self._open.values())

    def absorb(self, level: int, row: Row, voxels: NDArray[Any]) -> list[WrittenRow]:
        """Write a complete row, and those of coarser levels that it completes."""
        above = self._above(level, row)
        box = self._plan.box(level, row)

        def one(shard: Box) -> bool:
            part = np.ascontiguousarray(voxels[shard.within(box)])
            self._reduce(level, shard, part, above)
            write_region(self._arrays[level], shard, part)
            return bool(part.any())

        shards = self._plan.shards(level, row)
        stored = "".join(str(int(kept)) for kept in self._pool.map(one, shards))
        return [WrittenRow(level, row, stored), *self._close(level, above)]

    def restore(self, row: Row) -> None:
        """Rebuild the open rows as they were before ``row`` of level 0, from what is stored."""
        for level in range(len(self._plan.levels) - 1):
            parent = self._plan.parent(level, row)
            for child in self._plan.children(level + 1, parent):
                if child == row:
                    break
                self._reread(level, child)
            row = parent

    def _reread(self, level: int, row: Row) -> None:
        above = self._above(level, row)

        def one(shard: Box) -> None:
            self._reduce(level, shard, read_region(self._arrays[level], shard), above)

        list(self._pool.map(one, self._plan.shards(level, row)))

    def _above(self, level: int, row: Row) -> _OpenRow | None:
        """Return the open row that ``row`` is reduced into, and count it as arrived."""
        if level + 1 == len(self._plan.levels):
            return None
        parent = self._plan.parent(level, row)
        above = self._open.get(level + 1)
        if above is None:
            box = self._plan.box(level + 1, parent)
            voxels = np.empty(box.shape, dtype=self._arrays[0].dtype)
            above = _OpenRow(parent, box, voxels, len(self._plan.children(level + 1, parent)))
            self._open[level + 1] = above
        if above.row != parent:
            raise RuntimeError(f"row {row} of level {level} came before {above.row} was complete")
        above.waiting -= 1
        return above

    def _reduce(self, level: int, shard: Box, part: NDArray[Any], above: _OpenRow | None) -> None:
        if above is not None:
            step = self._plan.levels[level + 1].step
            target = reduced_box(shard, step)
            reduced = reduce_block(part, step, self._plan.downsample)
            above.voxels[target.within(above.box)] = reduced

    def _close(self, level: int, above: _OpenRow | None) -> list[WrittenRow]:
        if above is None or above.waiting:
            return []
        del self._open[level + 1]
        return self.absorb(level + 1, above.row, above.voxels)
