"""v3draw, Vaa3D's plain stack: a 43-byte header and the voxels, x fastest, channel slowest."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d.appearing import appearing

MAGIC = b"raw_image_stack_by_hpeng"
_KINDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.float32}
_SIZES = "h4i"
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"L": "<", b"B": ">"}
HEADER = 43
"""Bytes before the voxels."""

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
    header(shape, dtype)
    with appearing(path) as temporary:
        write_boxes(temporary, _placed(slabs, shape), shape, dtype)


def write_boxes(
    path: Path, boxes: Iterable[tuple[Box, NDArray[Any]]], shape: CZYX, dtype: DTypeLike
) -> None:
    """Write a stack box by box, in any order, straight to ``path``.

    Parameters
    ----------
    path : Path
        Overwritten; half a stack until the last box is there.
    boxes : iterable of (Box, ndarray of shape (c, z, y, x))
        They fill the stack without overlap; one is in memory at a time.
    shape : (c, z, y, x) ints
        Of the whole stack.
    dtype : uint8, uint16 or float32

    Raises
    ------
    ValueError
        If the boxes do not fill the stack.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    missing = math.prod(shape[1:])
    with path.open("wb") as handle:
        handle.write(header(shape, dtype))
        for box, values in boxes:
            if values.shape != (shape[0], *box.shape):
                raise ValueError(f"voxels of shape {values.shape} do not fill {box} of {shape}")
            _write_box(handle, box, np.asarray(values, dtype=kind), shape)
            missing -= box.size
    if missing:
        raise ValueError(f"slabs or boxes ended {missing} voxels short of a stack of {shape}")


def _write_box(handle: BinaryIO, box: Box, values: NDArray[Any], shape: CZYX) -> None:
    """Write each run of voxels that is consecutive in the file: a plane's rows, or a row."""
    _, depth, height, width = shape
    whole_rows = box.shape[2] == width
    rows = range(box.start[1], box.start[1] + 1) if whole_rows else range(box.start[1], box.stop[1])
    for c, z in product(range(shape[0]), range(box.start[0], box.stop[0])):
        for y in rows:
            plane = values[c, z - box.start[0]]
            run = plane if whole_rows else plane[y - box.start[1]]
            place = ((c * depth + z) * height + y) * width + box.start[2]
            handle.seek(HEADER + place * values.itemsize)
            handle.write(np.ascontiguousarray(run).data)


def _placed(slabs: Iterable[ArrayLike], shape: CZYX) -> Iterator[tuple[Box, NDArray[Any]]]:
    z = 0
    for slab in slabs:
        values = np.asarray(slab)
        fits = values.ndim == 4 and (values.shape[0], *values.shape[2:]) == (shape[0], *shape[2:])
        if not fits or z + values.shape[1] > shape[1]:
            raise ValueError(f"a slab of {values.shape} at plane {z} does not fit a stack {shape}")
        yield Box((z, 0, 0), (z + values.shape[1], *shape[2:])), values
        z += values.shape[1]


@dataclass(frozen=True, slots=True)
class StackHeader:
    """What the first 43 bytes of a stack say."""

    shape: CZYX
    kind: int
    """Bytes per voxel in v3draw, another code in v3dpbd."""
    order: Literal["<", ">"]
    size: int
    """Bytes of the whole file, header included."""


def read_header(path: Path, magic: bytes = MAGIC) -> StackHeader:
    """Read the header that v3draw and v3dpbd share.

    Raises
    ------
    VolumeError
        If the file is unreadable, begins otherwise, or has a side below 1.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            head = handle.read(HEADER)
    except OSError as error:
        raise VolumeError(f"cannot read {path}: {error.strerror}") from None
    order = _ORDERS.get(head[24:25])
    if len(head) < HEADER or head[:24] != magic or order is None:
        name = "v3draw" if magic == MAGIC else "v3dpbd"
        raise VolumeError(f"{path} does not begin like a {name} stack")
    kind, x, y, z, c = struct.unpack(order + _SIZES, head[25:])
    old = struct.unpack_from(f"{order}4h", head, 27)
    if magic == MAGIC and min(old) > 0 and size == 35 + kind * math.prod(old):
        raise VolumeError(
            f"{path} is of the old v3draw kind with 16-bit sizes, which is not read: "
            "open it in Vaa3D and save it again"
        )
    if min(x, y, z, c) < 1:
        raise VolumeError(f"{path}: impossible header, a (c, z, y, x) shape of {(c, z, y, x)}")
    return StackHeader((c, z, y, x), kind, order, size)


def v3draw_layout(path: Path) -> tuple[CZYX, np.dtype[Any]]:
    """Return the (c, z, y, x) shape and the dtype, byte order included; voxels are at byte 43.

    Raises
    ------
    VolumeError
        If the header is not v3draw's or the file has another size than it announces.
    """
    head = read_header(path)
    if head.kind not in _KINDS:
        raise VolumeError(
            f"{path}: impossible header, {head.kind} bytes a voxel; v3draw has 1, 2 or 4"
        )
    needed = HEADER + head.kind * math.prod(head.shape)
    if head.size != needed:
        raise VolumeError(
            f"{path} has {head.size} bytes where {head.kind}-byte voxels of (c, z, y, x) = "
            f"{head.shape} need {needed}: it is cut off or was edited. Copy it again"
        )
    return head.shape, np.dtype(_KINDS[head.kind]).newbyteorder(head.order)


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
    shape, kind = v3draw_layout(path)
    try:
        return np.memmap(path, dtype=kind, mode="r", offset=HEADER, shape=shape)
    except (OSError, ValueError) as error:
        raise VolumeError(f"cannot map {path} into memory: {error}") from error
