"""The chunk grid: index to box and back, and the 26 neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from neuroconn.geometry.box import ZYX, Box

_STEP = (-1, 0, 1)
DIRECTIONS: tuple[ZYX, ...] = tuple(d for d in product(_STEP, _STEP, _STEP) if d != (0, 0, 0))
"""The 26 directions in a fixed order: bit ``k`` of an evidence mask means ``DIRECTIONS[k]``."""


def directions(connectivity: int) -> tuple[ZYX, ...]:
    """Directions across a face (6), a face or an edge (18), or any contact (26).

    Examples
    --------
    >>> directions(6)
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    """
    try:
        reach = {6: 1, 18: 2, 26: 3}[connectivity]
    except KeyError:
        raise ValueError(f"connectivity must be 6, 18 or 26, got {connectivity}") from None
    return tuple(d for d in DIRECTIONS if sum(map(abs, d)) <= reach)


@dataclass(frozen=True, slots=True)
class ChunkGrid:
    """A volume cut into chunks from its origin; the last chunk of an axis may be partial.

    Examples
    --------
    >>> grid = ChunkGrid(shape=(100, 64, 64), chunk=(64, 64, 64))
    >>> grid.counts
    (2, 1, 1)
    >>> grid.core((1, 0, 0))
    Box(start=(64, 0, 0), stop=(100, 64, 64))
    >>> grid.tile((1, 0, 0), halo=32).shape
    (128, 128, 128)
    """

    shape: ZYX
    """Voxels of the whole volume."""
    chunk: ZYX
    """Voxels of a full chunk."""

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.chunk) < 1:
            raise ValueError(f"shape and chunk must be positive, got {self.shape}, {self.chunk}")

    @property
    def counts(self) -> ZYX:
        """Chunks along (z, y, x)."""
        z, y, x = (-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))
        return z, y, x

    @property
    def bounds(self) -> Box:
        """The voxels of the whole volume."""
        return Box.of_shape(self.shape)

    def __len__(self) -> int:
        z, y, x = self.counts
        return z * y * x

    def __iter__(self) -> Iterator[ZYX]:
        z, y, x = self.counts
        return iter(product(range(z), range(y), range(x)))

    def __contains__(self, index: object) -> bool:
        return (
            isinstance(index, tuple)
            and len(index) == 3
            and all(0 <= i < n for i, n in zip(index, self.counts, strict=True))
        )

    def core(self, index: ZYX) -> Box:
        """Return the voxels the chunk owns, clipped to the volume.

        Raises
        ------
        IndexError
            If the grid has no such chunk.
        """
        return self._full(index).clip(self.bounds)

    def voxels(self, index: ZYX) -> int:
        """Return how many voxels the chunk owns: ``core(index).size``, at a tenth of its price.

        Examples
        --------
        >>> ChunkGrid(shape=(100, 64, 64), chunk=(64, 64, 64)).voxels((1, 0, 0))
        147456
        """
        (z, y, x), (nz, ny, nx), (cz, cy, cx) = index, self.shape, self.chunk
        return min(cz, nz - z * cz) * min(cy, ny - y * cy) * min(cx, nx - x * cx)

    def tile(self, index: ZYX, halo: int | ZYX) -> Box:
        """Return the chunk at full size with ``halo`` around it; may leave the volume.

        Every tile has the same shape, also at the border, so that a network sees one shape only.
        """
        return self._full(index).grow(halo)

    def index_of(self, voxel: ZYX) -> ZYX:
        """Chunk that owns ``voxel``.

        Raises
        ------
        IndexError
            If the voxel lies outside the volume.
        """
        if not self.bounds.contains(voxel):
            raise IndexError(f"voxel {voxel} lies outside the volume of shape {self.shape}")
        z, y, x = (int(v) // c for v, c in zip(voxel, self.chunk, strict=True))
        return z, y, x

    def neighbours(self, index: ZYX, connectivity: int = 26) -> list[ZYX]:
        """Chunks of the grid that touch ``index`` across a face, edge or corner."""
        z, y, x = index
        moved = ((z + dz, y + dy, x + dx) for dz, dy, dx in directions(connectivity))
        return [n for n in moved if n in self]

    def overlapping(self, box: Box) -> Iterator[ZYX]:
        """Chunks that share a voxel with ``box``, in (z, y, x) order."""
        inside = box.clip(self.bounds)
        if not inside.size:
            return iter(())
        z, y, x = (
            range(a // c, (b - 1) // c + 1)
            for a, b, c in zip(inside.start, inside.stop, self.chunk, strict=True)
        )
        return iter(product(z, y, x))

    def ravel(self, index: ZYX) -> int:
        """Position of ``index`` in iteration order."""
        if index not in self:
            raise IndexError(f"no chunk {index} in a grid of {self.counts}")
        _, ny, nx = self.counts
        return (index[0] * ny + index[1]) * nx + index[2]

    def unravel(self, position: int) -> ZYX:
        """Inverse of :meth:`ravel`."""
        if not 0 <= position < len(self):
            raise IndexError(f"no chunk number {position} in a grid of {len(self)}")
        _, ny, nx = self.counts
        rest, x = divmod(position, nx)
        z, y = divmod(rest, ny)
        return z, y, x

    def _full(self, index: ZYX) -> Box:
        if index not in self:
            raise IndexError(f"no chunk {index} in a grid of {self.counts}")
        z, y, x = (i * c for i, c in zip(index, self.chunk, strict=True))
        return Box((z, y, x), (z + self.chunk[0], y + self.chunk[1], x + self.chunk[2]))
