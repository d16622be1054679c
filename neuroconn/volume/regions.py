"""Reading boxes, and the one function that writes chunks.

Two writers of one stored object lose each other's voxels without an error, so a write is always a
union of whole stored objects, in one call. A read may leave the volume: what lies outside is
filled by index, which makes every tile a crop of the padded whole.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from neuroconn.errors import StorageError, VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.axes import VolumeArray, triple
from neuroconn.volume.checked_reads import CheckedReads, read_ahead
from neuroconn.volume.stored import planned_reads, remove_stored, store_of, stored_key, stored_name

Pad: TypeAlias = Literal["reflect", "symmetric", "edge", "constant"]


def stored_grid(array: VolumeArray) -> ChunkGrid:
    """Return the grid of stored objects: shards, or chunks where there are no shards."""
    return ChunkGrid(triple(array.shape), triple(array.shards or array.chunks))


def write_region(array: zarr.Array[Any], box: Box, data: NDArray[Any]) -> None:
    """Write whole stored objects; the only place in neuroconn that writes chunks.

    Parameters
    ----------
    array : zarr.Array, shape (z, y, x)
        Where to write.
    box : Box
        A union of whole shards (whole chunks if unsharded), clipped to the array.
    data : ndarray, shape of ``box``, dtype of ``array``
        The voxels. An object whose voxels all equal the fill value is not stored.

    Raises
    ------
    ValueError
        If the box would write a part of a stored object, or data does not fit it.
    StorageError
        If the storage is full or refuses.
    """
    _check_write(array, box, data)
    try:
        _write(array, box, data)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else str(error)
        advice = "free some space and run the same command again"
        raise StorageError(
            f"cannot write {box} to {array.store_path}: {reason}; {advice}"
        ) from error


def _write(array: zarr.Array[Any], box: Box, data: NDArray[Any]) -> None:
    try:
        array[box.slices] = data
    except OSError:
        raise
    except (ValueError, RuntimeError):
        # zarr reads a shard before it writes it whole, and cannot if it is damaged.
        remove_stored(array, *stored_grid(array).overlapping(box))
        array[box.slices] = data


def read_region(
    array: VolumeArray, box: Box, *, pad: Pad | None = None, fill: float | None = None
) -> NDArray[Any]:
    """Read a box that may leave the volume.

    Parameters
    ----------
    array : zarr.Array or view of one, shape (z, y, x)
        What to read.
    box : Box
        Voxels wanted.
    pad : {"reflect", "symmetric", "edge", "constant"}, optional
        What stands outside the volume, as in ``numpy.pad``; a halo may be wider than the volume.
    fill : float, optional
        Value outside for ``pad="constant"``, which it implies; the array's fill value if not given.

    Returns
    -------
    ndarray, shape of ``box``, dtype of ``array``
        Equal to a crop of ``numpy.pad`` of the whole volume.

    Raises
    ------
    ValueError
        If the box leaves the volume and nothing says what is there.
    VolumeError
        If a stored object is empty or fails its checksum.
    """
    bounds = Box.of_shape(triple(array.shape))
    if pad is None and fill is None:
        if not bounds.contains(box):
            raise ValueError(
                f"{box} leaves the volume of shape {array.shape}; say what to pad with"
            )
        return _read_inside(array, box)
    pad = pad or "constant"
    shape = triple(array.shape)
    source = source_box(shape, box, pad)
    data = _read_inside(array, source) if source.size else np.empty((0, 0, 0), array.dtype)
    return pad_block(data, shape, box, pad, array.fill_value if fill is None else fill)


def padded_indices(start: int, stop: int, size: int, pad: Pad | None) -> NDArray[np.intp]:
    """Return the voxel inside ``range(size)`` that stands for each position of ``start:stop``.

    Examples
    --------
    >>> padded_indices(-3, 5, 3, "reflect")
    array([1, 2, 1, 0, 1, 2, 1, 0])
    >>> padded_indices(-3, 5, 3, "symmetric")
    array([2, 1, 0, 0, 1, 2, 2, 1])
    """
    at = np.arange(start, stop, dtype=np.intp)
    if pad == "edge" or (pad == "reflect" and size == 1):
        return np.clip(at, 0, size - 1)
    if pad == "reflect":
        at = np.abs(at) % (2 * size - 2)
        return np.minimum(at, 2 * size - 2 - at)
    if pad == "symmetric":
        at = at % (2 * size)
        return np.minimum(at, 2 * size - 1 - at)
    raise ValueError(f"pad must be reflect, symmetric, edge or constant, got {pad!r}")


def stored_object(array: VolumeArray, index: ZYX) -> Path | None:
    """Return the file of a stored object (it may be absent), or None if the store is not local."""
    store = store_of(array)
    return Path(store.root, stored_key(array, index)) if isinstance(store, LocalStore) else None


def _check_write(array: zarr.Array[Any], box: Box, data: NDArray[Any]) -> None:
    grid = stored_grid(array)
    ends = zip(box.start, box.stop, grid.chunk, grid.shape, strict=True)
    whole = all(a % n == 0 and (b % n == 0 or b == size) for a, b, n, size in ends)
    if not whole or not box.size or not grid.bounds.contains(box):
        raise ValueError(
            f"{box} is not a union of whole stored objects of {grid.chunk} voxels in a volume of "
            f"{grid.shape}: a part of one would be lost to whoever writes the rest"
        )
    if data.shape != box.shape or data.dtype != array.dtype:
        raise ValueError(
            f"data of {data.shape} {data.dtype} does not fit {box} of a {array.dtype} array"
        )


def source_box(shape: ZYX, box: Box, pad: Pad) -> Box:
    """Return the voxels of a volume that a padded box is made of; empty if it takes none.

    Examples
    --------
    >>> source_box((9, 9, 9), Box((-2, 0, 3), (4, 9, 5)), "reflect")
    Box(start=(0, 0, 3), stop=(4, 9, 5))
    """
    if pad == "constant":
        return box.clip(Box.of_shape(shape))
    indices = _mirrored(shape, box, pad)
    z0, y0, x0 = (int(i.min()) for i in indices)
    z1, y1, x1 = (int(i.max()) + 1 for i in indices)
    return Box((z0, y0, x0), (z1, y1, x1))


def pad_block(data: NDArray[Any], shape: ZYX, box: Box, pad: Pad, fill: float = 0) -> NDArray[Any]:
    """Pad the voxels of :func:`source_box` to the box they are for.

    Parameters
    ----------
    data : ndarray
        The voxels of ``source_box(shape, box, pad)``.
    shape : (z, y, x) ints
        Of the volume.
    box : Box
        Voxels wanted; may leave the volume.
    pad : {"reflect", "symmetric", "edge", "constant"}
        What stands outside.
    fill : float, optional
        Value outside for ``constant``.

    Returns
    -------
    ndarray, shape of ``box``
    """
    source = source_box(shape, box, pad)
    if source == box:
        return data
    if pad == "constant":
        padded = np.full(box.shape, fill, dtype=data.dtype)
        if source.size:
            padded[source.within(box)] = data
        return padded
    indices = zip(_mirrored(shape, box, pad), source.start, strict=True)
    z, y, x = (i - a for i, a in indices)
    return np.ascontiguousarray(data[np.ix_(z, y, x)])


def _mirrored(shape: ZYX, box: Box, pad: Pad) -> list[NDArray[np.intp]]:
    sides = zip(box.start, box.stop, shape, strict=True)
    return [padded_indices(a, b, n, pad) for a, b, n in sides]


def _read_inside(array: VolumeArray, box: Box) -> NDArray[Any]:
    for path in _local_objects(array, box):
        # zarr before 3.4 reads an empty shard as fill value, without a word.
        if path.is_file() and path.stat().st_size == 0:
            raise VolumeError(f"{path} is empty: the voxels of {box} are lost. Write them again")
    try:
        if isinstance(store_of(array), CheckedReads):
            # zarr asks for the parts of an object one after the other: far from a server, for ages.
            with read_ahead(*planned_reads(array, box)):
                return np.asarray(array[box.slices])
        return np.asarray(array[box.slices])
    except (ValueError, RuntimeError, OSError, EOFError) as error:
        local = isinstance(store_of(array), LocalStore)
        named = (stored_name(array, index) for index in stored_grid(array).overlapping(box))
        where = ", ".join(name for name in named if not local or Path(name).is_file())
        raise VolumeError(
            f"cannot decode the voxels of {box}: {error}. Damaged: one of {where or 'its chunks'}"
        ) from error


def _local_objects(array: VolumeArray, box: Box) -> Iterator[Path]:
    for index in stored_grid(array).overlapping(box):
        path = stored_object(array, index)
        if path is not None:
            yield path
