"""A distance map on disk, as thinning wants it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.inference.encoding import Encoding
from neuroconn.tracing.thinning import OUTSIDE
from neuroconn.volume import Image, read_region
from neuroconn.volume.axes import AxisView, VolumeArray
from neuroconn.volume.regions import stored_grid
from neuroconn.volume.stored import stored_indices

WIDTH = 0.5
"""Voxels of distance that one level of thinning takes: as exact as a skeleton is, and few turns."""

_CODES = {"uint8": 250, "uint16": 65_000}


@dataclass(frozen=True, slots=True)
class DistanceMap:
    """The mask of voxels nearer than ``threshold``, read a box at a time."""

    image: Image
    encoding: Encoding
    threshold: float

    @classmethod
    def of(cls, image: Image, threshold: float) -> DistanceMap:
        """Check that an image is a distance map, and the threshold one of its distances.

        Raises
        ------
        VolumeError
            If it is a brain, or its numbers have no known unit.
        UsageError
            If everything or nothing would be below the threshold.
        """
        encoding = _encoding(image)
        highest = min(encoding.clip, WIDTH * (OUTSIDE - 1))
        if not 0 < threshold <= highest:
            raise UsageError(
                f"threshold must be above 0 and at most {highest:g} voxels, where this map goes "
                f"flat and everything would be neurite; got {threshold}"
            )
        return cls(image, encoding, threshold)

    @property
    def bounds(self) -> Box:
        """All voxels."""
        return Box.of_shape(self.image.shape)

    @property
    def levels(self) -> int:
        """Levels of thinning there are."""
        return int(np.ceil(self.threshold / WIDTH))

    def array(self) -> VolumeArray:
        """Open the stored array."""
        return self.image.array()

    def thinning_levels(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Turn stored numbers into levels; what is not in the mask or unexplored is ``OUTSIDE``."""
        if stored.dtype.kind == "f":
            return self._levels(stored)
        table = self._levels(self.encoding.decode(np.arange(self.encoding.fill + 1, dtype=int)))
        picked: NDArray[np.uint8] = table[stored]
        return picked

    def _levels(self, distance: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        near = distance < self.threshold  # not so for NaN, where nobody looked
        numbers = np.floor(np.where(near, np.maximum(distance, 0), 0) / WIDTH)
        return np.where(near, numbers, OUTSIDE).astype(np.uint8)

    def blocks(self, side: int, box: Box) -> list[Box]:
        """Parts of ``box`` that something is stored in, about ``side`` voxels wide, in order.

        They are made of whole stored objects, unless one is larger than twice the side.
        """
        array = self.array()
        stored = stored_grid(array)
        z, y, x = (_width(side, chunk) for chunk in stored.chunk)
        grid = ChunkGrid(stored.shape, (z, y, x))
        return [
            part
            for index in sorted(_occupied(array, stored, grid))
            if (part := grid.core(index).clip(box)).size
        ]

    def read(self, box: Box) -> NDArray[Any]:
        """Read stored numbers of a box inside the map."""
        return read_region(self.array(), box)


def _width(side: int, chunk: int) -> int:
    return side if chunk > 2 * side else max(1, round(side / chunk)) * chunk


def _occupied(array: VolumeArray, stored: ChunkGrid, grid: ChunkGrid) -> Iterator[ZYX]:
    """Yield the cells of ``grid`` that a stored object meets."""
    if isinstance(array, AxisView):  # its objects have other numbers
        yield from grid
        return
    found: set[ZYX] = set()
    for index in stored_indices(array, stored):
        found.update(grid.overlapping(stored.core(index)))
    yield from found


def _encoding(image: Image) -> Encoding:
    if image.kind != "distance":
        raise VolumeError(
            f"{image.path} is a brain, not a distance map: trace what `neuroconn infer` wrote"
        )
    array = image.array()
    name, scale = array.dtype.name, array.attrs.get("scale_factor")
    if name == "float32":
        return Encoding(name, clip=float(np.finfo(np.float32).max))
    if name not in _CODES or not isinstance(scale, int | float) or not scale > 0:
        raise VolumeError(
            f"{image.path} stores {name} with scale_factor {scale!r}: not a distance map"
        )
    # 0.04 * 250 is the clip but for the last bits; a clip has few digits
    return Encoding(name, clip=float(f"{scale * _CODES[name]:.12g}"))
