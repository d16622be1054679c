"""``mdata.bin``: the table of tiles that TeraFly reads instead of opening every tile.

Little-endian and packed. A header (68 bytes), then every column of every row with its z blocks::

    header   version 2.0, axes 1 2 3, voxel size twice (um: y, x, z), origin (mm: y, x, z),
             size (voxels: y, x, z), rows, columns
    column   height, width, depth, number of blocks, channels, first y, first x,
             folder, blocks, bytes per voxel
    block    file name or NULL.tif, slices, first z

Strings carry a 16-bit length that counts their closing NUL.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box

NULL_TILE = "NULL.tif"
"""The name of a tile that is all zeros and has no file."""
FORMAT_NAME = "Vaa3D raw (tiled, 3D)"
"""The whole content of ``.iim.format``; no newline."""

_HEADER = struct.Struct("<f3i9f3I2H")
_COLUMN = struct.Struct("<5I2i")
_LENGTH = struct.Struct("<H")
_BLOCK = struct.Struct("<Ii")
_BYTES = struct.Struct("<I")
_VERSION = 2.0


@dataclass(frozen=True, slots=True)
class Block:
    """One tile: its file within the column's folder (None: all zeros) and its z range."""

    file: str | None
    start: int
    depth: int


@dataclass(frozen=True, slots=True)
class Column:
    """The tiles on top of each other at one (y, x) position."""

    folder: str
    start: tuple[int, int]
    """First y and x, in voxels of the level."""
    shape: tuple[int, int]
    """Height and width in voxels."""
    blocks: tuple[Block, ...]
    itemsize: int = 2
    """Bytes per voxel."""
    channels: int = 1

    def box(self, block: Block) -> Box:
        """Return the voxels one block of this column holds."""
        (y, x), (height, width) = self.start, self.shape
        return Box((block.start, y, x), (block.start + block.depth, y + height, x + width))


@dataclass(frozen=True, slots=True)
class TileTable:
    """Everything ``mdata.bin`` says about one level."""

    shape: ZYX
    spacing_um: tuple[float, float, float]
    origin_um: tuple[float, float, float]
    rows: tuple[tuple[Column, ...], ...]

    @property
    def dtype(self) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
        """Type of every voxel; readers take that of the first column for the whole volume."""
        return np.dtype(np.uint8) if self.rows[0][0].itemsize == 1 else np.dtype(np.uint16)


def encode(table: TileTable) -> bytes:
    """Return the bytes of ``mdata.bin``."""
    voxel = [table.spacing_um[axis] for axis in (1, 2, 0)]
    origin_mm = [table.origin_um[axis] / 1000 for axis in (1, 2, 0)]
    size = [table.shape[axis] for axis in (1, 2, 0)]
    counts = len(table.rows), len(table.rows[0])
    parts = [_HEADER.pack(_VERSION, 1, 2, 3, *voxel, *voxel, *origin_mm, *size, *counts)]
    for row in table.rows:
        for column in row:
            parts += _encode_column(column, table.shape[0])
    return b"".join(parts)


def decode(data: bytes, *, source: str = "mdata.bin") -> TileTable:
    """Read the bytes of ``mdata.bin``.

    Raises
    ------
    VolumeError
        If the bytes end early, go on after the last column, or hold impossible values.
    """
    try:
        table, end = _decode(data)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise VolumeError(
            f"{source} is damaged ({error}): import the volume again in TeraFly"
        ) from None
    if end != len(data):
        raise VolumeError(f"{source} has {len(data)} bytes where its tables need {end}")
    return table


def _encode_column(column: Column, depth: int) -> list[bytes]:
    head = _COLUMN.pack(
        *column.shape, depth, len(column.blocks), column.channels, column.start[0], column.start[1]
    )
    parts = [head, _string(column.folder)]
    for block in column.blocks:
        parts += [_string(block.file or NULL_TILE), _BLOCK.pack(block.depth, block.start)]
    return [*parts, _BYTES.pack(column.itemsize)]


def _string(text: str) -> bytes:
    data = text.encode("ascii") + b"\0"
    return _LENGTH.pack(len(data)) + data


class _Cursor:
    """Takes packed values one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        values = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return values

    def string(self) -> str:
        (length,) = self.take(_LENGTH)
        raw = self.data[self.at : self.at + length]
        if len(raw) < length:
            raise IndexError("a name is cut off")
        self.at += length
        return raw.rstrip(b"\0").decode("utf-8")


def _decode(data: bytes) -> tuple[TileTable, int]:
    cursor = _Cursor(data)
    head = cursor.take(_HEADER)
    if head[0] != _VERSION:
        raise IndexError(f"version {head[0]:g} instead of {_VERSION:g}")
    v, h, d = head[7:10]
    ov, oh, od = (1000 * mm for mm in head[10:13])
    ny, nx, nz = head[13:16]
    n_rows, n_columns = head[16:18]
    if min(n_rows, n_columns) < 1:
        raise IndexError(f"{n_rows} rows of {n_columns} columns")
    rows = tuple(tuple(_column(cursor) for _ in range(n_columns)) for _ in range(n_rows))
    return TileTable((nz, ny, nx), (d, v, h), (od, ov, oh), rows), cursor.at


def _column(cursor: _Cursor) -> Column:
    height, width, _, count, channels, y, x = cursor.take(_COLUMN)
    folder = cursor.string()
    blocks = []
    for _ in range(count):
        name = cursor.string()
        depth, start = cursor.take(_BLOCK)
        blocks.append(Block(None if NULL_TILE in name else name, start, depth))
    (itemsize,) = cursor.take(_BYTES)
    if itemsize not in (1, 2):
        raise IndexError(f"{itemsize} bytes per voxel")
    return Column(folder, (y, x), (height, width), tuple(blocks), itemsize, channels)
