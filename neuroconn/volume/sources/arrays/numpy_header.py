"""The text in front of a NumPy array: what the array is, without trusting it."""

from __future__ import annotations

import ast
import math
import re
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import check_numeric

MAGIC = b"\x93NUMPY"
LONGEST = 10_000
"""Bytes of a header; that of a volume has about 120."""

_LENGTHS = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
_TYPE = re.compile(r"[<>|=]?[A-Za-z]\d*")
_PYTHON_2 = re.compile(r"(\d)L\b")


@dataclass(frozen=True, slots=True)
class NumpyHeader:
    """One array, and how many bytes come before its voxels."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    """Whether the first axis runs fastest."""
    length: int

    @property
    def nbytes(self) -> int:
        """Bytes of the voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the same bytes as an array whose last axis runs fastest."""
        return self.shape[::-1] if self.fortran else self.shape

    def check_volume(self, where: str) -> None:
        """Refuse what is not a (z, y, x) volume.

        Raises
        ------
        VolumeError
            If there are other than three axes, or one is empty.
        """
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise VolumeError(
                f"{where} has shape {self.shape}; a brain is one (z, y, x) volume. Save one "
                "channel and one time point of it"
            )


def read_numpy_header(file: IO[bytes], where: str) -> NumpyHeader:
    """Read the header at the start of a ``.npy`` stream; nothing is unpickled.

    Parameters
    ----------
    file : binary file
        At its beginning; left at the first voxel.
    where : str
        What to call it in messages.

    Raises
    ------
    VolumeError
        If it is damaged, or the array does not hold real numbers.
    """
    start = file.read(8)
    layout = _LENGTHS.get(start[6]) if len(start) == 8 and start.startswith(MAGIC) else None
    if layout is None:
        raise VolumeError(f"{where} does not begin like a NumPy array of version 1, 2 or 3")
    size = file.read(layout.size)
    length = layout.unpack(size)[0] if len(size) == layout.size else 0
    text = file.read(min(length, LONGEST))
    if not 0 < length == len(text):
        raise VolumeError(f"{where} has a damaged header of {length} bytes; copy it again")
    header = _parsed(text.decode("latin1"), where)
    shape, order = header["shape"], header["fortran_order"]
    numbers = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not numbers or not isinstance(order, bool):
        raise VolumeError(f"{where} has an impossible shape in its header: {shape!r}, {order!r}")
    return NumpyHeader(shape, _dtype(header["descr"], where), order, 8 + layout.size + length)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        header = ast.literal_eval(_PYTHON_2.sub(r"\1", text).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise VolumeError(f"{where} has a header that cannot be parsed; copy it again") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise VolumeError(f"{where} has a header that describes no array; copy it again")
    return header


def _dtype(descr: Any, where: str) -> np.dtype[Any]:
    if not isinstance(descr, str) or not _TYPE.fullmatch(descr):
        raise VolumeError(f"{where} holds {descr!r} records; a brain is made of plain numbers")
    if descr.lstrip("<>|=").startswith("O"):
        raise VolumeError(
            f"{where} holds pickled Python objects, which could run code when read: refused. "
            "Save it as a numeric array"
        )
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, DeprecationWarning) as error:
        raise VolumeError(f"{where} holds voxels of an unknown type, {descr!r}") from error
    check_numeric(dtype, where)
    return dtype
