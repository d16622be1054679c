"""What a conversion reads from."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box

SUPPORTED = ("uint8", "uint16")
"""What a brain stores; everything else needs a mapping that the user states."""


class UnreadableError(VolumeError):
    """Nothing of a source can be read: there are no places to name or to fill with zeros."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Enough of a source to notice that another one has taken its place."""

    name: str
    files: int
    bytes: int
    layout: str
    """Digest of where every plane lies and how it is stored."""
    sample: str
    """Digest of the first bytes of the first and of the last plane."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of several volumes in a source is meant."""

    channel: int | None = None
    """Counted from 0; None where there is only one."""
    dataset: str | None = None
    """Path of an array inside a container (HDF5, N5, NumPy archive, Zarr)."""


class Source(ABC):
    """A (z, y, x) grey volume that is read a box at a time, from any thread.

    A format sets the attributes in its ``__init__``, from metadata alone: opening decodes no voxel.
    """

    format: ClassVar[str]
    """Name of the format, as people say it."""
    description: str
    """One line for people: the format and what is in it."""
    shape: ZYX
    dtype: np.dtype[Any]
    """Any integer or real type, native byte order."""
    unit: ZYX
    """Smallest box that can be decoded: reading less costs the same."""
    identity: Identity
    spacing_um: tuple[float, float, float] | None = None
    """Voxel size the file claims, or None."""
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the first voxel, as the file claims."""
    channels: int = 1
    """How many channels there are to choose from."""
    notes: tuple[str, ...] = ()
    """What a user should know and what does not stop a conversion, one line each."""

    @abstractmethod
    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume.

        Raises
        ------
        VolumeError
            If the voxels are damaged; the message names the file and the place in it.
        """

    def read_into(self, box: Box, out: NDArray[Any]) -> int:
        """Read a box to where it belongs; formats that can save a copy do.

        Parameters
        ----------
        box : Box
            Voxels inside the volume.
        out : ndarray, shape of ``box``
            Rows along x are contiguous.

        Returns
        -------
        int
            Voxels that a mapping had to clip.
        """
        out[...] = self.read(box)
        return 0


def chosen_channel(channels: int, choice: Choice, where: str) -> int:
    """Return the channel that is meant.

    Raises
    ------
    VolumeError
        If there are several and none was chosen.
    UsageError
        If the chosen one does not exist.
    """
    if choice.channel is None:
        if channels == 1:
            return 0
        raise VolumeError(
            f"{where} has {channels} channels and a brain has one; choose the one with the "
            f"neurites: --channel 0 to {channels - 1}"
        )
    if not 0 <= choice.channel < channels:
        raise UsageError(
            f"channel {choice.channel} does not exist: {where} has {channels}, counted from 0"
        )
    return choice.channel


def check_numeric(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the native type of real numbers; refuse anything else.

    Raises
    ------
    VolumeError
        If voxels are not integers or real numbers of at most 8 bytes.
    """
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise VolumeError(
            f"{where} holds {dtype} voxels; a brain is made of integers or real numbers. "
            "Save it as uint8 or uint16"
        )
    return dtype.newbyteorder("=")


def file_identity(name: str, files: Sequence[Path], facts: Any, sample: bytes = b"") -> Identity:
    """Identity of a source made of files.

    Parameters
    ----------
    name : str
        What the user calls it, usually the last part of its path.
    files : sequence of paths
        Every file of the source. Their times are left out: copying a brain changes them.
    facts : JSON value
        Where voxels lie and how they are stored, as the metadata says.
    sample : bytes
        A few voxels as stored; the first 4096 bytes of the first and of the last file if empty.
    """
    return Identity(
        name=name,
        files=len(files),
        bytes=sum(file.stat().st_size for file in files),
        layout=digest(facts),
        sample=digest(sample or b"".join(_head(file) for file in (files[0], files[-1]))),
    )


def digest(facts: Any) -> str:
    """Short SHA-256 of bytes or of JSON facts."""
    data = facts if isinstance(facts, bytes) else json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)
