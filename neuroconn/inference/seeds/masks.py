"""Mask volumes, read block by block onto the chunks of a grid.

A mask may be as large as the brain, as one of its levels, or smaller by any whole factor per axis:
programs that draw regions work on coarse copies. Which factor is found from the shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.axes import VolumeArray, triple
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import Image, open_image

_BLOCK = 1 << 24
"""Voxels of a mask that are held at once, unless one stored unit is larger."""


@dataclass(frozen=True)
class Mask:
    """A volume whose values other than 0 are inside, and how it lies over the brain."""

    description: str
    shape: ZYX
    unit: ZYX
    """Smallest box that can be read."""
    factor: ZYX
    """Voxels of the brain's level 0 per voxel of the mask."""
    over: ZYX
    """Shape of the brain's level 0: the last voxel of an axis may stand for fewer or for more."""
    read: Callable[[Box], NDArray[Any]]


def open_mask(path: str | Path, brain: Image) -> Mask:
    """Open a mask and find how it lies over a brain.

    Parameters
    ----------
    path : path
        Any volume that ``convert`` reads, and Zarr arrays of truth values. ``PATH:2`` names a level
        of an OME-Zarr, ``PATH:name`` an array of a container.
    brain : Image
        What it is a mask of.

    Raises
    ------
    VolumeError
        If there is no such volume, or it cannot be read.
    UsageError
        If its shape is no whole fraction of the brain's; the message lists shapes that would do.
    """
    place, part = _split(str(path))
    if "://" not in place and not Path(place).exists():
        raise VolumeError(f"no mask at {place}; check the path")
    image = _image(place)
    if image is not None:
        return _of_image(image, part, brain)
    array = _truth_values(place, part)
    if array is not None:
        return _of_array(array, str(path), brain)
    from neuroconn.volume.sources import open_source

    source = open_source(place, dataset=part)
    return _mask(str(path), source.shape, source.unit, brain, source.read)


def mask_chunks(mask: Mask, grid: ChunkGrid, factor: ZYX = (1, 1, 1)) -> NDArray[np.bool_]:
    """Chunks whose core lies under a voxel of the mask that is not 0.

    Parameters
    ----------
    mask : Mask
        Read once, a block at a time.
    grid : ChunkGrid
        Chunks of the level that is inferred.
    factor : (z, y, x) ints, optional
        Voxels of level 0 per voxel of that level.

    Returns
    -------
    ndarray of bool, shape ``grid.counts``
    """
    inside = np.zeros(grid.counts, dtype=bool)
    sides = [f * c for f, c in zip(factor, grid.chunk, strict=True)]
    for block in Box.of_shape(mask.shape).split(_block_shape(mask)):
        voxels = mask.read(block)
        lit = (voxels != 0) & (voxels == voxels)  # NaN is no voxel of a region
        if not lit.any():
            continue
        where = []
        for axis in range(3):
            cut = _Cut.of(mask, block, axis, sides[axis], grid.counts[axis])
            lit = cut.any(lit, axis)
            where.append(slice(cut.first, cut.first + lit.shape[axis]))
        inside[where[0], where[1], where[2]] |= lit
    return inside


def mask_factor(shape: ZYX, brain: Image, where: str) -> ZYX:
    """Voxels of level 0 that a voxel of the mask stands for.

    A level of the brain's own pyramid is recognised by its shape. Otherwise each axis is taken
    alone: the whole factor that rounds the brain's side up or down to the mask's.

    Raises
    ------
    UsageError
        If there is none; the message lists shapes that would do.
    """
    for level in brain.levels:
        if shape == level.shape:
            return level.factor
    found = [_axis_factor(n, m) for n, m in zip(brain.shape, shape, strict=True)]
    if None in found:
        wrong = ", ".join(
            f"{axis} {m} for {n}"
            for axis, n, m, f in zip("zyx", brain.shape, shape, found, strict=True)
            if f is None
        )
        near = dict.fromkeys((*(k.shape for k in brain.levels), *_halvings(brain.shape)))
        raise UsageError(
            f"mask {where} of shape {shape} is no whole fraction of the brain's {brain.shape} "
            f"({wrong}). Shapes that would do: {', '.join(map(str, list(near)[:6]))}"
        )
    z, y, x = (int(f or 1) for f in found)
    return z, y, x


@dataclass(frozen=True, slots=True)
class _Cut:
    """Along one axis, the chunks that a block of the mask lies over."""

    first: int
    """First chunk."""
    spans: tuple[tuple[int, int], ...]
    """Voxels of the block over each chunk; neighbours may share one."""

    @classmethod
    def of(cls, mask: Mask, block: Box, axis: int, side: int, count: int) -> _Cut:
        """Cut a block of the mask by ``count`` chunks of ``side`` brain voxels."""
        a, b = block.start[axis], block.stop[axis]
        factor, length = mask.factor[axis], mask.over[axis]
        # The last voxel of a mask stands for what rounding left over, or for less than a factor.
        end = length if b == mask.shape[axis] else min(b * factor, length)
        first, last = (min(v // side, count - 1) for v in (a * factor, end - 1))
        spans = []
        for i in range(first, last + 1):
            low = max(a, min(i * side // factor, b - 1))
            high = b if i == last else min(b, -(-(i + 1) * side // factor))
            spans.append((low - a, max(high, low + 1) - a))
        return cls(first, tuple(spans))

    def any(self, lit: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
        """Whether a voxel is lit over each chunk."""
        return np.stack([lit.take(range(a, b), axis).any(axis) for a, b in self.spans], axis)


def _axis_factor(n: int, m: int) -> int | None:
    """Whole factor that takes a side of ``n`` voxels to ``m``; of several, the roundest."""
    if not 1 <= m <= n:
        return None
    likely = range(max(1, n // (m + 1)), n // max(1, m - 1) + 1)
    fits = [f for f in likely if m in (n // f, -(-n // f))]
    # Rounding leaves several: an exact one, then a power of two, then the nearest ratio.
    return min(fits, key=lambda f: (f * m != n, f & (f - 1) != 0, abs(f - n / m)), default=None)


def _halvings(shape: ZYX) -> list[ZYX]:
    halves: list[ZYX] = []
    for k in range(1, 4):
        z, y, x = (-(-n // 2**k) for n in shape)
        halves.append((z, y, x))
    return halves


def _block_shape(mask: Mask) -> ZYX:
    """Whole units, as many as fit: long rows first, as files store them."""
    sides = [min(u, n) for u, n in zip(mask.unit, mask.shape, strict=True)]
    for axis in (2, 1, 0):
        others = prod(sides) // sides[axis]
        many = max(1, _BLOCK // max(1, others * mask.unit[axis]))
        sides[axis] = min(mask.shape[axis], many * mask.unit[axis])
    z, y, x = sides
    return z, y, x


def _mask(
    where: str, shape: ZYX, unit: ZYX, brain: Image, read: Callable[[Box], NDArray[Any]]
) -> Mask:
    factor = z, y, x = mask_factor(shape, brain, where)
    scale = "" if factor == (1, 1, 1) else f" at 1:{z}" if z == y == x else f" at 1:{factor}"
    return Mask(f"{where}{scale}", shape, unit, factor, brain.shape, read)


def _of_image(image: Image, part: str | None, brain: Image) -> Mask:
    """Open a level of an OME-Zarr mask; its own metadata are not asked where it lies."""
    names = [str(k) for k in range(len(image.levels))]
    if part is not None and part not in (*names, *image.paths):
        raise UsageError(f"{image.path} has levels 0 to {len(names) - 1}, not {part!r}")
    level = 0 if part is None else names.index(part) if part in names else image.paths.index(part)
    where = str(image.path) if part is None else f"{image.path}:{part}"
    if image.kind == "distance":
        raise UsageError(
            f"{where} is a distance map, which is 0 on neurites and not outside of a region: make "
            "a mask of it first"
        )
    return _of_array(image.array(level), where, brain)


def _of_array(array: VolumeArray, where: str, brain: Image) -> Mask:
    shape, unit = triple(array.shape), triple(array.chunks)
    return _mask(where, shape, unit, brain, lambda box: read_region(array, box))


def _split(text: str) -> tuple[str, str | None]:
    """Path, and the level or array named after a colon; a file of that very name goes first."""
    place, colon, part = text.rpartition(":")
    if not colon or not place or part.startswith("//") or Path(text).exists():
        return text, None
    return place, part or None


def _image(place: str) -> Image | None:
    if "://" in place or not Path(place).is_dir():
        return None
    try:
        return open_image(place)
    except VolumeError:  # another kind of folder; its own reader says what is wrong with it
        return None


def _truth_values(place: str, part: str | None) -> VolumeArray | None:
    """Open a plain Zarr array of bools, which is no brain and no source of one."""
    if "://" in place or not Path(place).is_dir():
        return None
    try:
        array = zarr.open_array(place, path=part or "", mode="r")
    except Exception:  # whatever it is, no plain array
        return None
    return array if array.dtype.kind == "b" and array.ndim == 3 else None
