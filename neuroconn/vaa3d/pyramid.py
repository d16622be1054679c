"""Which voxels make which tiles: the whole pyramid in one pass, however its levels are cut.

Tiles may start on odd voxels, and every level is cut by itself. So a coarse voxel is made where its
*first* voxel lies, and a tile reaches at most one voxel into its neighbours to complete its own::

    level l     0 1 2 3 4 | 5 6 7 8 9 | 10      tiles of 5, the second starts on an odd voxel
    level l+1   0   1   2     3   4             the first tile reaches to voxel 5, the second gives
                                                voxels 3 and 4; voxel 10 has no partner and drops

The coarse voxels a tile gives are its *block*; blocks of a level tile the level above without gaps.
A tile of a coarse level is put together from the blocks that it reaches, and gives its own block.
Nothing is read twice, and no tile that was written is read again.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.partition import LevelPlan, Tiling


@dataclass(frozen=True, slots=True)
class AxisCut:
    """The tiles of a level along one axis, and the coarse voxels they give."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    reach: tuple[int, ...]
    """Where the voxels end that a tile needs: at ``stop``, or one further."""
    first: tuple[int, ...]
    """First coarse voxel that a tile gives."""
    last: tuple[int, ...]
    """One past the last."""

    @classmethod
    def of(cls, sizes: Sequence[int], step: int, coarse: int) -> AxisCut:
        """Cut an axis into tiles of ``sizes``, ``step`` voxels of which make one of ``coarse``."""
        stop = tuple(accumulate(sizes))
        start = (0, *stop[:-1])
        first, last = (tuple(min(-(-v // step), coarse) for v in side) for side in (start, stop))
        reach = tuple(max(b, step * c) for b, c in zip(stop, last, strict=True))
        return cls(start, stop, reach, first, last)

    def below(self, low: int, high: int) -> range:
        """Tiles whose coarse voxels meet ``low`` to ``high`` of the level above."""
        return range(bisect_right(self.last, low), bisect_left(self.first, high))

    def reaching(self, low: int, high: int) -> range:
        """Tiles that need voxels of ``low`` to ``high``."""
        return range(bisect_right(self.reach, low), bisect_left(self.start, high))


class Pyramid:
    """What every tile of every level needs and gives.

    Parameters
    ----------
    levels, tilings : sequences
        Finest level first.
    """

    def __init__(self, levels: Sequence[LevelPlan], tilings: Sequence[Tiling]) -> None:
        self.tilings = tuple(tilings)
        above = [*levels[1:], None]
        self._cuts: list[tuple[AxisCut, ...]] = [
            tuple(
                AxisCut.of(sizes, up.step[axis] if up else 1, up.shape[axis] if up else 0)
                for axis, sizes in enumerate((tiling.z, tiling.y, tiling.x))
            )
            for tiling, up in zip(tilings, above, strict=True)
        ]

    def needs(self, level: int, index: ZYX) -> Box:
        """Return the voxels of ``level`` that a tile and its block are made of."""
        return _box((c.start[i], c.reach[i]) for c, i in zip(self._cuts[level], index, strict=True))

    def gives(self, level: int, index: ZYX) -> Box:
        """Return the block of a tile, in voxels of ``level + 1``; may be empty."""
        return _box((c.first[i], c.last[i]) for c, i in zip(self._cuts[level], index, strict=True))

    def children(self, level: int, index: ZYX) -> list[ZYX]:
        """Tiles of ``level - 1`` whose blocks a tile is put together from; none on level 0."""
        return self._across(level - 1, self.needs(level, index)) if level else []

    def parents(self, level: int, index: ZYX) -> list[ZYX]:
        """Tiles of ``level + 1`` that need the block of a tile; none on the coarsest level."""
        if level + 1 == len(self._cuts):
            return []
        block = self.gives(level, index)
        cuts = self._cuts[level + 1]
        ranges = (c.reaching(a, b) for c, a, b in zip(cuts, block.start, block.stop, strict=True))
        return list(product(*ranges))  # type: ignore[arg-type]

    def child_counts(self, level: int) -> NDArray[np.int64]:
        """How many children each tile of a level has, for all of them at once."""
        below = self._cuts[level - 1]
        z, y, x = (
            [len(b.below(low, high)) for low, high in zip(c.start, c.reach, strict=True)]
            for b, c in zip(below, self._cuts[level], strict=True)
        )
        counts: NDArray[np.int64] = np.multiply.outer(np.multiply.outer(z, y), x)
        return counts

    def order(self) -> Iterator[ZYX]:
        """Yield the tiles of level 0 so that tiles of coarse levels are complete early.

        Depth first from the top: what waits at any time is about one block for every child of one
        tile on each level, and one more where tiles straddle those of the level above.
        """
        seen = [np.zeros(tiling.counts, dtype=bool) for tiling in self.tilings]
        for top in self.tilings[-1]:
            yield from self._under(len(self._cuts) - 1, top, seen)
        # Blocks of odd last planes are empty: nothing above asks for those tiles.
        for index in zip(*np.nonzero(~seen[0]), strict=True):
            yield _zyx(index)

    def _under(self, level: int, index: ZYX, seen: list[NDArray[np.bool_]]) -> Iterator[ZYX]:
        if seen[level][index]:
            return
        seen[level][index] = True
        if level == 0:
            yield index
        for child in self.children(level, index):
            yield from self._under(level - 1, child, seen)

    def _across(self, level: int, box: Box) -> list[ZYX]:
        """Tiles of a level whose blocks meet a box of the level above."""
        cuts = self._cuts[level]
        ranges = (c.below(a, b) for c, a, b in zip(cuts, box.start, box.stop, strict=True))
        return list(product(*ranges))  # type: ignore[arg-type]


def _box(sides: Iterable[tuple[int, int]]) -> Box:
    start, stop = zip(*sides, strict=True)
    return Box(start, stop)


def _zyx(values: Iterable[Any]) -> ZYX:
    z, y, x = (int(v) for v in values)
    return z, y, x
