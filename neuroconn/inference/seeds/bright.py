"""Places nobody had to point at: chunks that hold something like a neurite or a soma.

One pass over a coarse level, a block of chunks at a time. Each chunk is as good as its best voxel
in each of three channels (see ``ridges``), measured by the mean over all voxels of the brain's
quieter chunks: neurites fill so few voxels that the mean is noise and texture even where they fill
every chunk. It is meant to find places to start from. What it misses, the walk reaches or the audit
finds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.inference.seeds.ridges import CHANNELS, halo, responses
from neuroconn.volume.axes import VolumeArray
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import Image

logger = logging.getLogger(__name__)

F = TypeVar("F", np.float32, np.float64)

CHEAP = 1 << 28
"""Voxels that may be looked at, a minute of one core: the finest level with no more is taken."""

_BLOCK = 128
"""Side of a block in coarse voxels, at least a chunk: about 250 MB for each thread."""
_THREADS = 4
_QUIET = 25.0
"""Percentile of the chunks whose mean response stands for noise and texture."""
_STANDS_OUT = (48.0, 140.0, 800.0)
"""How many times that mean each channel must reach. Noise alone reaches 20 to 38, 25 to 50 and 70
to 200, by the size of the chunks; the rest is kept off by cells, which are blobs and wide ridges.
"""
_STEPS = 1 << 12
"""Steps of a response that its mean is taken of."""
_CELL = 4
"""Side, in chunks, of the cells that take turns when there are more candidates than seeds."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One level of a brain, laid over the chunks of another."""

    array: VolumeArray
    spacing: tuple[float, float, float]
    """Size of its voxels in any unit."""
    factor: ZYX
    """Voxels of level 0 per voxel of this level."""
    grid: ChunkGrid
    """Chunks of the level that is inferred."""
    inferred: ZYX
    """Voxels of level 0 per voxel of that level."""

    @classmethod
    def of(cls, image: Image, grid: ChunkGrid, level: int = 0, *, budget: int = CHEAP) -> Scan:
        """Take the finest level of a brain that a budget of voxels allows."""
        sizes = [prod(k.shape) for k in image.levels]
        coarse = next((n for n, size in enumerate(sizes) if size <= budget), len(sizes) - 1)
        return cls(
            image.array(coarse),
            image.frames[coarse].spacing_um,
            image.levels[coarse].factor,
            grid,
            image.levels[level].factor,
        )

    def groups(self) -> Iterator[Box]:
        """Cut the grid into groups of chunks that are read together."""
        sides = zip(self.factor, self.inferred, self.grid.chunk, strict=True)
        z, y, x = (max(1, _BLOCK * c // (f * n)) for c, f, n in sides)
        return Box.of_shape(self.grid.counts).split((z, y, x))

    def cuts(self, group: Box, axis: int) -> list[tuple[int, int]]:
        """Coarse voxels of each chunk of a group; at least one, shared if need be."""
        fine, coarse = self.inferred[axis], self.factor[axis]
        size, side = int(self.array.shape[axis]), self.grid.chunk[axis] * fine
        edges = [side * i for i in range(group.start[axis], group.stop[axis] + 1)]
        spans = ((a // coarse, -(-b // coarse)) for a, b in pairwise(edges))
        return [(min(a, size - 1), min(max(b, a + 1), size)) for a, b in spans]

    def core(self, group: Box) -> Box:
        """Coarse voxels of a group of chunks."""
        (az, bz), (ay, by), (ax, bx) = (
            (spans[0][0], spans[-1][1]) for spans in (self.cuts(group, axis) for axis in range(3))
        )
        return Box((az, ay, ax), (bz, by, bx))

    def responses(self, core: Box) -> Iterator[NDArray[np.float32]]:
        """Read coarse voxels with what is around them, and yield each channel."""
        tile = core.grow(halo(self.spacing))
        return responses(read_region(self.array, tile, pad="symmetric"), self.spacing)


def chunk_scores(
    image: Image, grid: ChunkGrid, level: int = 0, *, budget: int = CHEAP
) -> NDArray[np.float32]:
    """How neurite-like the best place of each chunk is, from one pass over a coarse level.

    Parameters
    ----------
    image : Image
        The brain.
    grid : ChunkGrid
        Chunks of the level that is inferred.
    level : int, optional
        That level.
    budget : int, optional
        Voxels to look at: the finest level with no more is read once, or the coarsest there is. A
        core takes about 0.2 microseconds for each.

    Returns
    -------
    ndarray of float32, shape ``grid.counts``
        From 1 on a chunk stands out; noise alone makes 0.4 to 0.8, a dark chunk 0. The same on
        every machine for brains of at most 16 bits.
    """
    maxima, means = chunk_responses(Scan.of(image, grid, level, budget=budget))
    scores = np.zeros(grid.counts, dtype=np.float32)
    for largest, mean, much in zip(maxima, means, _STANDS_OUT, strict=True):
        quiet = float(np.percentile(mean[mean > 0], _QUIET)) if mean.any() else 0.0
        if quiet:
            np.maximum(scores, largest / np.float32(much * quiet), out=scores)
    return scores


def bright_chunks(
    image: Image,
    grid: ChunkGrid,
    level: int = 0,
    *,
    limit: int = 256,
    inside: NDArray[np.bool_] | None = None,
) -> list[ZYX]:
    """Chunks that stand out, spread over the brain.

    Parameters
    ----------
    image, grid, level
        As for :func:`chunk_scores`.
    limit : int, optional
        How many at most.
    inside : (z, y, x) bool array over the grid, optional
        Chunks to choose from; not all False.

    Returns
    -------
    list of (z, y, x)
        At least one, and the same ones on every machine.
    """
    return outliers(chunk_scores(image, grid, level), limit=limit, inside=inside)


def bright_voxels(
    image: Image, grid: ChunkGrid, chunks: list[ZYX], level: int = 0
) -> NDArray[np.int64]:
    """Where in each chunk it looks most like a neurite.

    Parameters
    ----------
    image, grid, level
        As for :func:`chunk_scores`.
    chunks : list of (z, y, x)
        Chunks of the grid.

    Returns
    -------
    ndarray of int64, shape (n, 3)
        Voxels of level 0, in the middle of a coarse voxel.
    """
    scan = Scan.of(image, grid, level)
    voxels = np.empty((len(chunks), 3), dtype=np.int64)
    for row, index in zip(voxels, chunks, strict=True):
        z, y, x = index
        core = scan.core(Box(index, (z + 1, y + 1, x + 1)))
        ridge, _, blob = scan.responses(core)
        best = ridge if ridge.any() else blob
        place = np.unravel_index(int(best.argmax()), best.shape)
        for axis, (a, p, f) in enumerate(zip(core.start, place, scan.factor, strict=True)):
            row[axis] = (a + int(p)) * f + f // 2
    low = np.multiply(chunks, np.multiply(grid.chunk, scan.inferred)).reshape(-1, 3)
    high = np.minimum(low + np.multiply(grid.chunk, scan.inferred), image.shape) - 1
    # A coarse voxel may lie over two chunks; the seed belongs to the one that was chosen.
    return np.clip(voxels, low, high)


def chunk_responses(scan: Scan) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Largest and mean response of each channel in each chunk, read block by block.

    Blocks that cannot be read are logged and count as dark.

    Returns
    -------
    (maxima, means)
        Of shape (channels, *grid.counts), float32 and float64.
    """
    maxima = np.zeros((len(CHANNELS), *scan.grid.counts), dtype=np.float32)
    means = np.zeros(maxima.shape)

    def fill(group: Box) -> None:
        try:
            look(group)
        except VolumeError as error:  # a hole in a coarse level must not end a run
            logger.warning("chunks %s to %s are not looked at: %s", group.start, group.stop, error)

    def look(group: Box) -> None:
        cuts = [scan.cuts(group, axis) for axis in range(3)]
        for channel, response in enumerate(scan.responses(scan.core(group))):
            # Whole numbers, so that a sum is the same in whatever order it is taken.
            whole = np.rint(response * np.float32(_STEPS))
            largest, total = response, whole.astype(np.float64)
            for axis, spans in enumerate(cuts):
                largest = _reduced(largest, axis, spans, np.max)
                total = _reduced(total, axis, spans, np.sum)
            maxima[(channel, *group.slices)] = largest
            means[(channel, *group.slices)] = total / (_STEPS * _sizes(cuts))

    with ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for _ in pool.map(fill, scan.groups()):
            pass
    return maxima, means


def outliers(
    scores: NDArray[np.float32], *, limit: int, inside: NDArray[np.bool_] | None = None
) -> list[ZYX]:
    """Pick chunks far above the others, spread over the brain.

    The best chunk of each cell of 4 x 4 x 4 chunks comes first, then the second best of each: one
    bright neuron must not take all the seeds of a brain.

    Parameters
    ----------
    scores : (z, y, x) float32 array
        From :func:`chunk_scores`.
    limit : int
        How many at most.
    inside : (z, y, x) bool array, optional
        Chunks to choose from.

    Returns
    -------
    list of (z, y, x)
        At least one.

    Examples
    --------
    >>> outliers(np.array([[[0.4, 0.6, 9, 0.7, 1.2, 0]]], np.float32), limit=8)
    [(0, 0, 2), (0, 0, 4)]
    """
    allowed = np.ones(scores.shape, bool) if inside is None else inside
    candidates = np.argwhere(allowed & (scores >= 1))
    if not len(candidates):
        candidates = np.argwhere(allowed & (scores == scores[allowed].max()))[:1]
    strength = scores[tuple(candidates.T)]
    candidates = candidates[np.argsort(-strength, kind="stable")]
    z, y, x = candidates.T // _CELL
    cells = (z * scores.shape[1] + y) * scores.shape[2] + x
    chosen = candidates[np.argsort(_turns(cells), kind="stable")][: max(1, limit)]
    return [(i, j, k) for i, j, k in chosen.tolist()]


def _turns(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many before each entry have the same value."""
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[first, len(cells)])
    turns = np.empty(len(cells), dtype=np.int64)
    turns[order] = np.arange(len(cells)) - np.repeat(first, counts)
    return turns


def _reduced(
    response: NDArray[F], axis: int, spans: list[tuple[int, int]], how: Callable[..., NDArray[F]]
) -> NDArray[F]:
    """Reduce an axis to one value for each span; spans may share voxels."""
    first = spans[0][0]
    parts = [how(response.take(range(a - first, b - first), axis), axis=axis) for a, b in spans]
    return np.stack(parts, axis)


def _sizes(cuts: list[list[tuple[int, int]]]) -> NDArray[np.int64]:
    """Coarse voxels of each chunk of a group."""
    z, y, x = (np.array([b - a for a, b in spans], dtype=np.int64) for spans in cuts)
    return z[:, None, None] * y[:, None] * x
