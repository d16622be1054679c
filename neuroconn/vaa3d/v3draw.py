"""v3draw, Vaa3D's plain stack: a 43-byte header and the voxels, x fastest, channel slowest."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.vaa3d.files import publish, storage_errors

MAGIC = b"raw_image_stack_by_hpeng"
_KINDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.float32}
_SIZES = "h4i"

CZYX = tuple[int, int, int, int]


def header(shape: CZYX, dtype: DTypeLike) -> bytes:
    """Return the 43 bytes before the voxels of a (c, z, y, x) stack.

    Raises
    ------
    UsageError
        If the dtype is not uint8, uint16 or float32, or a side does not fit 31 bits.

    Examples
    --------
    >>> header((1, 2, 3, 4), np.uint16)[24:].hex()
    '4c020004000000030000000200000001000000'
    """
    kind = np.dtype(dtype)
    if kind not in [np.dtype(k) for k in _KINDS.values()]:
        raise UsageError(f"v3draw holds uint8, uint16 or float32, not {kind}")
    if min(shape) < 1 or max(shape) >= 2**31:
        raise UsageError(f"v3draw cannot hold a (c, z, y, x) shape of {shape}")
    return MAGIC + b"L" + struct.pack("<" + _SIZES, kind.itemsize, *reversed(shape))


def write_v3draw(path: Path, slabs: Iterable[ArrayLike], shape: CZYX, dtype: DTypeLike) -> None:
    """Write a stack slab by slab; the file appears under its name when it is whole.

    Parameters
    ----------
    path : Path
        Usually ``*.v3draw``.
    slabs : iterable of ndarray, shape (c, dz, y, x)
        Consecutive along z, each of any depth; one is in memory at a time.
    shape : (c, z, y, x) ints
        Of the whole stack.
    dtype : uint8, uint16 or float32

    Raises
    ------
    UsageError
        If the dtype cannot be stored.
    ValueError
        If the slabs do not fill the stack exactly: Vaa3D rejects a file of another size.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    head = header(shape, dtype)
    channels, depth, *plane = shape
    page = int(np.prod(plane, dtype=np.int64)) * kind.itemsize
    temporary = path.with_name(f".{path.name}.partial")
    with storage_errors(path):
        with temporary.open("wb") as handle:
            handle.write(head)
            z = 0
            for slab in slabs:
                values = np.asarray(slab, dtype=kind)
                _check_slab(values.shape, shape, z)
                for c in range(channels):
                    handle.seek(len(head) + (c * depth + z) * page)
                    handle.write(np.ascontiguousarray(values[c]).data)
                z += values.shape[1]
            if z != depth:
                raise ValueError(f"slabs ended at plane {z} of {depth}")
        publish(temporary, path)


def open_v3draw(path: Path) -> NDArray[Any]:
    """Map a stack into memory, read-only.

    Returns
    -------
    memmap of uint8, uint16 or float32, shape (c, z, y, x)

    Raises
    ------
    VolumeError
        If the header is not v3draw's or the file has another size than it announces.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            head = handle.read(43)
    except OSError as error:
        raise VolumeError(f"cannot read {path}: {error.strerror}") from None
    order = {b"L": "<", b"B": ">"}.get(head[24:25])
    if len(head) < 43 or head[:24] != MAGIC or order is None:
        raise VolumeError(f"{path} does not begin like a v3draw stack")
    itemsize, x, y, z, c = struct.unpack(order + _SIZES, head[25:])
    if itemsize not in _KINDS or min(x, y, z, c) < 1:
        raise VolumeError(f"{path}: impossible header, {itemsize} bytes a voxel, {(c, z, y, x)}")
    if size != 43 + itemsize * c * z * y * x:
        raise VolumeError(
            f"{path} has {size} bytes where {itemsize}-byte voxels of (c, z, y, x) = "
            f"{(c, z, y, x)} need {43 + itemsize * c * z * y * x}: it is cut off or of an old kind"
        )
    kind = np.dtype(_KINDS[itemsize]).newbyteorder(order)
    return np.memmap(path, dtype=kind, mode="r", offset=43, shape=(c, z, y, x))


def _check_slab(slab: tuple[int, ...], shape: CZYX, z: int) -> None:
    fits = len(slab) == 4 and (slab[0], *slab[2:]) == (shape[0], *shape[2:])
    if not fits or z + slab[1] > shape[1]:
        raise ValueError(f"a slab of shape {slab} at plane {z} does not fit a stack of {shape}")
