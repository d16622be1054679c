"""One array of an HDF5 file, checked before it is read and read from many threads.

HDF5 has one lock for all of a process, and holds it while it decodes. So chunks that are stored
plain or deflated, with or without shuffle (all of Imaris and BigDataViewer), are only looked up
under that lock; reading and inflating them is done here, by as many threads as there are. What is
stored in another way, or does not come out as it should, is left to the library, which then reads
it or names the damage.
"""

from __future__ import annotations

import math
import os
import threading
import zlib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import check_numeric
from neuroconn.volume.sources.hdf5.checks import (
    absent_chunks,
    check_place,
    checked_filters,
    checked_shape,
)
from neuroconn.volume.sources.hdf5.file import follow, h5py_module, one_line, open_for_reading

CACHE_BYTES = 256 * 2**20
"""Decoded chunks the library may keep, where it decodes."""
_DEFLATE, _SHUFFLE = 1, 2


class _Open(NamedTuple):
    file: Any
    dataset: Any
    descriptor: int


class Hdf5Array:
    """An array inside an HDF5 file.

    Parameters
    ----------
    path : path
        The file.
    name : str
        Path of the array in it.
    dataset : h5py.Dataset
        The array, for its metadata; it is not kept.

    Raises
    ------
    VolumeError
        If it is no array of numbers, lies outside the file, has an impossible shape, or needs a
        filter that is not installed.

    Notes
    -----
    Any thread may read. The file is opened at the first read and stays open; a lock lets one
    thread open it, and h5py's own lock guards the rest. A pickle carries no open file: every
    process opens its own.
    """

    _opened: _Open | None
    _lock: threading.Lock

    def __init__(self, path: Path, name: str, dataset: Any) -> None:
        self.path, self.name = path, name
        check_place(dataset, self.where)
        self.dtype: np.dtype[Any] = dataset.dtype
        check_numeric(self.dtype, self.where)
        self.shape = checked_shape(dataset.shape, self.dtype.itemsize, self.where)
        self.chunks: tuple[int, ...] | None = dataset.chunks
        self.filters = checked_filters(dataset, self.where)
        self.stored = int(dataset.id.get_storage_size())
        self.absent = absent_chunks(dataset, self.shape, path.stat().st_size, self.where)
        self.sample = _sample(dataset, path)
        self._inflates = self._can_inflate(dataset)
        self._forget()

    @property
    def where(self) -> str:
        """The array and its file, for messages."""
        return f"{self.path}, dataset {self.name}"

    @property
    def facts(self) -> list[Any]:
        """What identifies the array, for a digest."""
        return [self.name, self.shape, self.dtype.str, self.chunks, self.filters, self.stored]

    @property
    def notes(self) -> tuple[str, ...]:
        """One line if chunks are absent: HDF5 reads them as a fill value, without a word."""
        if not self.absent:
            return ()
        return (f"{self.absent} chunks of {self.name} were never written; they read as fill value",)

    def read(self, start: Sequence[int], stop: Sequence[int]) -> NDArray[Any]:
        """Return the elements with ``start <= index < stop``, native byte order.

        Raises
        ------
        VolumeError
            If they cannot be decoded.
        """
        spans = ", ".join(f"{a}:{b}" for a, b in zip(start, stop, strict=True))
        with one_line(f"{self.where} [{spans}]"):
            voxels = self._read(start, stop)
        if voxels.shape != tuple(b - a for a, b in zip(start, stop, strict=True)):
            raise VolumeError(f"{self.where} [{spans}] came out as {voxels.shape}; it is damaged")
        return voxels.astype(self.dtype.newbyteorder("="), copy=False)

    def _read(self, start: Sequence[int], stop: Sequence[int]) -> NDArray[Any]:
        handle = self._handle()
        if not self._inflates or self.chunks is None:
            return self._by_library(handle, start, stop)
        out = np.empty([b - a for a, b in zip(start, stop, strict=True)], self.dtype)
        touched = [
            range(a // n * n, b, n) for a, b, n in zip(start, stop, self.chunks, strict=True)
        ]
        for corner in product(*touched):
            low = [max(a, c) for a, c in zip(start, corner, strict=True)]
            high = [min(b, c + n) for b, c, n in zip(stop, corner, self.chunks, strict=True)]
            chunk = self._inflated(handle, corner)
            if chunk is None:
                part = self._by_library(handle, low, high)
            else:
                part = chunk[_slices(low, high, corner)]
            out[_slices(low, high, start)] = part
        return out

    def _by_library(self, handle: _Open, start: Sequence[int], stop: Sequence[int]) -> NDArray[Any]:
        voxels: NDArray[Any] = handle.dataset[_slices(start, stop, [0] * len(self.shape))]
        return voxels

    def _inflated(self, handle: _Open, corner: tuple[int, ...]) -> NDArray[Any] | None:
        """Return the chunk at a corner; None if there is any doubt about it."""
        assert self.chunks is not None
        try:
            info = handle.dataset.id.get_chunk_info_by_coord(corner)
        except Exception:  # never written, or lost: the library knows which
            return None
        whole = math.prod(self.chunks) * self.dtype.itemsize
        if info.filter_mask or info.byte_offset is None or not 0 < info.size <= 2 * whole + 4096:
            return None
        data = os.pread(handle.descriptor, info.size, info.byte_offset)
        if len(data) != info.size:
            return None
        raw = _undeflated(data, whole) if _DEFLATE in self.filters else data
        if raw is None or len(raw) != whole:
            return None
        if _SHUFFLE in self.filters:
            raw = np.frombuffer(raw, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()
        return np.frombuffer(raw, self.dtype).reshape(self.chunks)

    def _can_inflate(self, dataset: Any) -> bool:
        """Whether chunks are stored in the simple ways, in bytes that NumPy knows."""
        known = self.chunks is not None and self.filters in (
            (),
            (_DEFLATE,),
            (_SHUFFLE,),
            (_SHUFFLE, _DEFLATE),
        )
        plain = dataset.id.get_type() == h5py_module().h5t.py_create(self.dtype)
        return known and bool(plain) and dataset.file.userblock_size == 0

    def _handle(self) -> _Open:
        with self._lock:
            if self._opened is None:
                self._opened = self._reopened()
            return self._opened

    def _reopened(self) -> _Open:
        file = open_for_reading(self.path, self._cache_bytes())
        dataset = follow(file, self.name, str(self.path))
        facts = (getattr(dataset, "shape", None), getattr(dataset, "dtype", None))
        if dataset is None or facts != (self.shape, self.dtype):
            file.close()
            raise VolumeError(f"{self.where} has changed since it was opened; start again")
        return _Open(file, dataset, int(file.id.get_vfd_handle()) if self._inflates else -1)

    def _cache_bytes(self) -> int:
        """Room for one layer of chunks, so that a band which ends inside it costs nothing."""
        if self.chunks is None or self._inflates:
            return 0
        across = zip(self.shape[1:], self.chunks[1:], strict=True)
        layer = math.prod(-(-n // c) for n, c in across) * math.prod(self.chunks)
        return min(CACHE_BYTES, layer * self.dtype.itemsize)

    def _forget(self) -> None:
        self._opened, self._lock = None, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_opened", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _slices(start: Sequence[int], stop: Sequence[int], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, origin, strict=True))


def _undeflated(data: bytes, size: int) -> bytes | None:
    """Inflate to at most ``size`` bytes; None if it is damaged, shorter or longer."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, size + 1)
    except zlib.error:
        return None
    # Without its end the checksum has not been compared.
    return raw if inflate.eof and len(raw) == size else None


def _sample(dataset: Any, path: Path) -> bytes:
    """Return a few stored bytes of the first and of the last chunk."""
    if dataset.chunks is None:
        places = [(dataset.id.get_offset() or 0, 4096)]
    else:
        count = dataset.id.get_num_chunks()
        infos = [dataset.id.get_chunk_info(k) for k in sorted({0, count - 1})]
        places = [(info.byte_offset, min(info.size, 4096)) for info in infos]
    with path.open("rb") as file:
        return b"".join(os.pread(file.fileno(), size, at) for at, size in places)
