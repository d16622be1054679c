"""A volume in one array of an HDF5 file, whatever its axes are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.base import Source, check_numeric, file_identity
from neuroconn.volume.sources.hdf5.array import Hdf5Array


class Hdf5Source(Source):
    """A grey volume in an array of an HDF5 file.

    Parameters
    ----------
    array : Hdf5Array
        What is read; it says how threads and processes share it.
    axes : str
        Name of each axis of the array: z, y, x, and any other letter for an axis of which one
        position is taken.
    positions : sequence of ints
        The position on each of those other axes, in their order.
    shape : (z, y, x) ints, optional
        Size of the volume where the array is padded beyond it.
    unsigned : bool
        Whether the voxels are unsigned though the file calls them signed.
    """

    format = "HDF5"

    def __init__(
        self,
        array: Hdf5Array,
        *,
        axes: str = "zyx",
        positions: Sequence[int] = (),
        shape: ZYX | None = None,
        unsigned: bool = False,
    ) -> None:
        self._array, self._axes = array, axes
        others = iter(positions)
        self._fixed = [None if a in "zyx" else next(others) for a in axes]
        self._order = [axes.index(a) for a in "zyx"]
        self.shape = shape or _triple(array.shape[k] for k in self._order)
        native = check_numeric(array.dtype, array.where)
        self.dtype = np.dtype(f"u{native.itemsize}") if unsigned else native
        self.unit = self._smallest()
        self.description = f"{self.format} dataset {array.name}"
        self.notes = array.notes
        facts = [*array.facts, axes, list(positions), list(self.shape), self.dtype.name]
        self.identity = file_identity(array.path.name, [array.path], facts, array.sample)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        if not Box.of_shape(self.shape).contains(box):
            raise ValueError(f"{box} leaves the volume of shape {self.shape}")
        start, stop = self._spans(box.start, 0), self._spans(box.stop, 1)
        voxels = self._array.read(start, stop)
        kept = voxels[tuple(slice(None) if f is None else 0 for f in self._fixed)]
        names = [a for a in self._axes if a in "zyx"]
        ordered = kept.transpose([names.index(a) for a in "zyx"])
        return np.ascontiguousarray(ordered).view(self.dtype)

    def _spans(self, ends: ZYX, past: int) -> list[int]:
        """Return one end of a box along every axis of the array."""
        by_name = dict(zip("zyx", ends, strict=True))
        return [
            by_name[a] if f is None else f + past
            for a, f in zip(self._axes, self._fixed, strict=True)
        ]

    def _smallest(self) -> ZYX:
        if self._array.chunks is None:
            return (1, 1, min(self.shape[2], 1024))
        chunks = (self._array.chunks[k] for k in self._order)
        return _triple(min(c, n) for c, n in zip(chunks, self.shape, strict=True))


def positions_of(axes: str, shape: Sequence[int], channel: int, where: str) -> tuple[int, ...]:
    """Return the position taken on each axis that is not z, y or x.

    Raises
    ------
    VolumeError
        If there are several time points.
    """
    sizes = dict(zip(axes, shape, strict=True))
    if sizes.get("t", 1) > 1:
        raise VolumeError(
            f"{where} is a time series of {sizes['t']} frames; save the one to convert"
        )
    return tuple(channel if a == "c" else 0 for a in axes if a not in "zyx")


def _triple(values: Any) -> ZYX:
    z, y, x = (int(v) for v in values)
    return z, y, x
