"""Stand-ins for tests of code that uses neuroconn."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.sources import Identity, Source


class MemorySource(Source):
    """An array as a source of a conversion.

    Parameters
    ----------
    voxels : ndarray, shape (z, y, x)
        What is read.
    unit : (z, y, x) ints
        Smallest box that is said to be decodable.
    broken : sequence of Box
        Voxels that cannot be read, nor can the units that hold one.

    Examples
    --------
    >>> import numpy as np
    >>> source = MemorySource(np.zeros((2, 3, 4), np.uint8), broken=(Box((0, 0, 0), (1, 1, 1)),))
    >>> source.read(Box((1, 0, 0), (2, 3, 4))).shape
    (1, 3, 4)
    """

    format = "array"

    def __init__(
        self, voxels: NDArray[Any], unit: ZYX = (1, 1, 1), broken: tuple[Box, ...] = ()
    ) -> None:
        z, y, x = voxels.shape
        self.voxels, self.broken = voxels, broken
        self.shape, self.dtype, self.unit = (z, y, x), voxels.dtype, unit
        self.description = "an array"
        self.identity = Identity("array", 1, voxels.nbytes, "layout", "sample")
        self.spacing_um = (1.0, 1.0, 1.0)

    def read(self, box: Box) -> NDArray[Any]:
        """Return a copy of the voxels of a box inside the volume."""
        grid = ChunkGrid(self.shape, self.unit)
        decoded = [grid.core(index) for index in grid.overlapping(box)] if self.broken else []
        for bad in self.broken:
            if any(bad.clip(unit).size for unit in decoded):
                raise VolumeError(f"voxels of {bad} are damaged")
        return self.voxels[box.slices].copy()
