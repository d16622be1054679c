"""Stored objects of an array, in a folder or on an object store: which are there, how large."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from zarr.storage import LocalStore

from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.axes import VolumeArray, triple
from neuroconn.volume.object_store import ZarrObjects

LARGEST_WHOLE = 1 << 32
"""Voxels in bytes of a stored object that is still fetched in one go."""


def zarr_array(array: VolumeArray) -> Any:
    """Return the zarr array behind a view of other axes or another engine."""
    return getattr(array, "stored", array)


def store_of(array: VolumeArray) -> Any:
    """Return the zarr store an array lies in."""
    return zarr_array(array).store_path.store


def stored_key(array: VolumeArray, index: ZYX) -> str:
    """Return the key of a stored object in its store, without what the store starts with."""
    stored = zarr_array(array)
    at = array.stored_index(index) if hasattr(array, "stored_index") else index
    key = stored.metadata.encode_chunk_key(at)
    return f"{stored.path}/{key}" if stored.path else str(key)


def stored_name(array: VolumeArray, index: ZYX) -> str:
    """Return where a stored object is, for people."""
    store = store_of(array)
    root = store.root if isinstance(store, LocalStore) else getattr(store, "at", store)
    return f"{root}/{stored_key(array, index)}"


def stored_size(array: VolumeArray, index: ZYX) -> int | None:
    """Return the size of a stored object in bytes, None if it is absent.

    Raises
    ------
    StorageError
        If an object store does not say.
    """
    store, key = store_of(array), stored_key(array, index)
    if isinstance(store, ZarrObjects):
        return store.objects.size(key)
    try:
        return int((store.root / key).stat().st_size)
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove_stored(array: VolumeArray, *indices: ZYX) -> None:
    """Remove stored objects; those that are absent do not matter.

    Raises
    ------
    StorageError
        If an object store refuses.
    """
    store, keys = store_of(array), [stored_key(array, index) for index in indices]
    if isinstance(store, ZarrObjects):
        store.objects.delete(*keys)
        return
    for key in keys:
        (store.root / key).unlink(missing_ok=True)


def stored_indices(array: VolumeArray, grid: ChunkGrid) -> Iterator[ZYX]:
    """Yield the chunks of a grid that have a stored object; of arrays stored as (z, y, x).

    Raises
    ------
    StorageError
        If an object store cannot be listed.
    """
    # What follows the key of one object up to its three numbers is the same for all.
    start = stored_key(array, (0, 0, 0)).removesuffix("0/0/0")
    for key in _keys(store_of(array), start):
        parts = key.removeprefix(start).split("/")
        if len(parts) == 3 and all(part.isdecimal() for part in parts):
            index = (int(parts[0]), int(parts[1]), int(parts[2]))
            if index in grid:
                yield index


def planned_reads(array: VolumeArray, box: Box) -> tuple[list[str], dict[str, list[int]]]:
    """Plan how to read a box from far away.

    Parameters
    ----------
    array : zarr.Array or view of one, shape (z, y, x)
        What is read.
    box : Box
        Voxels wanted, inside the array.

    Returns
    -------
    list of str
        Keys of the shards of which half the chunks or more are needed, though maybe not all.
    dict of str to list of int
        Of the other shards, the chunks that are needed by their number in C order.
    """
    whole: list[str] = []
    parts: dict[str, list[int]] = {}
    if array.shards is None:
        return whole, parts
    grid = ChunkGrid(triple(array.shape), triple(array.shards))
    turned = hasattr(array, "stored_index")  # in other axes, chunks have other numbers
    for index in grid.overlapping(box):
        core, key = grid.core(index), stored_key(array, index)
        needed, held = (_chunks(part, core, array.chunks) for part in (box.clip(core), core))
        if 2 * _count(needed) >= _count(held):
            if core.size * array.dtype.itemsize <= LARGEST_WHOLE:
                whole.append(key)
        elif not turned:
            sides = [n // m for n, m in zip(array.shards, array.chunks, strict=True)]
            parts[key] = [(z * sides[1] + y) * sides[2] + x for z, y, x in product(*needed)]
    return whole, parts


def _chunks(part: Box, core: Box, chunks: tuple[int, ...]) -> list[range]:
    """Chunks of a shard that a part of it touches, along each axis, counted from its first."""
    spans = zip(part.start, part.stop, core.start, chunks, strict=True)
    return [range((a - c) // n, -(-(b - c) // n)) for a, b, c, n in spans]


def _count(ranges: list[range]) -> int:
    return prod(map(len, ranges))


def _keys(store: Any, start: str) -> Iterator[str]:
    if isinstance(store, ZarrObjects):
        yield from (key for key, _ in store.objects.list(start))
        return
    for file in (store.root / start).rglob("*"):
        if file.is_file():
            yield file.relative_to(store.root).as_posix()
