"""What is wrong with an array of an HDF5 file, found before a voxel of it is decoded."""

from __future__ import annotations

import importlib
import math
from typing import Any

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.hdf5.file import h5py_module

MAX_CHUNK_BYTES = 4 * 2**30
MAX_BYTES = 2**60
SPARSEST = 1000
"""An array with fewer than one chunk in so many stored is damaged rather than sparse."""

_FILTERS = {
    4: "SZIP", 5: "N-bit", 6: "scale-offset", 307: "BZIP2", 32000: "LZF", 32001: "Blosc",
    32004: "LZ4", 32008: "Bitshuffle", 32013: "ZFP", 32015: "Zstandard", 32016: "FCIDECOMP",
    32017: "SZ", 32026: "Blosc2", 32029: "HTJ2K",
}  # fmt: skip


def check_place(dataset: Any, where: str) -> None:
    """Refuse what is no array, or keeps its voxels in other files."""
    if not isinstance(dataset, h5py_module().Dataset):
        raise VolumeError(f"{where} is no array but a {type(dataset).__name__.lower()}")
    if dataset.is_virtual or dataset.external:
        kind = "a virtual dataset" if dataset.is_virtual else "stored outside the file"
        raise VolumeError(
            f"{where} is {kind}: its voxels lie in other files, which are not followed. "
            "Convert those, or save all in one (h5repack)"
        )


def checked_shape(shape: Any, itemsize: int, where: str) -> tuple[int, ...]:
    """Return the shape; refuse one without voxels, or beyond any disk."""
    if not shape or 0 in shape:
        raise VolumeError(f"{where} has shape {shape}, that is no voxel; name another dataset")
    if math.prod(shape) * itemsize > MAX_BYTES:
        raise VolumeError(f"{where} has shape {shape}, more than any disk holds; it is damaged")
    return tuple(int(n) for n in shape)


def checked_filters(dataset: Any, where: str) -> tuple[int, ...]:
    """Return the codes of the filters; a plugin is loaded where one is needed."""
    h5z = h5py_module().h5z
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(k) for k in range(plist.get_nfilters())]
    for code, _, _, name in filters:
        if h5z.filter_avail(code) or (_registered_plugins() and h5z.filter_avail(code)):
            continue
        given = name.decode("ascii", "replace").split(";")[0].strip("\0 ")
        raise VolumeError(
            f"{where} is compressed with {_FILTERS.get(code, given) or 'an unnamed filter'} "
            f"(HDF5 filter {code}), which is not installed; pip install hdf5plugin"
        )
    return tuple(int(code) for code, *_ in filters)


def _registered_plugins() -> bool:
    try:
        importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    return True


def absent_chunks(dataset: Any, shape: tuple[int, ...], file_bytes: int, where: str) -> int:
    """Count chunks that were never written; refuse an array that is all but empty, or too short.

    Parameters
    ----------
    dataset : h5py.Dataset
        The array.
    shape : tuple of ints
        Its shape, checked.
    file_bytes : int
        How large its file is.
    where : str
        What it is called in messages.
    """
    itemsize, stored = dataset.dtype.itemsize, int(dataset.id.get_storage_size())
    if dataset.chunks is None:
        size = math.prod(shape) * itemsize
        end = (dataset.id.get_offset() or 0) + stored
        if stored != size or end > file_bytes:
            raise VolumeError(
                f"{where} should hold {size} bytes and {stored} are stored; the file is damaged "
                "or was never finished. Copy it again"
            )
        return 0
    if math.prod(dataset.chunks) * itemsize > MAX_CHUNK_BYTES:
        raise VolumeError(
            f"{where} has chunks of {dataset.chunks}, more than 4 GiB each; it is damaged, or has "
            "to be rechunked before anybody can read it"
        )
    chunks = math.prod(-(-n // c) for n, c in zip(shape, dataset.chunks, strict=True))
    written = int(dataset.id.get_num_chunks()) if stored else 0
    if written * SPARSEST < chunks:
        raise VolumeError(
            f"{where} is {shape} and holds {written} of {chunks} chunks; it was never written, or "
            "is damaged. Copy it again"
        )
    return int(max(0, chunks - written))
