"""Seeds nobody had to point at: chunks that hold something brighter than what is around it.

It looks at a coarse level, a block at a time, and compares chunks with each other; it is meant to
find places to start from, not neurites. What it misses, the walk reaches or the audit finds.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.axes import VolumeArray
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import Image

_FINE, _BROAD = 1.0, 3.0
"""Standard deviations of the two Gaussians, in coarse voxels."""
_HALO = 12
"""Where the broad Gaussian is cut (four standard deviations): blocks leave no seams."""
_BLOCK = 128
_CHEAP = 1 << 28
"""Voxels that may be looked at: the finest level that is not larger is taken."""
_OUTLIER = 5.0
"""Robust z-score from which a chunk stands out."""


def bright_chunks(image: Image, grid: ChunkGrid, level: int = 0, *, limit: int = 256) -> list[ZYX]:
    """Chunks that stand out by their local contrast.

    Parameters
    ----------
    image : Image
        The brain.
    grid : ChunkGrid
        Chunks of the level that is inferred.
    level : int, optional
        That level.
    limit : int, optional
        How many chunks to return at most.

    Returns
    -------
    list of (z, y, x)
        Most contrast first; at least one, and the same ones on every machine.
    """
    cheap = (n for n, k in enumerate(image.levels) if prod(k.shape) <= _CHEAP)
    coarse = next(cheap, len(image.levels) - 1)
    fine, factor = image.levels[level].factor, image.levels[coarse].factor
    return outliers(chunk_contrast(image.array(coarse), grid, fine, factor), limit=limit)


def chunk_contrast(
    array: VolumeArray, grid: ChunkGrid, fine: ZYX = (1, 1, 1), coarse: ZYX = (1, 1, 1)
) -> NDArray[np.float32]:
    """Largest local contrast in each chunk, read block by block from a coarse level.

    Contrast is a difference of Gaussians over the square root of the local mean, since the noise
    of light grows like that.

    Parameters
    ----------
    array : zarr array, shape (z, y, x)
        The coarse level.
    grid : ChunkGrid
        Chunks of the inferred level.
    fine, coarse : (z, y, x) ints, optional
        Voxels of level 0 per voxel of the inferred and of the coarse level.

    Returns
    -------
    ndarray of float32, shape ``grid.counts``
    """
    scores = np.zeros(grid.counts, dtype=np.float32)
    z, y, x = (
        max(1, _BLOCK * c // (f * n)) for c, f, n in zip(coarse, fine, grid.chunk, strict=True)
    )
    for group in Box.of_shape(grid.counts).split((z, y, x)):
        scores[group.slices] = _group_contrast(array, grid, group, (fine, coarse))
    return scores


def outliers(scores: NDArray[np.float32], *, limit: int) -> list[ZYX]:
    """Pick the scores far above the others by median and MAD: the best first, at least one.

    Examples
    --------
    >>> outliers(np.array([[[1, 2, 90, 1, 2, 70]]], np.float32), limit=8)
    [(0, 0, 2), (0, 0, 5)]
    """
    flat = scores.reshape(-1).astype(np.float64)
    median = np.median(flat)
    spread = 1.4826 * np.median(np.abs(flat - median))
    order = np.argsort(-flat, kind="stable")
    many = int(np.count_nonzero(flat > median + _OUTLIER * spread))
    best = order[: max(1, min(many, limit))]
    z, y, x = np.unravel_index(best, scores.shape)
    return list(zip(z.tolist(), y.tolist(), x.tolist(), strict=True))


def _group_contrast(
    array: VolumeArray, grid: ChunkGrid, group: Box, factors: tuple[ZYX, ZYX]
) -> NDArray[np.float32]:
    """Scores of a block of chunks, from one read."""
    cuts = [_cuts(grid, group, axis, factors, int(array.shape[axis])) for axis in range(3)]
    (az, bz), (ay, by), (ax, bx) = ((c[0][0], c[-1][1]) for c in cuts)
    core = Box((az, ay, ax), (bz, by, bx))
    tile = core.grow(_HALO)
    contrast = _contrast(read_region(array, tile, pad="symmetric"))[core.within(tile)]
    for axis, spans in enumerate(cuts):
        contrast = _maxima(contrast, axis, spans)
    return contrast


def _maxima(
    contrast: NDArray[np.float32], axis: int, spans: list[tuple[int, int]]
) -> NDArray[np.float32]:
    """Reduce an axis to the largest value in each span; spans may share voxels."""
    first = spans[0][0]
    parts = [np.take(contrast, range(a - first, b - first), axis).max(axis) for a, b in spans]
    return np.stack(parts, axis)


def _contrast(grey: NDArray[np.generic]) -> NDArray[np.float32]:
    voxels = grey.astype(np.float32)
    fine = ndimage.gaussian_filter(voxels, _FINE, mode="nearest")
    broad = ndimage.gaussian_filter(voxels, _BROAD, mode="nearest")
    return np.asarray((fine - broad) / np.sqrt(np.maximum(broad, 1)), dtype=np.float32)


def _cuts(
    grid: ChunkGrid, group: Box, axis: int, factors: tuple[ZYX, ZYX], size: int
) -> list[tuple[int, int]]:
    """Coarse voxels of each chunk of a group along one axis; at least one, shared if need be."""
    fine, coarse = (factor[axis] for factor in factors)
    edges = (grid.chunk[axis] * i * fine for i in range(group.start[axis], group.stop[axis] + 1))
    spans = ((a // coarse, -(-b // coarse)) for a, b in pairwise(edges))
    return [(min(a, size - 1), min(max(b, a + 1), size)) for a, b in spans]
