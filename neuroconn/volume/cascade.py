"""Writing a band of shards and everything of the pyramid that it completes."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box
from neuroconn.volume.convert_plan import ConvertPlan
from neuroconn.volume.pyramid import reduce_block, reduced_box
from neuroconn.volume.regions import read_region, stored_object, write_region


@dataclass(frozen=True, slots=True)
class WrittenBand:
    """One finished band: what its shards hold."""

    level: int
    band: ZYX
    sums: tuple[int | None, ...]
    """Of each shard, in the order of the plan: the size of its file, whose chunks carry checksums;
    without shards, the CRC-32 of its voxels. None if it is empty, which takes no space."""

    def as_json(self) -> list[Any]:
        """Return the band for a journal."""
        return [self.level, list(self.band), list(self.sums)]

    @classmethod
    def from_json(cls, record: Sequence[Any]) -> WrittenBand:
        """Inverse of :meth:`as_json`."""
        level, (z, y, x), sums = record
        return cls(level, (z, y, x), tuple(sums))


@dataclass(slots=True)
class _OpenBand:
    """A band of a coarse level that still waits for some of its children."""

    band: ZYX
    box: Box
    voxels: NDArray[Any]
    waiting: set[ZYX]


class _Scratch(threading.local):
    """A buffer for each thread: fresh memory for every shard would cost as much as reducing it."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def copy(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Return voxels in order in memory, until the thread asks again."""
        if self._bytes.size < voxels.nbytes:
            self._bytes = np.empty(voxels.nbytes, np.uint8)
        part = self._bytes[: voxels.nbytes].view(voxels.dtype).reshape(voxels.shape)
        part[...] = voxels
        return part


class Cascade:
    """Takes bands of level 0 in plan order and writes every level up to ``top``.

    One thread owns one shard: it reduces the shard into the open band above, then writes it in one
    call. At most one band is open on each level; children that an earlier run has written are read
    back when their parent opens.

    Parameters
    ----------
    arrays : sequence of arrays
        One a level.
    plan : ConvertPlan
        What goes where.
    pool : Executor
        The threads that write.
    written : set of (level, band), optional
        What is stored already; grows with what this writes.
    top : int, optional
        Coarsest level to write; the last, if not given.
    observe : callable, optional
        Called in the writing thread with the box and the voxels of each shard of level 0.
    """

    def __init__(
        self,
        arrays: Sequence[zarr.Array[Any]],
        plan: ConvertPlan,
        pool: Executor,
        *,
        written: set[tuple[int, ZYX]] | None = None,
        top: int | None = None,
        observe: Callable[[Box, NDArray[Any]], None] | None = None,
    ) -> None:
        self._arrays, self._plan, self._pool, self._observe = arrays, plan, pool, observe
        self._top = len(plan.levels) - 1 if top is None else top
        self._written = set() if written is None else written
        self._scratch = _Scratch()
        self._open: dict[int, _OpenBand] = {}

    @property
    def open_voxels(self) -> int:
        """Voxels held for unfinished coarse bands."""
        return sum(band.voxels.size for band in self._open.values())

    def absorb(self, level: int, band: ZYX, voxels: NDArray[Any]) -> list[WrittenBand]:
        """Write a complete band, and those of coarser levels that it completes."""
        above = self._above(level, band)
        box = self._plan.bands(level).core(band)

        def one(shard: Box) -> int | None:
            part = self._scratch.copy(voxels[shard.within(box)])
            if level == 0 and self._observe is not None:
                self._observe(shard, part)
            self._reduce(level, shard, part, above)
            write_region(self._arrays[level], shard, part)
            return self._sum(level, shard, part)

        sums = tuple(self._pool.map(one, self._plan.shards(level, band)))
        self._written.add((level, band))
        return [WrittenBand(level, band, sums), *self._close(level, band, above)]

    def finish(self) -> list[WrittenBand]:
        """Write the bands of the top level that are missing over stored ones."""
        finished = []
        for band in self._plan.bands(self._top):
            children = self._plan.children(self._top, band)
            below = {(self._top - 1, child) for child in children}
            if (self._top, band) not in self._written and below <= self._written:
                voxels = self._opened(self._top, band).voxels
                del self._open[self._top]
                finished += self.absorb(self._top, band, voxels)
        return finished

    def _sum(self, level: int, shard: Box, part: NDArray[Any]) -> int | None:
        array = self._arrays[level]
        if array.shards is None:
            return zlib.crc32(part.data) if part.any() else None
        path = stored_object(array, self._plan.grid(level).index_of(shard.start))
        return path.stat().st_size if path is not None and path.is_file() else None

    def _above(self, level: int, band: ZYX) -> _OpenBand | None:
        """Return the open band that ``band`` is reduced into."""
        if level == self._top:
            return None
        parent = self._plan.parent(level, band)
        above = self._open.get(level + 1) or self._opened(level + 1, parent)
        if above.band != parent:
            raise RuntimeError(f"band {band} of level {level} came before {above.band} was whole")
        return above

    def _opened(self, level: int, band: ZYX) -> _OpenBand:
        """Open a band; what earlier runs wrote of the level below is reduced into it."""
        box = self._plan.bands(level).core(band)
        children = self._plan.children(level, band)
        stored = [child for child in children if (level - 1, child) in self._written]
        opened = _OpenBand(
            band, box, np.empty(box.shape, self._arrays[0].dtype), set(children) - set(stored)
        )
        self._open[level] = opened
        shards = [shard for child in stored for shard in self._plan.shards(level - 1, child)]

        def again(shard: Box) -> None:
            part = read_region(self._arrays[level - 1], shard)
            self._reduce(level - 1, shard, part, opened)

        list(self._pool.map(again, shards))
        return opened

    def _reduce(self, level: int, shard: Box, part: NDArray[Any], above: _OpenBand | None) -> None:
        if above is not None:
            step = self._plan.levels[level + 1].step
            target = reduced_box(shard, step).within(above.box)
            reduce_block(part, step, self._plan.downsample, out=above.voxels[target])

    def _close(self, level: int, band: ZYX, above: _OpenBand | None) -> list[WrittenBand]:
        if above is None:
            return []
        above.waiting.discard(band)
        if above.waiting:
            return []
        del self._open[level + 1]
        return self.absorb(level + 1, above.band, above.voxels)
