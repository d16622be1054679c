"""The order and the cost of a conversion, decided before the first voxel is read.

A *band* is what is read at once: whole shards, as wide as memory allows, so that compressed strips
are decoded once. Bands are visited depth first along the pyramid: all children of a coarse band
before the next coarse band starts (Morton order where a level halves every axis). So each level
has at most one unfinished band, and memory does not grow with the volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from neuroconn.errors import ConfigError
from neuroconn.geometry import ZYX, Box, ChunkGrid, Level

DEFAULT_SHARD = 256
PROCESS_BYTES = 420 << 20
"""Interpreter, libraries, and what the allocator holds back."""
SPARE_WRITERS = 2
"""Writers beyond the processors: one that waits for the disk leaves its processor to another."""


@dataclass(frozen=True)
class ConvertPlan:
    """What is stored where, and in which order."""

    levels: list[Level]
    chunk: ZYX
    shard: ZYX
    """Stored object; without shards, what one thread writes at once."""
    band: ZYX
    """Read unit of level 0: shards times powers of two."""
    itemsize: int
    downsample: str

    def grid(self, level: int) -> ChunkGrid:
        """Shards of a level."""
        return ChunkGrid(self.levels[level].shape, self.shard)

    def bands(self, level: int) -> ChunkGrid:
        """Bands of a level: they shrink with it, down to one shard."""
        z, y, x = (
            max(s, b // f)
            for s, b, f in zip(self.shard, self.band, self.levels[level].factor, strict=True)
        )
        return ChunkGrid(self.levels[level].shape, (z, y, x))

    def order(self) -> Iterator[ZYX]:
        """Bands of level 0 in the order they are written."""
        top = len(self.levels) - 1
        for band in self.bands(top):
            yield from self.below(top, band)

    def below(self, level: int, band: ZYX) -> Iterator[ZYX]:
        """Bands of level 0 that a band of any level is made of, in order."""
        if level == 0:
            yield band
            return
        for child in self.children(level, band):
            yield from self.below(level - 1, child)

    def shards(self, level: int, band: ZYX) -> list[Box]:
        """Voxels of the shards of a band."""
        grid = self.grid(level)
        return [grid.core(index) for index in grid.overlapping(self.bands(level).core(band))]

    def parent(self, level: int, band: ZYX) -> ZYX:
        """Band of ``level + 1`` that ``band`` is reduced into."""
        here, above = self.bands(level).chunk, self.bands(level + 1).chunk
        step = self.levels[level + 1].step
        z, y, x = (i * b // s // a for i, b, s, a in zip(band, here, step, above, strict=True))
        return z, y, x

    def children(self, level: int, band: ZYX) -> list[ZYX]:
        """Bands of ``level - 1`` that make ``band``."""
        here, below = self.bands(level), self.bands(level - 1)
        step = self.levels[level].step
        ranges = (
            range(i * b * s // c, min(-(-(i + 1) * b * s // c), n))
            for i, b, s, c, n in zip(band, here.chunk, step, below.chunk, below.counts, strict=True)
        )
        return list(product(*ranges))  # type: ignore[arg-type]

    def peak_bytes(self, threads: int) -> int:
        """Memory a conversion needs at most: two bands of level 0, one of each coarser level.

        Each writer holds its shard three times as voxels, as compressed chunks and as a file;
        readers may hold a quarter of a band before it is in its place.
        """
        bands = [self.bands(level).core((0, 0, 0)).size for level in range(len(self.levels))]
        shard = self.grid(0).core((0, 0, 0)).size
        voxels = 9 * bands[0] // 4 + sum(bands[1:]) + (threads + SPARE_WRITERS) * 5 * shard
        return PROCESS_BYTES + voxels * self.itemsize


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
