"""How chunks are stored: blosc-zstd with a checksum that any Zarr v3 reader verifies.

Blosc alone lets a flipped bit through, so each inner chunk ends in a crc32c, and so does the index
of each shard. Nothing wraps the sharding codec itself.
"""

from __future__ import annotations

from typing import Any

import numcodecs.blosc
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from neuroconn.geometry import ZYX

# Shards are encoded by several threads at once; blosc's one global pool would make them queue.
numcodecs.blosc.use_threads = False


def create_array(
    group: zarr.Group,
    name: str,
    shape: ZYX,
    dtype: np.dtype[Any],
    *,
    chunk: ZYX,
    shard: ZYX | None,
    fill_value: float,
    attributes: dict[str, Any],
) -> None:
    """Create the (z, y, x) array of one level; chunks equal to ``fill_value`` take no space."""
    group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunk,
        shards=shard,
        serializer=BytesCodec(endian="little"),
        compressors=[
            BloscCodec(typesize=dtype.itemsize, cname="zstd", clevel=3, shuffle="shuffle"),
            Crc32cCodec(),
        ],
        filters=None,
        fill_value=fill_value,
        dimension_names=("z", "y", "x"),
        attributes=attributes,
    )
