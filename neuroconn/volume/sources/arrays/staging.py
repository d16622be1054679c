"""Compressed volumes without an index: unpacked once, into a file that no name leads to."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import threading
from collections.abc import Callable
from io import RawIOBase
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike

from neuroconn.errors import NeuroconnError, StorageError, VolumeError
from neuroconn.volume.sources.base import UnreadableError

SPARE = 64 * 2**20
"""Bytes of free space that staging leaves to others."""

logger = logging.getLogger(__name__)


class Staged:
    """An array that is unpacked into a temporary file when it is first wanted.

    Parameters
    ----------
    shape : tuple of ints
        Of the array, in C order, as ``fill`` writes it.
    dtype : dtype
        With the byte order that ``fill`` writes.
    fill : callable
        Writes all bytes of the array to the file it is given, which has ``write`` and nothing
        else. It runs once, in whichever thread asks first. Whatever it raises becomes a
        VolumeError; it must be picklable if the source is to be.
    nbytes : int
        How many bytes ``fill`` writes, the array's size. One byte more or less is damage.
    name : str, optional
        What is unpacked, for messages.

    Raises
    ------
    StorageError
        If the temporary folder has no room for it.

    Notes
    -----
    The file has no name, so nothing is left behind, whatever ends the process. A lock makes other
    threads wait for the one that unpacks; the finished map is read-only and needs none. A pickle
    carries the recipe and not the voxels: every process unpacks for itself.

    Examples
    --------
    >>> staged = Staged((2, 3), "u1", lambda file: file.write(bytes(range(6))) and None, 6)
    >>> staged.array()[1].tolist()
    [3, 4, 5]
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        fill: Callable[[BinaryIO], None],
        nbytes: int,
        name: str = "the volume",
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.nbytes, self.name = nbytes, name
        needed = math.prod(shape) * self.dtype.itemsize
        if nbytes != needed or nbytes < 1:
            raise VolumeError(
                f"{name} announces {nbytes} bytes and {self.dtype} {shape} takes {needed}; "
                "it is damaged. Copy it again"
            )
        self._fill = fill
        self._lock = threading.Lock()
        self._array: np.memmap[Any, Any] | None = None
        self._damage: str | None = None
        check_room(nbytes, name)

    def array(self) -> np.memmap[Any, Any]:
        """Return the unpacked array, read-only; the first call unpacks it.

        Raises
        ------
        UnreadableError
            If the data are damaged, end early or go on too long. Asking again says the same
            without unpacking again.
        StorageError
            If the temporary folder is full.
        """
        with self._lock:
            if self._damage is not None:
                raise UnreadableError(self._damage)
            if self._array is None:
                try:
                    self._array = self._unpacked()
                except VolumeError as error:
                    self._damage = str(error)
                    raise UnreadableError(self._damage) from error
            return self._array

    def _unpacked(self) -> np.memmap[Any, Any]:
        check_room(self.nbytes, self.name)
        logger.info("unpacking %s: %d bytes into %s", self.name, self.nbytes, tempfile.gettempdir())
        with _temporary(self.name) as file:
            sink = _Bounded(file, self.nbytes, self.name)
            try:
                self._fill(cast("BinaryIO", sink))
            except NeuroconnError:
                raise
            except Exception as error:  # decompressors raise types of their own
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                raise VolumeError(
                    f"{self.name} cannot be unpacked ({reason}): it is damaged. Copy it again"
                ) from error
            sink.finish()
            return np.memmap(file, self.dtype, "r", shape=self.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return Staged, (self.shape, self.dtype, self._fill, self.nbytes, self.name)


def check_room(nbytes: int, name: str) -> None:
    """Refuse to unpack what the temporary folder cannot hold.

    Raises
    ------
    StorageError
        If less than ``nbytes`` and some to spare is free.
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if nbytes + SPARE > free:
        raise StorageError(
            f"{name} unpacks to {nbytes / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; "
            "set TMPDIR to a folder with room"
        )


class _Bounded(RawIOBase):
    """Takes exactly the announced bytes; tells a full disk from damaged data."""

    def __init__(self, file: IO[bytes], nbytes: int, name: str) -> None:
        self._file, self._left, self._nbytes, self._name = file, nbytes, nbytes, name

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if size > self._left:
            raise VolumeError(
                f"{self._name} unpacks to more than the {self._nbytes} bytes it announces: "
                "it is damaged. Copy it again"
            )
        try:
            self._file.write(data)
        except OSError as error:
            raise _refused(self._name, error) from error
        self._left -= size
        return size

    def finish(self) -> None:
        if self._left:
            raise VolumeError(
                f"{self._name} unpacks to {self._nbytes - self._left} of the {self._nbytes} bytes "
                "it announces: it is cut off. Copy it again"
            )
        try:
            self._file.flush()
        except OSError as error:
            raise _refused(self._name, error) from error


def _temporary(name: str) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(prefix="neuroconn-")
    except OSError as error:
        raise _refused(name, error) from error


def _refused(name: str, error: OSError) -> StorageError:
    return StorageError(
        f"{name} cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}; "
        "set TMPDIR to a folder with room"
    )
