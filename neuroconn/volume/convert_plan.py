"""The order and the cost of a conversion, decided before the first voxel is read.

A *row* is one shard high in z and y and as wide as the volume. Rows are visited depth first along
the pyramid: all children of a coarse row before the next coarse row starts (Morton order over
(z, y) where every level halves both). So each level has at most one unfinished row, and memory
does not grow with the volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeAlias

from neuroconn.errors import ConfigError, UsageError
from neuroconn.geometry import ZYX, Box, ChunkGrid, Level

Row: TypeAlias = tuple[int, int]
"""Shard index along (z, y)."""

DEFAULT_SHARD = 256
PROCESS_BYTES = 250 << 20
"""Interpreter and libraries."""


@dataclass(frozen=True)
class ConvertPlan:
    """What is stored where, and in which order."""

    levels: list[Level]
    chunk: ZYX
    shard: ZYX
    itemsize: int
    downsample: str

    def grid(self, level: int) -> ChunkGrid:
        """Shards of a level."""
        return ChunkGrid(self.levels[level].shape, self.shard)

    @property
    def rows(self) -> int:
        """Rows of level 0."""
        z, y, _ = self.grid(0).counts
        return z * y

    def order(self) -> Iterator[Row]:
        """Rows of level 0 in the order they are written."""
        top = len(self.levels) - 1
        z, y, _ = self.grid(top).counts
        for row in product(range(z), range(y)):
            yield from self._descend(top, row)

    def box(self, level: int, row: Row) -> Box:
        """Voxels of a row."""
        grid = self.grid(level)
        first, last = grid.core((*row, 0)), grid.core((*row, grid.counts[2] - 1))
        return Box(first.start, last.stop)

    def shards(self, level: int, row: Row) -> list[Box]:
        """Voxels of the shards of a row, along x."""
        grid = self.grid(level)
        return [grid.core((*row, x)) for x in range(grid.counts[2])]

    def parent(self, level: int, row: Row) -> Row:
        """Row of ``level + 1`` that ``row`` is reduced into."""
        step = self.levels[level + 1].step
        return row[0] // step[0], row[1] // step[1]

    def children(self, level: int, row: Row) -> list[Row]:
        """Rows of ``level - 1`` that make ``row``."""
        step, counts = self.levels[level].step, self.grid(level - 1).counts
        z, y = (
            range(i * n, min((i + 1) * n, size))
            for i, n, size in zip(row, step[:2], counts[:2], strict=True)
        )
        return list(product(z, y))

    def peak_bytes(self, threads: int) -> int:
        """Memory a conversion needs at most: two rows of level 0, one of each coarser level.

        Each thread holds its shard as voxels, as compressed chunks and as a file, and the reduced
        copies; the mean adds 32-bit sums.
        """
        rows = [self.box(level, (0, 0)).size for level in range(len(self.levels))]
        shard = min(rows[0], self.shard[0] * self.shard[1] * self.shard[2])
        copies = 4 if self.downsample != "mean" else 4 + 16 // self.itemsize
        voxels = 2 * rows[0] + sum(rows[1:]) + threads * copies * shard
        return PROCESS_BYTES + voxels * self.itemsize

    def _descend(self, level: int, row: Row) -> Iterator[Row]:
        if level == 0:
            yield row
            return
        for child in self.children(level, row):
            yield from self._descend(level - 1, child)


def choose_shapes(shape: ZYX, chunk: int | ZYX, shard: int | ZYX | None) -> tuple[ZYX, ZYX]:
    """Return chunk and shard; a shard is no larger than the volume needs.

    Raises
    ------
    ConfigError
        If shards do not hold whole chunks, or a side is odd: pairs of voxels would be split
        between shards.

    Examples
    --------
    >>> choose_shapes((100, 300, 1000), 64, 256)
    ((64, 64, 64), (128, 256, 256))
    """
    cz, cy, cx = (chunk,) * 3 if isinstance(chunk, int) else chunk
    if min(cz, cy, cx) < 2 or any(n % 2 for n in (cz, cy, cx)):
        raise ConfigError(f"chunk {chunk} must be even, or pyramid levels would split voxel pairs")
    if shard is None:
        sides: ZYX = tuple(c * max(1, DEFAULT_SHARD // c) for c in (cz, cy, cx))  # type: ignore[assignment]
    else:
        sides = (shard,) * 3 if isinstance(shard, int) else shard
    if any(s < 1 or s % c for s, c in zip(sides, (cz, cy, cx), strict=True)):
        raise ConfigError(f"shard {shard} must be a multiple of the chunk {chunk}")
    sz, sy, sx = (
        min(s, -(-n // c) * c) for s, n, c in zip(sides, shape, (cz, cy, cx), strict=True)
    )
    return (cz, cy, cx), (sz, sy, sx)


def check_memory(plan: ConvertPlan, threads: int, limit_gib: float | None) -> int:
    """Return the predicted peak in bytes, if it fits.

    Raises
    ------
    UsageError
        If it exceeds the limit, or the memory that is free now when no limit is given.
    """
    peak = plan.peak_bytes(threads)
    limit = available_memory() if limit_gib is None else int(limit_gib * (1 << 30))
    if limit is not None and peak > limit:
        origin = "are free" if limit_gib is None else "are allowed"
        raise UsageError(
            f"the conversion needs {peak / (1 << 30):.2f} GiB of memory and "
            f"{limit / (1 << 30):.2f} {origin}; choose flatter shards (now "
            f"{' '.join(map(str, plan.shard))}) or fewer threads (now {threads})"
        )
    return peak


def available_memory() -> int | None:
    """Bytes of memory free for a new process; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(values["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in values else None
