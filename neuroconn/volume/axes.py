"""Arrays as (z, y, x), whatever axes they are stored with."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX
from neuroconn.volume.ome import AXES


class VolumeArray(Protocol):
    """What reading needs of a stored (z, y, x) array; a three-dimensional zarr array has it."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def chunks(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def shards(self) -> tuple[int, ...] | None: ...  # noqa: D102
    @property
    def dtype(self) -> Any: ...  # noqa: D102
    @property
    def fill_value(self) -> Any: ...  # noqa: D102
    def __getitem__(self, key: tuple[slice, slice, slice], /) -> Any: ...


def triple(values: tuple[int, ...]) -> ZYX:
    """Return a shape of three axes as such."""
    z, y, x = values
    return z, y, x


class AxisView:
    """A zarr array with other axes, read as (z, y, x).

    Parameters
    ----------
    stored : zarr.Array
        What is read.
    axes : tuple of str
        A name for each stored axis, z, y and x among them; ``c`` counts channels. Axes of other
        names have length 1.
    channel : int, optional
        Which channel is read, from 0. Without it, several channels are refused.

    Raises
    ------
    VolumeError
        If more than one grey volume is left.
    """

    def __init__(
        self, stored: zarr.Array[Any], axes: tuple[str, ...], channel: int | None = None
    ) -> None:
        self.stored = stored
        self._axes = axes
        self._at = tuple(axes.index(name) for name in AXES)
        sizes = dict(zip(axes, stored.shape, strict=True))
        self._fixed = {name: 0 for name in axes if name not in AXES}
        if channel is not None and "c" in sizes:
            if not 0 <= channel < sizes["c"]:
                raise VolumeError(f"channel {channel} is not one of the {sizes['c']} stored")
            self._fixed["c"], sizes["c"] = channel, 1
        extra = {name: sizes[name] for name in self._fixed if sizes[name] != 1}
        if extra:
            raise VolumeError(
                f"the image has {extra} channels or time points; a brain is one grey volume. "
                "Extract one channel first"
            )

    @property
    def shape(self) -> ZYX:
        """Extent along (z, y, x)."""
        return self._pick(self.stored.shape)

    @property
    def chunks(self) -> ZYX:
        """Smallest readable unit along (z, y, x)."""
        return self._pick(self.stored.chunks)

    @property
    def shards(self) -> ZYX | None:
        """Stored object along (z, y, x), if the array is sharded."""
        return None if self.stored.shards is None else self._pick(self.stored.shards)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.stored.dtype)

    @property
    def fill_value(self) -> Any:
        """Value of what is not stored."""
        return self.stored.fill_value

    def stored_index(self, index: ZYX) -> tuple[int, ...]:
        """Return a (z, y, x) index of a stored object in stored axis order."""
        sizes = self.stored.shards or self.stored.chunks
        by_name = dict(zip(AXES, index, strict=True))
        return tuple(
            by_name[name] if name in by_name else self._fixed[name] // size
            for name, size in zip(self._axes, sizes, strict=True)
        )

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        by_name: dict[str, int | slice] = {**self._fixed, **dict(zip(AXES, key, strict=True))}
        data = np.asarray(self.stored[tuple(by_name[name] for name in self._axes)])
        kept = [name for name in self._axes if name in AXES]
        return data.transpose([kept.index(name) for name in AXES])

    def _pick(self, values: tuple[int, ...]) -> ZYX:
        z, y, x = (values[i] for i in self._at)
        return z, y, x
