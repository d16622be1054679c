"""How a TeraFly volume is cut: levels, tiles, and the names tiles carry.

A volume becomes a pyramid of levels. Each level is cut along every axis by itself, so all rows have
the same columns and all columns the same z blocks, which is what ``mdata.bin`` can express.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Literal

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, Box

Partition = Literal["fixed", "balanced"]

VIEW = 256
"""TeraFly's default view; the coarsest level fits in one."""
SMALLEST_TILE = 4
MOST_LEVELS = 10


def balanced(n: int, tile: int) -> tuple[int, ...]:
    """Cut ``n`` voxels into the fewest tiles of at most ``tile``, sizes differing by one at most.

    Examples
    --------
    >>> balanced(130, 64)
    (44, 43, 43)
    """
    _check(n, tile)
    count = math.ceil(n / tile)
    size, longer = divmod(n, count)
    return (size + 1,) * longer + (size,) * (count - longer)


def fixed(n: int, tile: int) -> tuple[int, ...]:
    """Cut ``n`` voxels into tiles of exactly ``tile`` and a remainder.

    A remainder of one voxel borrows one from its neighbour: readers were never seen to cope with
    tiles one voxel wide, and a longer neighbour would pass the page limit.

    Examples
    --------
    >>> fixed(130, 64)
    (64, 64, 2)
    >>> fixed(129, 64)
    (64, 63, 2)
    """
    _check(n, tile)
    whole, rest = divmod(n, tile)
    if rest == 1 and whole:
        return (tile,) * (whole - 1) + (tile - 1, 2)
    return (tile,) * whole + ((rest,) if rest else ())


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tile sizes of one level along each axis, in voxels."""

    z: tuple[int, ...]
    y: tuple[int, ...]
    x: tuple[int, ...]

    @classmethod
    def of(cls, shape: ZYX, tile: int, partition: Partition = "fixed") -> Tiling:
        """Cut a level of ``shape`` into tiles of about ``tile`` voxels a side."""
        cut = fixed if partition == "fixed" else balanced
        return cls(*(cut(n, tile) for n in shape))

    @property
    def counts(self) -> ZYX:
        """Tiles along (z, y, x)."""
        return len(self.z), len(self.y), len(self.x)

    @property
    def shape(self) -> ZYX:
        """Voxels of the level along (z, y, x)."""
        return sum(self.z), sum(self.y), sum(self.x)

    @property
    def starts(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """First voxel of every tile along z, y and x."""
        z, y, x = (tuple(accumulate(axis, initial=0))[:-1] for axis in (self.z, self.y, self.x))
        return z, y, x

    def box(self, index: ZYX) -> Box:
        """Return the voxels of the tile at (z, y, x) position ``index``."""
        start = [s[i] for s, i in zip(self.starts, index, strict=True)]
        size = [a[i] for a, i in zip((self.z, self.y, self.x), index, strict=True)]
        z, y, x = start
        return Box((z, y, x), (z + size[0], y + size[1], x + size[2]))

    def overlapping(self, box: Box) -> list[Box]:
        """Return the voxels of every tile that shares some with ``box``."""
        ranges = (
            range(bisect_right(starts, low) - 1, bisect_left(starts, high))
            for starts, low, high in zip(self.starts, box.start, box.stop, strict=True)
        )
        return [self.box((z, y, x)) for z, y, x in product(*ranges)]

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[ZYX]:
        # A column after another, as mdata.bin lists them: y, then x, then z.
        z, y, x = self.counts
        return ((k, i, j) for i, j, k in product(range(y), range(x), range(z)))


@dataclass(frozen=True, slots=True)
class LevelPlan:
    """One level of the pyramid."""

    shape: ZYX
    factor: ZYX
    """Level-0 voxels per voxel of this level."""
    step: ZYX
    """Voxels of the level before per voxel of this level; (1, 1, 1) for level 0."""

    @property
    def folder(self) -> str:
        """Name of the level's folder, ``RES(YxXxZ)``."""
        z, y, x = self.shape
        return f"RES({y}x{x}x{z})"

    def spacing_um(self, base: tuple[float, float, float]) -> tuple[float, float, float]:
        """Voxel size of this level in µm, given that of level 0."""
        z, y, x = (s * f for s, f in zip(base, self.factor, strict=True))
        return z, y, x


def plan_terafly_levels(
    shape: ZYX, spacing_um: tuple[float, float, float] = (1.0, 1.0, 1.0), *, isotropic: bool = False
) -> list[LevelPlan]:
    """Halve, dropping odd last planes, until every side is at most 256 voxels; two levels at least.

    Parameters
    ----------
    shape : (z, y, x) ints
        Voxels of level 0.
    spacing_um : (z, y, x) floats, optional
        Voxel size; matters with ``isotropic`` only.
    isotropic : bool, optional
        Halve z only where its voxels are at most twice as long as those along y or x, so that
        coarse voxels of an anisotropic brain become cubes.

    Raises
    ------
    UsageError
        If the volume has a single voxel: TeraFly needs two levels.

    Examples
    --------
    >>> [level.folder for level in plan_terafly_levels((130, 300, 420))]
    ['RES(300x420x130)', 'RES(150x210x65)']
    """
    if min(shape) < 1 or max(shape) < 2:
        raise UsageError(f"a volume of {shape} voxels has no second level, and TeraFly needs two")
    levels = [LevelPlan(shape, (1, 1, 1), (1, 1, 1))]
    while len(levels) < 2 or (max(levels[-1].shape) > VIEW and len(levels) < MOST_LEVELS):
        last = levels[-1]
        z_um, y_um, x_um = last.spacing_um(spacing_um)
        wanted = (not isotropic or z_um <= 2 * max(y_um, x_um), True, True)
        if not any(w and n > 1 for w, n in zip(wanted, last.shape, strict=True)):
            wanted = (True, True, True)
        step = [2 if w and n > 1 else 1 for w, n in zip(wanted, last.shape, strict=True)]
        z, y, x = (n // k for n, k in zip(last.shape, step, strict=True))
        fz, fy, fx = (f * k for f, k in zip(last.factor, step, strict=True))
        levels.append(LevelPlan((z, y, x), (fz, fy, fx), (step[0], step[1], step[2])))
    return levels


def _check(n: int, tile: int) -> None:
    if tile < SMALLEST_TILE:
        raise UsageError(f"tiles of {tile} voxels are too small, use {SMALLEST_TILE} or more")
    if n < 1:
        raise UsageError(f"an axis of {n} voxels cannot be cut into tiles")
