"""What a conversion reads from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box

SUPPORTED = ("uint8", "uint16")


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

    def difference(self, other: dict[str, Any]) -> str | None:
        """Name what differs from a recorded identity; None if nothing does."""
        for key in ("name", "files", "bytes", "layout", "sample"):
            if getattr(self, key) != other.get(key):
                return f"{key} was {other.get(key)!r}, now {getattr(self, key)!r}"
        return None


class Source(Protocol):
    """A (z, y, x) grey volume that is read a box at a time, from any thread."""

    description: str
    """One line for people."""
    shape: ZYX
    dtype: np.dtype[Any]
    """uint8 or uint16, native byte order."""
    spacing_um: tuple[float, float, float] | None
    """Voxel size the file claims, or None."""
    unit: ZYX
    """Smallest box that can be decoded: reading less costs the same."""
    identity: Identity

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        ...


def check_dtype(dtype: np.dtype[Any], where: str) -> None:
    """Refuse voxel types that would need a mapping to 0..65535.

    Raises
    ------
    VolumeError
        If the type is not uint8 or uint16; the message says which mapping the data would need.
    """
    if dtype.name in SUPPORTED:
        return
    mapping = {
        "int16": "clip the negative values at 0, or add 32768",
        "bool": "multiply by 255",
        "int8": "clip the negative values at 0, or add 128",
    }.get(dtype.name, "scale the range you need to 0..65535")
    raise VolumeError(
        f"{where} holds {dtype.name} voxels and a brain is uint8 or uint16; "
        f"{mapping}, and save it as uint16: neuroconn never guesses a mapping"
    )


def digest(facts: Any) -> str:
    """Short SHA-256 of bytes or of JSON facts."""
    data = facts if isinstance(facts, bytes) else json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]
