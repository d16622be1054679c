"""Tile names: where a tile starts, in tenths of a micrometre, zero-padded to one width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.partition import LevelPlan, Tiling

Floats = tuple[float, float, float]


def row_number(start: int, factor: int, spacing_um: float, origin_um: float = 0.0) -> int:
    """Name of a row (y) or column (x): whole micrometres, halves rounded up, times ten.

    Examples
    --------
    >>> row_number(150, 1, 0.35)  # 52.5 um; Python's round() would say 52
    530
    """
    return math.floor(start * factor * spacing_um + origin_um + 0.5) * 10


def block_number(start: int, factor: int, spacing_um: float, origin_um: float = 0.0) -> int:
    """Name of a z block: tenths of a micrometre, truncated.

    Examples
    --------
    >>> block_number(45, 1, 0.35)
    157
    """
    return math.floor(origin_um * 10 + 0.5) + int(start * factor * spacing_um * 10)


@dataclass(frozen=True, slots=True)
class TileNames:
    """The numbers of one level's tiles, and the paths made of them."""

    z: tuple[int, ...]
    y: tuple[int, ...]
    x: tuple[int, ...]
    width: int = 6
    """Digits; one width for the whole volume."""

    def folder(self, row: int, column: int) -> str:
        """Return the folder of a column, relative to the level."""
        y, x = f"{self.y[row]:0{self.width}d}", f"{self.x[column]:0{self.width}d}"
        return f"{y}/{y}_{x}"

    def file(self, index: ZYX) -> str:
        """Return the file name of a tile, within its column's folder."""
        numbers = self.y[index[1]], self.x[index[2]], self.z[index[0]]
        return "_".join(f"{n:0{self.width}d}" for n in numbers) + ".tif"

    def path(self, index: ZYX) -> str:
        """Return the path of a tile, relative to the level."""
        return f"{self.folder(index[1], index[2])}/{self.file(index)}"


def name_tiles(
    levels: Sequence[LevelPlan],
    tilings: Sequence[Tiling],
    spacing_um: Floats,
    origin_um: Floats = (0.0, 0.0, 0.0),
) -> list[TileNames]:
    """Name the tiles of all levels, with one number width.

    Raises
    ------
    UsageError
        If the origin is negative, which names cannot say, or if two tiles would share a name
        because they are less than a micrometre apart.
    """
    if min(origin_um) < 0:
        raise UsageError(f"TeraFly names cannot hold a negative origin, got {origin_um} um")
    named = [
        _numbers(level, tiling, spacing_um, origin_um)
        for level, tiling in zip(levels, tilings, strict=True)
    ]
    largest = max(numbers[-1] for axes in named for numbers in axes)
    return [TileNames(*axes, width=max(6, len(str(largest)))) for axes in named]


def _numbers(
    level: LevelPlan, tiling: Tiling, spacing_um: Floats, origin_um: Floats
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    rules = (block_number, row_number, row_number)
    z, y, x = (
        tuple(
            rule(start, level.factor[axis], spacing_um[axis], origin_um[axis]) for start in starts
        )
        for axis, (rule, starts) in enumerate(zip(rules, tiling.starts, strict=True))
    )
    for axis, numbers in zip("zyx", (z, y, x), strict=True):
        if any(a >= b for a, b in pairwise(numbers)):
            raise UsageError(
                f"tiles of {level.folder} along {axis} are so close that they would share a name "
                f"(names count micrometres, voxels are {spacing_um} um): use larger tiles"
            )
    return z, y, x
