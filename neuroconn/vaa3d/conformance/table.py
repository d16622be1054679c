"""``mdata.bin`` taken apart a column at a time, and held against the rules.

This is no second reader of brains: it takes any bytes, says what they are, and never decides what
they should have been. It shares no code with the writer, so that it shares none of its faults.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from neuroconn.geometry import ZYX

NULL = "NULL.tif"
_HEADER = struct.Struct("<f3i9f3I2H")
_COLUMN = struct.Struct("<5I2i")
_LENGTH = struct.Struct("<H")
_BLOCK = struct.Struct("<Ii")
_BYTES = struct.Struct("<I")

Floats = tuple[float, float, float]


class TableFault(Exception):
    """Bytes that are not a table."""


class RawBlock(NamedTuple):
    """One z block as its bytes say."""

    name: str
    depth: int
    start: int

    @property
    def empty(self) -> bool:
        """Whether the block has no file; the reader looks for the word anywhere in the path."""
        return NULL in self.name


@dataclass(frozen=True, slots=True)
class RawHeader:
    """The first 68 bytes; sizes and places as (z, y, x), in voxels and µm."""

    version: float
    axes: tuple[int, ...]
    spacing_um: Floats
    again_um: Floats
    """The voxel size a second time."""
    origin_um: Floats
    shape: ZYX
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class RawColumn:
    """One column as its bytes say."""

    place: tuple[int, int]
    """Row and column in the grid."""
    shape: tuple[int, int]
    """Height and width."""
    depth: int
    start: tuple[int, int]
    """First y and x."""
    channels: int
    folder: str
    blocks: tuple[RawBlock, ...]
    itemsize: int


class RawTable:
    """The bytes of one ``mdata.bin``; columns are taken from them as they are asked for.

    Raises
    ------
    TableFault
        If there is not even a header.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.header = _header(data)

    def columns(self) -> Iterator[RawColumn]:
        """Take one column after another.

        Raises
        ------
        TableFault
            If the bytes end early, go on after the last column, or hold an impossible name.
        """
        at = _HEADER.size
        for row in range(self.header.rows):
            for column in range(self.header.columns):
                try:
                    found, at = _column(self._data, at, (row, column))
                except struct.error:
                    what = f"ends in column {column} of row {row}"
                    raise TableFault(f"{what}, after {len(self._data)} bytes") from None
                yield found
        if at != len(self._data):
            raise TableFault(f"has {len(self._data)} bytes where its columns need {at}")


def _header(data: bytes) -> RawHeader:
    if len(data) < _HEADER.size:
        raise TableFault(f"has {len(data)} bytes; its header alone has {_HEADER.size}")
    version, *rest = _HEADER.unpack_from(data)
    axes, again, spacing, origin_mm = rest[:3], rest[3:6], rest[6:9], rest[9:12]
    (y, x, z), (rows, columns) = rest[12:15], rest[15:]
    return RawHeader(
        version=version,
        axes=tuple(axes),
        spacing_um=_zyx(spacing),
        again_um=_zyx(again),
        origin_um=_zyx([1000 * mm for mm in origin_mm]),
        shape=(z, y, x),
        rows=rows,
        columns=columns,
    )


def _zyx(values: list[float]) -> Floats:
    """Turn y, x, z as stored into (z, y, x), to the seven digits that the file holds."""
    y, x, z = (float(f"{value:.7g}") for value in values)
    return z, y, x


def _column(data: bytes, at: int, place: tuple[int, int]) -> tuple[RawColumn, int]:
    height, width, depth, count, channels, y, x = _COLUMN.unpack_from(data, at)
    folder, at = _string(data, at + _COLUMN.size)
    blocks = []
    for _ in range(count):
        name, at = _string(data, at)
        slices, start = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        blocks.append(RawBlock(name, slices, start))
    (itemsize,) = _BYTES.unpack_from(data, at)
    found = RawColumn(
        place, (height, width), depth, (y, x), channels, folder, tuple(blocks), itemsize
    )
    return found, at + _BYTES.size


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(data, at)
    at += _LENGTH.size
    raw = data[at : at + length]
    if len(raw) < length:
        raise struct.error
    if raw[-1:] != b"\0" or b"\0" in raw[:-1]:
        raise TableFault(f"holds a name of {length} bytes at {at} that does not end with its NUL")
    return os.fsdecode(raw[:-1]), at + length
