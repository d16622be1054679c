"""Where the walk may go: a box, a mask volume, or what both share, as chunks of the grid.

A region decides for whole chunks: a chunk is in if its core shares a voxel with the box and with
the mask. Two ways of saying the same chunks have the same digest, so they are the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.inference.seeds.masks import mask_chunks, open_mask
from neuroconn.inference.seeds.words import to_voxel
from neuroconn.volume.store import Image

_FUZZ = 6
"""Decimals of a voxel that count: 120 µm over 0.3 µm is voxel 400, not a hair above it."""


@dataclass(frozen=True)
class Region:
    """Chunks the walk may visit."""

    inside: NDArray[np.bool_]
    """True where it may go, shape ``grid.counts``."""
    digest: str
    """Of the chunks and the grid; part of what the run is."""
    description: str
    """One line for people."""
    warnings: tuple[str, ...] = ()
    """What looks wrong but may be meant, one line each."""

    @property
    def outside(self) -> NDArray[np.bool_]:
        """True where the walk must not go: the ``mask`` of a frontier."""
        return ~self.inside

    @property
    def chunks(self) -> int:
        """How many chunks are inside."""
        return int(np.count_nonzero(self.inside))


def parse_region(
    image: Image,
    grid: ChunkGrid,
    *,
    level: int = 0,
    box: Sequence[str | float] = (),
    mask: str | Path | None = None,
) -> Region | None:
    """Turn what the user gave into chunks; the mask is read block by block.

    Parameters
    ----------
    image : Image
        The brain.
    grid : ChunkGrid
        Chunks of the level that is inferred.
    level : int, optional
        That level.
    box : six words, optional
        Z0 Y0 X0 Z1 Y1 X1 in voxels of level 0, or µm where a word ends in ``um`` or ``µm``. The
        first corner belongs to the box, the second does not.
    mask : path, optional
        A volume with values other than 0 inside, as large as a level of the brain or smaller by
        whole factors. ``PATH:2`` names a level of an OME-Zarr, ``PATH:name`` an array of a
        container.

    Returns
    -------
    Region or None
        None if neither is given: the whole brain.

    Raises
    ------
    UsageError
        If the box is inverted or lies outside the brain, the mask has a shape that is no fraction
        of the brain's, or no chunk is left.
    VolumeError
        If the mask cannot be read.
    """
    if not len(box) and mask is None:
        return None
    inside = np.ones(grid.counts, dtype=bool)
    notes: list[str] = []
    warnings: list[str] = []
    if len(box):
        wanted = parse_box(box, image)
        clipped = wanted.clip(Box.of_shape(image.shape))
        if clipped != wanted:
            warnings.append(
                f"--box reaches beyond the brain of {image.shape} voxels; {_corners(clipped)} of "
                "it are taken"
            )
        inside &= box_chunks(clipped, grid, image.levels[level].factor)
        notes.append(f"box {_corners(clipped)}")
    if mask is not None:
        opened = open_mask(mask, image)
        inside &= mask_chunks(opened, grid, image.levels[level].factor)
        notes.append(f"mask {opened.description}")
    if not inside.any():
        raise UsageError(
            f"the region ({' and '.join(notes)}) leaves no chunk to visit: the mask is 0 there. "
            "Check that mask and box mean the same brain"
        )
    found = int(np.count_nonzero(inside))
    description = f"{' and '.join(notes)}: {found} of {len(grid)} chunks"
    return Region(inside, region_digest(inside, grid), description, tuple(warnings))


def parse_box(words: Sequence[str | float], image: Image) -> Box:
    """Read six words as a box of level-0 voxels, which may reach beyond the brain.

    Raises
    ------
    UsageError
        If there are not six, one is no number or in µm of a brain that counts voxels, the box is
        inverted, or it lies outside the brain.
    """
    if len(words) != 6:
        raise UsageError(f"a box has six numbers Z0 Y0 X0 Z1 Y1 X1, got {len(words)}")
    corners = [
        to_voxel(str(word), image.frame, k % 3, image.spacing_known, image.path)
        for k, word in enumerate(words)
    ]
    first, last = (_ceil(corners[k : k + 3]) for k in (0, 3))
    for axis, low, high in zip("zyx", first, last, strict=True):
        if low >= high:
            raise UsageError(
                f"--box is empty along {axis}: it starts at voxel {low} and stops before {high}. "
                "Its order is Z0 Y0 X0 Z1 Y1 X1, the smaller corner first"
            )
    box = Box(first, last)
    if not box.clip(Box.of_shape(image.shape)).size:
        raise UsageError(
            f"--box {_corners(box)} lies outside the brain of shape {image.shape} (z, y, x, voxels "
            "of level 0). Check the order of the axes, and whether it is µm (then write 120um)"
        )
    return box


def box_chunks(box: Box, grid: ChunkGrid, factor: ZYX = (1, 1, 1)) -> NDArray[np.bool_]:
    """Chunks whose core shares a voxel with a box of level-0 voxels.

    Parameters
    ----------
    box : Box
        Inside the brain, not empty.
    grid : ChunkGrid
        Of the level that is inferred.
    factor : (z, y, x) ints, optional
        Voxels of level 0 per voxel of that level.

    Examples
    --------
    >>> box_chunks(Box((0, 0, 64), (1, 1, 65)), ChunkGrid((64, 64, 192), (64, 64, 64))).tolist()
    [[[False, True, False]]]
    """
    inside = np.zeros(grid.counts, dtype=bool)
    spans = zip(box.start, box.stop, factor, grid.chunk, grid.counts, strict=True)
    # A coarse level that was rounded down does not cover the last voxels: its last chunk does.
    z, y, x = (slice(min(a // (f * c), n - 1), -(-b // (f * c))) for a, b, f, c, n in spans)
    inside[z, y, x] = True
    return inside


def region_digest(inside: NDArray[np.bool_], grid: ChunkGrid) -> str:
    """SHA-256 of a set of chunks and the grid they belong to, shortened to 16 digits."""
    head = repr((grid.shape, grid.chunk)).encode()
    return hashlib.sha256(head + np.packbits(inside).tobytes()).hexdigest()[:16]


def seeds_inside(region: Region, chunks: Iterable[ZYX]) -> tuple[tuple[ZYX, ...], list[str]]:
    """Leave out seeds whose chunk lies outside a region.

    Returns
    -------
    (chunks, warnings)
        Those inside, in their order, and a line for the user if some are not.

    Raises
    ------
    UsageError
        If all of them lie outside: the walk would end before it began.
    """
    given = list(chunks)
    kept = tuple(c for c in given if region.inside[c])
    lost = len(given) - len(kept)
    if not lost:
        return kept, []
    first = next(c for c in given if not region.inside[c])
    if not kept:
        raise UsageError(
            f"every seed lies outside the region ({region.description}), the first in chunk "
            f"{first}: nothing would be visited. Move the region or the seeds"
        )
    return kept, [
        f"{lost} of {len(given)} seed chunks lie outside the region and are left out, such as "
        f"{first}"
    ]


def _ceil(corner: Sequence[float]) -> ZYX:
    """First voxel whose centre is not before a position, along each axis."""
    z, y, x = (int(np.ceil(round(v, _FUZZ))) for v in corner)
    return z, y, x


def _corners(box: Box) -> str:
    return f"{box.start} to {box.stop}"
