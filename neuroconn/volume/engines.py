"""Arrays as TensorStore reads and writes them: the same files as zarr-python's, in half the time.

zarr-python creates groups, arrays and metadata, and does all of it where TensorStore is missing.
TensorStore aborts in a process forked from one that has used it, so it is imported on use only.
"""

from __future__ import annotations

import errno
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.volume.axes import triple
from neuroconn.volume.store import Image

Engine: TypeAlias = Literal["tensorstore", "zarr"]

LEFTOVERS = ("*.partial", "*.__lock")
"""What zarr-python and TensorStore leave of a write that was killed."""
SYNC = True
"""Whether a written object is on disk when the write returns."""


def chosen_engine(name: str | None) -> Engine:
    """Return the engine to use: TensorStore where it is installed, unless one is named.

    Raises
    ------
    UsageError
        If the named one is unknown or not installed.
    """
    installed = importlib.util.find_spec("tensorstore") is not None
    if name in (None, "auto"):
        return "tensorstore" if installed else "zarr"
    if name == "tensorstore" and not installed:
        raise UsageError("TensorStore is not installed; pip install tensorstore, or --engine zarr")
    if name in ("tensorstore", "zarr"):
        return cast("Engine", name)
    raise UsageError(f"engine {name!r} is unknown; there are auto, tensorstore and zarr")


def open_array(image: Image, level: int, engine: Engine) -> zarr.Array[Any]:
    """Open a level for whole-object reads and writes with an engine.

    Parameters
    ----------
    image : Image
        One of ours, or any other for reading.
    level : int
        0 is full resolution.
    engine : {"tensorstore", "zarr"}

    Returns
    -------
    zarr.Array, or what reads and writes alike
    """
    stored = image.array(level)
    # TensorStore is for folders; and a view of other axes is not its business.
    if engine == "zarr" or hasattr(stored, "stored") or not isinstance(image.path, Path):
        return stored
    return TensorArray(image.path / image.paths[level], stored)  # type: ignore[return-value]


class TensorArray:
    """A (z, y, x) array through TensorStore; looks like a zarr array to reads and writes."""

    def __init__(self, path: Path, array: zarr.Array[Any]) -> None:
        self.stored = array
        """The same, opened by zarr-python."""
        self._store = _open(path, array.metadata.zarr_format)

    @property
    def shape(self) -> ZYX:
        """Extent along (z, y, x)."""
        return triple(self.stored.shape)

    @property
    def chunks(self) -> ZYX:
        """Readable unit."""
        return triple(self.stored.chunks)

    @property
    def shards(self) -> ZYX | None:
        """Stored object, if the array is sharded."""
        return None if self.stored.shards is None else triple(self.stored.shards)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        return np.dtype(self.stored.dtype)

    @property
    def fill_value(self) -> Any:
        """Value of what is not stored."""
        return self.stored.fill_value

    @property
    def store_path(self) -> Any:
        """Where the array is, for messages."""
        return self.stored.store_path

    def stored_index(self, index: ZYX) -> tuple[int, ...]:
        """Return a (z, y, x) chunk index in stored axis order: the same."""
        return index

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        return np.asarray(self._store[key].read().result())

    def __setitem__(self, key: tuple[slice, slice, slice], data: NDArray[Any]) -> None:
        try:
            self._store[key].write(data).result()
        except Exception as error:  # TensorStore raises ValueError for a full disk
            reason = str(error)
            full = "No space left" in reason or "quota" in reason
            raise OSError(errno.ENOSPC if full else errno.EIO, reason) from error


def _open(path: Path, version: int) -> Any:
    import tensorstore as ts

    spec = {
        "driver": "zarr3" if version == 3 else "zarr",
        "kvstore": {"driver": "file", "path": f"{path.absolute()}/"},
    }
    return ts.open(spec, context=_context(os.getpid(), SYNC), open=True).result()


@cache
def _context(_process: int, sync: bool) -> Any:
    import tensorstore as ts

    cores = len(os.sched_getaffinity(0))
    settings = {
        "data_copy_concurrency": {"limit": cores},
        "file_io_concurrency": {"limit": max(4, 2 * cores)},
        "file_io_sync": sync,
        "cache_pool": {"total_bytes_limit": 0},
    }
    return ts.Context(ts.Context.Spec(settings))
