"""What is done and what can be done next: a few bytes a tile, whatever the volume.

A tile is ready when all tiles below it are done and their blocks can be had. A block is removed
when no tile needs it any more. After a crash nothing is trusted that is not there: a tile whose
file is gone is made again, and so is one whose block is gone while somebody still needs it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX
from neuroconn.vaa3d.journal import Block, Made
from neuroconn.vaa3d.pyramid import Pyramid
from neuroconn.vaa3d.record import TileRecord


@dataclass(frozen=True, slots=True)
class Job:
    """A tile to be made."""

    level: int
    index: ZYX
    inputs: tuple[tuple[ZYX, Block], ...] = ()
    """The tiles below and where their blocks are; none on level 0."""
    old: tuple[int, int] | None = None
    """Size and stamp of the tile in the export that is updated."""


class Ledger:
    """The state of an export.

    Parameters
    ----------
    pyramid : Pyramid
        What needs what.
    old : TileRecord, optional
        The tiles of the export that is updated.
    """

    def __init__(self, pyramid: Pyramid, old: TileRecord | None = None) -> None:
        self._pyramid, self._old = pyramid, old
        shapes = [tiling.counts for tiling in pyramid.tilings]
        self.tiles = TileRecord.empty(shapes)
        self._block = [np.zeros(shape, dtype=np.uint8) for shape in shapes]
        self._waiting: list[NDArray[np.int64]] = []
        self._ready: deque[tuple[int, ZYX]] = deque()
        self._order: Iterator[ZYX] = iter(())
        self.done = 0
        """Tiles that are done."""

    def is_done(self, level: int, index: ZYX) -> bool:
        """Whether a tile is on disk, or needs no file."""
        return bool(self._block[level][index])

    def resume(
        self,
        records: Iterator[Made],
        has_tile: Callable[[int, ZYX, int], bool],
        has_block: Callable[[int, ZYX], bool],
    ) -> None:
        """Take over what an earlier run recorded, as far as it is there.

        Parameters
        ----------
        records : iterator of Made
            From the journal.
        has_tile : callable
            Whether the file of a tile is there, with its size.
        has_block : callable
            Whether the file of a block is there.
        """
        for made in records:
            self._set(made)
        for level, blocks in enumerate(self._block):
            for index in _places(blocks != Block.MISSING):
                size = int(self.tiles.sizes[level][index])
                if size and not has_tile(level, index, size):
                    blocks[index] = Block.MISSING
        self._forget_lost_blocks(has_block)
        self._count()

    def next(self) -> Job | None:
        """Return a tile that can be made now and hand it out; None if there is none at present."""
        if self._ready:
            return self._job(*self._ready.popleft())
        for index in self._order:
            if not self.is_done(0, index):
                return self._job(0, index)
        return None

    def finish(self, made: Made) -> list[tuple[int, ZYX]]:
        """Note a finished tile; return the tiles whose blocks nobody needs any more."""
        level, index = made.level, made.index
        self._set(made)
        self.done += 1
        for parent in self._pyramid.parents(level, index):
            self._waiting[level + 1][parent] -= 1
            self._offer(level + 1, parent)
        return [
            (level - 1, child)
            for child in self._pyramid.children(level, index)
            if self._block[level - 1][child] == Block.STORED and self._is_spent(level - 1, child)
        ]

    def _set(self, made: Made) -> None:
        self._block[made.level][made.index] = made.block
        self.tiles.sizes[made.level][made.index] = made.size
        if not made.level:
            self.tiles.stamps[made.index] = made.stamp

    def _is_spent(self, level: int, index: ZYX) -> bool:
        parents = self._pyramid.parents(level, index)
        return all(self.is_done(level + 1, parent) for parent in parents)

    def _offer(self, level: int, index: ZYX) -> None:
        if not self._waiting[level][index] and not self.is_done(level, index):
            self._ready.append((level, index))

    def _job(self, level: int, index: ZYX) -> Job:
        children = self._pyramid.children(level, index)
        inputs = tuple((child, Block(int(self._block[level - 1][child]))) for child in children)
        return Job(level, index, inputs, self._old.tile(level, index) if self._old else None)

    def _forget_lost_blocks(self, has_block: Callable[[int, ZYX], bool]) -> None:
        """From the top down, so that what a tile made again needs is looked at after it."""
        same = self._same_as_old()
        for level in reversed(range(1, len(self._block))):
            for index in _places(self._block[level] == Block.MISSING):
                for child in self._pyramid.children(level, index):
                    block = self._block[level - 1][child]
                    lost = block == Block.STORED and not has_block(level - 1, child)
                    if lost or (block == Block.OLD and not same[level - 1][child]):
                        self._block[level - 1][child] = Block.MISSING

    def _same_as_old(self) -> list[NDArray[np.bool_]]:
        """Tiles that are as in the export updated *now*; an earlier run may have used another."""
        if self._old is None:
            return [np.zeros(blocks.shape, dtype=bool) for blocks in self._block]
        same = [self.tiles.stamps == self._old.stamps]
        for level, blocks in enumerate(self._block[1:], start=1):
            same.append(blocks == Block.OLD)
            for index in _places(same[level]):
                below = self._pyramid.children(level, index)
                same[level][index] = all(same[level - 1][child] for child in below)
        return same

    def _count(self) -> None:
        """Work out what each tile waits for, and what is ready."""
        self.done = sum(int(np.count_nonzero(blocks)) for blocks in self._block)
        self._order = self._pyramid.order()
        self._waiting = [np.zeros(self._block[0].shape, dtype=np.int64)]
        for level in range(1, len(self._block)):
            self._waiting.append(self._pyramid.child_counts(level))
            for child in _places(self._block[level - 1] != Block.MISSING):
                for parent in self._pyramid.parents(level - 1, child):
                    self._waiting[level][parent] -= 1
            for index in _places(self._waiting[level] == 0):
                self._offer(level, index)


def _places(where: NDArray[np.bool_]) -> Iterator[ZYX]:
    for z, y, x in zip(*np.nonzero(where), strict=True):
        yield int(z), int(y), int(x)
