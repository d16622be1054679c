"""Volumes as lazy xarray arrays with physical coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.address import Address, ObjectPath
from neuroconn.volume.axes import VolumeArray, triple
from neuroconn.volume.regions import read_region, stored_grid
from neuroconn.volume.store import Image, open_image

Chunks: TypeAlias = Literal["shard", "inner"]


def open_volume(
    path: str | Path | ObjectPath, level: int = 0, *, chunks: Chunks = "shard"
) -> xr.DataArray:
    """Open a level of an image lazily, with coordinates in micrometres.

    Parameters
    ----------
    path : path
        An OME-Zarr 0.4 or 0.5 image: a brain or a distance map, in a folder or at a URL
        (``s3://bucket/path``; ``http(s)://host/path`` for reading).
    level : int
        0 is full resolution.
    chunks : {"shard", "inner"}
        A Dask block a stored object, for whole volumes and for writing; or a block a readable
        chunk, for looks at small parts. They differ only where the image has shards.

    Returns
    -------
    xarray.DataArray, dims (z, y, x)
        Named ``image`` or ``distance``, backed by Dask. A brain has its stored dtype. A distance
        map is float32 voxels of level 0 to the nearest neurite, NaN where nobody looked.
        Coordinates are float64 centres of voxels with the attribute ``units``: micrometer, or voxel
        if the spacing is unknown.

    Raises
    ------
    VolumeError
        If there is no such image or level.
    """
    image = open_image(path)
    if not 0 <= level < len(image.levels):
        raise VolumeError(f"{path} has levels 0 to {len(image.levels) - 1}, not {level}")
    return level_array(image, level, chunks)


def level_array(image: Image, level: int, chunks: Chunks) -> xr.DataArray:
    """Return one level of an opened image as :func:`open_volume` does."""
    if chunks not in ("shard", "inner"):
        raise ValueError(f"chunks must be shard or inner, got {chunks!r}")
    array = image.array(level)
    lazy = _Lazy(array, _decoder(image, array))
    block = stored_grid(array).chunk if chunks == "shard" else triple(array.chunks)
    data = da.from_array(  # type: ignore[no-untyped-call]
        lazy, chunks=block, name=False, meta=np.empty((0, 0, 0), lazy.dtype)
    )
    attributes = {
        "kind": image.kind,
        "level": level,
        "spacing": list(image.frames[level].spacing_um),
        "spacing_known": image.spacing_known,
        "source": str(image.path),
    }
    if image.kind == "distance":
        attributes |= {"units": "voxel", "long_name": "distance to the nearest neurite"}
    name = "distance" if image.kind == "distance" else "image"
    return xr.DataArray(data, _coordinates(image, level), ("z", "y", "x"), name, attributes)


def _coordinates(image: Image, level: int) -> dict[str, Any]:
    frame, shape = image.frames[level], image.levels[level].shape
    unit = {"units": "micrometer" if image.spacing_known else "voxel"}
    return {
        axis: (axis, start + step * np.arange(n, dtype=np.float64), unit)
        for axis, start, step, n in zip(
            "zyx", frame.origin_um, frame.spacing_um, shape, strict=True
        )
    }


class _Decoder:
    """CF decoding of packed integers: NaN for ``_FillValue``, then scale and offset."""

    def __init__(self, attributes: dict[str, Any], where: Address) -> None:
        missing = [key for key in ("scale_factor", "_FillValue") if key not in attributes]
        if missing:
            raise VolumeError(f"{where} is a distance map without {missing[0]}: no unit to read in")
        self._scale = float(attributes["scale_factor"])
        self._offset = float(attributes.get("add_offset", 0.0))
        self._fill = attributes["_FillValue"]

    def __call__(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        distance = codes.astype(np.float64) * self._scale + self._offset
        distance[codes == self._fill] = np.nan
        return distance.astype(np.float32)


class _Lazy:
    """Reads through :func:`read_region`, so that damage is an error and never fill value."""

    ndim = 3

    def __init__(self, array: VolumeArray, decode: _Decoder | None) -> None:
        self._array, self._decode = array, decode
        self.shape = triple(array.shape)
        self.dtype = np.dtype(np.float32) if decode else np.dtype(array.dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Index with slices and integers, as Dask does."""
        slices = [slice(k, k + 1) if isinstance(k, int | np.integer) else k for k in key]
        ranges = [range(n)[s] for n, s in zip(self.shape, slices, strict=True)]
        if not all(ranges):
            z, y, x = (len(r) for r in ranges)
            data = np.empty((z, y, x), self.dtype)
        else:
            start = triple(tuple(min(r[0], r[-1]) for r in ranges))
            stop = triple(tuple(max(r[0], r[-1]) + 1 for r in ranges))
            block = read_region(self._array, Box(start, stop))
            data = block[tuple(slice(None, None, r.step) for r in ranges)]
            data = self._decode(data) if self._decode else data
        dropped = tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)
        return np.asarray(data[dropped])


def _decoder(image: Image, array: Any) -> _Decoder | None:
    if image.kind != "distance" or np.dtype(array.dtype).kind == "f":
        return None
    return _Decoder(dict(array.attrs), image.path)
