"""Volumes that lie in a file, or in an unpacked copy of one, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.base import Identity, Source, check_numeric

RUN = 1024
"""Voxels along the fastest axis below which reading less saves nothing: a few memory pages."""


class Voxels(Protocol):
    """An array that can be had again and again, from any thread."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored, with its byte order."""

    def array(self) -> np.memmap[Any, Any]:
        """Return the array, read-only."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """An uncompressed array inside a file; mapped anew for every read, so it pickles as a path."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    """Bytes before its first voxel."""
    shape: tuple[int, ...]

    def array(self) -> np.memmap[Any, Any]:
        """Map the array into memory, read-only.

        Raises
        ------
        VolumeError
            If the file is gone or has become shorter.
        """
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError, OverflowError) as error:
            raise VolumeError(f"{self.path} cannot be mapped any more: {error}") from error


class ArraySource(Source):
    """A volume that is one array in memory order; reads share nothing, so any thread may read.

    Parameters
    ----------
    voxels : Voxels
        Of shape (z, y, x); (x, y, z) with ``fortran``.
    fortran : bool
        Whether z runs fastest.
    """

    format: ClassVar[str] = "array"

    def __init__(
        self,
        voxels: Voxels,
        *,
        description: str,
        identity: Identity,
        fortran: bool = False,
        channels: int = 1,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._voxels, self._fortran = voxels, fortran
        z, y, x = reversed(voxels.shape) if fortran else voxels.shape
        self.shape: ZYX = (z, y, x)
        self.unit: ZYX = (min(z, RUN), 1, 1) if fortran else (1, 1, min(x, RUN))
        self.dtype = check_numeric(voxels.dtype, identity.name)
        self.description, self.identity = description, identity
        self.channels, self.notes = channels, notes

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        array = self._voxels.array()
        volume = array.T if self._fortran else array
        return np.array(volume[box.slices], self.dtype, order="C", subok=False)
