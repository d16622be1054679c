"""Stored objects on the disk itself, for those who must survive a power cut without ``verify``."""

from __future__ import annotations

import os
from typing import Any

import zarr

from neuroconn.errors import StorageError
from neuroconn.geometry import ZYX
from neuroconn.volume.convert_journal import make_durable
from neuroconn.volume.regions import stored_object


def sync_object(array: zarr.Array[Any], index: ZYX) -> None:
    """Wait until an object and the folders that name it are on the disk.

    An object of fill values only has no file, and an object store answers a write when it is
    durable: nothing to wait for.

    Raises
    ------
    StorageError
        If the disk refuses.
    """
    file = stored_object(array, index)
    if file is None or not file.is_file():
        return
    try:
        # The folders of a chunk key (z/y/x) may be new, each named in the one above.
        make_durable([file, *file.parents[: len(index)]])
    except OSError as error:
        raise StorageError(f"cannot sync {file}: {os.strerror(error.errno or 0)}") from error
