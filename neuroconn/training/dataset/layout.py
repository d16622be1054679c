"""A dataset on disk: one Zarr v3 group, an array for each thing a crop has.

========================  =================  =======================================================
array                     shape              what
========================  =================  =======================================================
``image``                 (n, z, y, x)       grey levels as the brain has them
``centreline``            (n, z, y, x)       true on the voxels a neurite passes through
``distance``              (n, z, y, x)       square of the distance to it in voxels; see `squares`
``brain``                 (n,)               number of the brain, in the attributes
``start``                 (n, 3)             first voxel in its brain, z, y, x
``voxels``                (n,)               neurite voxels
``split``                 (n,)               0 train, 1 validation, 2 test
``nodes``, ``radii``      (m, 3), (m,)       nodes of the annotation near each crop, in its voxels
``edges``                 (k, 2)             pairs of nodes, counted from the crop's first node
``node_offset``           (n + 1,)           crop i has nodes ``node_offset[i]:node_offset[i + 1]``
``edge_offset``           (n + 1,)           and edges ``edge_offset[i]:edge_offset[i + 1]``
========================  =================  =======================================================

A crop is one chunk of the three volumes, so that it is one read of each; chunks are packed into
shards of some 64 MB, and carry a checksum.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.storage import LocalStore

from neuroconn.errors import StorageError
from neuroconn.training.dataset.plan import Plan
from neuroconn.training.dataset.squares import code_type
from neuroconn.volume.codecs import BLOSC, Compression

SCHEMA = 1
KIND = "crops"
VOLUMES = ("image", "centreline", "distance")
FIGURES = "figures"

_SHARD_BYTES = 1 << 26
_ROWS = 1 << 14
"""Rows of a chunk of the arrays without voxels."""


def crops_per_shard(size: int, itemsize: int) -> int:
    """Crops stored in one file of the image.

    Examples
    --------
    >>> crops_per_shard(128, 2), crops_per_shard(96, 2), crops_per_shard(512, 2)
    (16, 37, 1)
    """
    return max(1, _SHARD_BYTES // (size**3 * itemsize))


def create_arrays(
    group: zarr.Group,
    plan: Plan,
    dtype: np.dtype[Any],
    *,
    clip: float,
    nodes: int,
    edges: int,
    compression: Compression,
) -> None:
    """Create every array of a dataset, empty."""
    count, side = len(plan), (plan.size,) * 3
    together = min(crops_per_shard(plan.size, dtype.itemsize), max(count, 1))
    kinds = {"image": dtype, "centreline": np.dtype(bool), "distance": code_type(clip)}
    for name in VOLUMES:
        _create(
            group, name, (count, *side), kinds[name],
            (1, *side), (together, *side), ("crop", "z", "y", "x"), compression,
        )  # fmt: skip
    rows: dict[str, tuple[tuple[int, ...], str]] = {
        "brain": ((count,), "uint16"),
        "start": ((count, 3), "int64"),
        "voxels": ((count,), "int64"),
        "split": ((count,), "uint8"),
        "nodes": ((nodes, 3), "float64"),
        "radii": ((nodes,), "float64"),
        "edges": ((edges, 2), "int64"),
        "node_offset": ((count + 1,), "int64"),
        "edge_offset": ((count + 1,), "int64"),
    }
    for name, (shape, kind) in rows.items():
        chunk = (_ROWS, *shape[1:])
        shard = (64 * _ROWS, *shape[1:])
        _create(group, name, shape, np.dtype(kind), chunk, shard, None, compression)


def write_rows(array: zarr.Array[Any], first: int, data: NDArray[Any]) -> None:
    """Write whole stored objects of an array, from row ``first`` on.

    Raises
    ------
    ValueError
        If a part of a stored object would be written, or the data does not fit.
    StorageError
        If the storage is full or refuses.
    """
    per = (array.shards or array.chunks)[0]
    last = first + len(data)
    if first % per or (last % per and last != array.shape[0]) or data.dtype != array.dtype:
        raise ValueError(
            f"rows {first} to {last} of {data.dtype} are not whole stored objects of {per} rows of "
            f"{array.dtype} in an array of {array.shape[0]}"
        )
    with storing(f"rows {first} to {last} of {array.store_path}"):
        try:
            array[first:last] = data
        except (ValueError, RuntimeError):
            # zarr reads a shard before it writes one that is not full, and cannot if it is damaged.
            store = array.store_path.store
            assert isinstance(store, LocalStore)
            stored_file(array, store.root, first // per).unlink()
            array[first:last] = data


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn what the storage refuses into an error that says how to go on."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else str(error)
        raise StorageError(
            f"cannot write {what}: {reason}; free some space and run the same command again"
        ) from error


def own_block(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what neuroconn noted in the attributes of a group, if it is a dataset of ours."""
    block = attributes.get("neuroconn")
    ours = isinstance(block, Mapping) and block.get("kind") == KIND
    return dict(block) if ours and block is not None else None


def stored_file(array: zarr.Array[Any], folder: Path, number: int) -> Path:
    """Return the file of the stored object with the given number along the rows."""
    key = array.metadata.encode_chunk_key((number, *(0,) * (array.ndim - 1)))
    return folder / array.path / key


def stored_files(array: zarr.Array[Any], folder: Path) -> Iterator[Path]:
    """Files that a whole array has in a folder."""
    per = (array.shards or array.chunks)[0]
    return (stored_file(array, folder, n) for n in range(-(-array.shape[0] // per)))


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...],
    shards: tuple[int, ...],
    dimensions: tuple[str, ...] | None,
    compression: Compression,
) -> None:
    codec, level, shuffle = BLOSC[compression]
    blosc = BloscCodec(typesize=dtype.itemsize, cname=codec, clevel=level, shuffle=shuffle)
    group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        fill_value=0,
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[blosc, Crc32cCodec()],
        dimension_names=dimensions or ("row", "axis")[: len(shape)],
        # What is not there would read as zeros, without a word.
        config={"write_empty_chunks": True},
    )
