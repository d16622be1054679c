"""Axis-aligned regions of a volume, in voxels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

ZYX: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """The voxels with ``start <= (z, y, x) < stop``, in whole-brain coordinates.

    Examples
    --------
    >>> box = Box((0, 0, 0), (4, 8, 8)).grow(2)
    >>> box
    Box(start=(-2, -2, -2), stop=(6, 10, 10))
    >>> box.clip(Box.of_shape((5, 5, 5))).shape
    (5, 5, 5)
    """

    start: ZYX
    stop: ZYX

    def __post_init__(self) -> None:
        if {len(self.start), len(self.stop)} != {3}:
            raise ValueError(f"a box has three axes (z, y, x), got {self.start} and {self.stop}")

    @classmethod
    def of_shape(cls, shape: ZYX) -> Box:
        """Return the box of a whole volume of ``shape``."""
        return cls((0, 0, 0), _ints(shape))

    @property
    def shape(self) -> ZYX:
        """Extent in voxels along (z, y, x); 0 where the box is empty."""
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of this box in an array of the whole volume."""
        return self.within(Box((0, 0, 0), self.stop))

    def grow(self, halo: int | ZYX) -> Box:
        """Add ``halo`` voxels on every face; the result may leave the brain."""
        h = (halo, halo, halo) if isinstance(halo, int) else halo
        return Box(
            _ints(a - n for a, n in zip(self.start, h, strict=True)),
            _ints(b + n for b, n in zip(self.stop, h, strict=True)),
        )

    def clip(self, other: Box) -> Box:
        """Return the voxels in both boxes; empty (zero size) when they do not meet."""
        start = _ints(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = _ints(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box(start, _ints(max(a, b) for a, b in zip(start, stop, strict=True)))

    def shift(self, offset: ZYX) -> Box:
        """Move the box by ``offset`` voxels."""
        return Box(
            _ints(a + o for a, o in zip(self.start, offset, strict=True)),
            _ints(b + o for b, o in zip(self.stop, offset, strict=True)),
        )

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """Index of this box in an array that holds ``outer``.

        Raises
        ------
        ValueError
            If a voxel of this box lies outside ``outer``: a negative index would wrap silently.
        """
        if self.size and not outer.contains(self):
            raise ValueError(f"{self} is not inside {outer}")
        z, y, x = (
            slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True)
        )
        return z, y, x

    def contains(self, other: Box | ZYX) -> bool:
        """Whether every voxel of ``other`` (a box, or one voxel) is in this box."""
        if isinstance(other, Box):
            inner = zip(self.start, other.start, other.stop, self.stop, strict=True)
            return all(a <= b and c <= d for a, b, c, d in inner)
        return all(a <= v < b for a, v, b in zip(self.start, other, self.stop, strict=True))

    def split(self, shape: ZYX) -> Iterator[Box]:
        """Cut the box into blocks of ``shape`` from its start, the last ones clipped."""
        starts = (range(a, b, n) for a, b, n in zip(self.start, self.stop, shape, strict=True))
        for z, y, x in product(*starts):
            block = Box((z, y, x), (z + shape[0], y + shape[1], x + shape[2]))
            yield block.clip(self)


def _ints(values: Iterable[int]) -> ZYX:
    z, y, x = (int(v) for v in values)
    return z, y, x
