"""How chunks are stored: blosc, the same in Zarr v3 and v2, and what is refused when read.

Blosc alone lets a flipped bit through, so in Zarr v3 each inner chunk ends in a crc32c, and so does
the index of each shard; nothing wraps the sharding codec itself. Zarr v2 has no checksum that every
reader knows: there only the conversion's journal can tell a flipped bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numcodecs
import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.ome import AXES

# Shards are encoded by several threads at once; blosc's one global pool would make them queue.
numcodecs.blosc.use_threads = False

Compression: TypeAlias = Literal["archive", "speed", "scratch"]
BLOSC: dict[Compression, tuple[Literal["zstd", "lz4"], int, Literal["shuffle", "bitshuffle"]]] = {
    "archive": ("zstd", 3, "shuffle"),
    "speed": ("zstd", 1, "shuffle"),
    "scratch": ("lz4", 5, "bitshuffle"),
}
"""Compressor, level and shuffle: small files, the usual, or for a disk that is emptied soon."""

_OBJECT_CODECS = {"pickle", "json2", "msgpack2", "vlen-utf8", "vlen-bytes", "vlen-array"}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the voxels of an image are stored, the same on every level."""

    dtype: np.dtype[Any]
    chunk: ZYX
    """Smallest unit that can be read."""
    shard: ZYX | None
    """Stored object, of whole chunks; None stores chunks. Zarr v2 has none."""
    fill_value: float
    """Value of what is not stored; chunks full of it take no space."""
    compression: Compression = "archive"

    def __post_init__(self) -> None:
        if self.compression not in BLOSC:
            raise ValueError(
                f"compression {self.compression!r} is not known; choose {', '.join(BLOSC)}"
            )
        if self.shard and any(b % a for a, b in zip(self.chunk, self.shard, strict=True)):
            raise ValueError(
                f"a shard of {self.shard} voxels does not hold whole chunks of {self.chunk}"
            )


def create_array(
    group: zarr.Group, name: str, shape: ZYX, layout: Layout, attributes: dict[str, Any]
) -> None:
    """Create the (z, y, x) array of one level in the Zarr format of its group."""
    options = _format_2(layout) if group.metadata.zarr_format == 2 else _format_3(layout)
    if group.metadata.zarr_format == 2:
        attributes = {"_ARRAY_DIMENSIONS": list(AXES), **attributes}
    group.create_array(
        name,
        shape=shape,
        dtype=layout.dtype,
        chunks=layout.chunk,
        filters=None,
        fill_value=layout.fill_value,
        attributes=attributes,
        **options,
    )


def packed_bytes(voxels: NDArray[Any], chunk: int, compression: Compression = "archive") -> int:
    """Bytes that voxels take when they are stored in chunks of a side, index and checksums aside.

    Examples
    --------
    >>> packed_bytes(np.zeros((64, 64, 64), np.uint8), 32) < 1000
    True
    """
    name, level, shuffle = BLOSC[compression]
    modes = {"shuffle": numcodecs.Blosc.SHUFFLE, "bitshuffle": numcodecs.Blosc.BITSHUFFLE}
    codec = numcodecs.Blosc(cname=name, clevel=level, shuffle=modes[shuffle])
    z, y, x = voxels.shape
    pieces = Box.of_shape((z, y, x)).split((chunk, chunk, chunk))
    return sum(len(codec.encode(np.ascontiguousarray(voxels[p.slices]))) for p in pieces)


def check_decoding(array: zarr.Array[Any]) -> None:
    """Refuse voxels that are not numbers, and the codecs of Python objects, which can run code.

    Raises
    ------
    VolumeError
        If decoding a chunk would make objects rather than numbers.
    """
    if np.dtype(array.dtype).kind not in "biuf":
        raise VolumeError(f"array {array.path!r} holds {array.dtype}, not integers or real numbers")
    if array.metadata.zarr_format == 2:
        codecs = [*(array.metadata.filters or ()), array.metadata.compressor]
        named = {str(codec.codec_id) for codec in codecs if codec is not None}
        if found := sorted(named & _OBJECT_CODECS):
            raise VolumeError(
                f"array {array.path!r} is encoded by {found[0]}, which makes Python objects and "
                "may run code; no brain needs it"
            )


def _format_3(layout: Layout) -> dict[str, Any]:
    name, level, shuffle = BLOSC[layout.compression]
    blosc = BloscCodec(typesize=layout.dtype.itemsize, cname=name, clevel=level, shuffle=shuffle)
    return {
        "shards": layout.shard,
        "serializer": BytesCodec(endian="little"),
        "compressors": [blosc, Crc32cCodec()],
        "dimension_names": AXES,
    }


def _format_2(layout: Layout) -> dict[str, Any]:
    # The metadata of Zarr v2 have no place for a typesize: blosc takes it from the voxels' type.
    name, level, shuffle = BLOSC[layout.compression]
    kind = {"shuffle": numcodecs.Blosc.SHUFFLE, "bitshuffle": numcodecs.Blosc.BITSHUFFLE}[shuffle]
    return {
        "compressors": numcodecs.Blosc(cname=name, clevel=level, shuffle=kind),
        "chunk_key_encoding": {"name": "v2", "separator": "/"},
    }
