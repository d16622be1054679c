"""How distances are stored: fixed point with one code for "nobody looked"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = {"uint8": 250, "uint16": 65_000}
_FILL = {"uint8": 255, "uint16": 65_535}


@dataclass(frozen=True, slots=True)
class Encoding:
    """Distances of 0…``clip`` voxels as stored numbers.

    Examples
    --------
    >>> codes = Encoding("uint8", clip=10.0).encode(np.array([-1.0, 0.0, 5.0, 99.0]))
    >>> codes
    array([  0,   0, 125, 250], dtype=uint8)
    >>> Encoding("uint8", clip=10.0).decode(np.append(codes, np.uint8(255)))
    array([ 0.,  0.,  5., 10., nan], dtype=float32)
    """

    dtype: str
    """``uint8`` (0…250), ``uint16`` (0…65000) or ``float32`` (the distance itself)."""
    clip: float
    """Where the distance map goes flat, in voxels."""

    def __post_init__(self) -> None:
        if self.dtype not in ("uint8", "uint16", "float32"):
            raise ValueError(f"dtype must be uint8, uint16 or float32, got {self.dtype!r}")
        if not (np.isfinite(self.clip) and self.clip > 0):
            raise ValueError(f"clip must be finite and positive, got {self.clip}")

    @property
    def fill(self) -> float:
        """The stored number of an unexplored voxel; no distance is ever stored as it."""
        return _FILL.get(self.dtype, float("nan"))

    @property
    def step(self) -> float:
        """Voxels per stored unit."""
        return self.clip / _STEPS[self.dtype] if self.dtype in _STEPS else 1.0

    def encode(self, distance: NDArray[Any]) -> NDArray[Any]:
        """Round finite distances to the nearest stored number."""
        inside: NDArray[Any] = np.clip(distance, 0.0, self.clip)
        if self.dtype in _STEPS:
            inside = np.rint(inside * (_STEPS[self.dtype] / self.clip))
        return inside.astype(self.dtype)

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Distances in voxels, NaN where nobody looked."""
        if self.dtype not in _STEPS:
            return codes.astype(np.float32)
        # Multiplied before divided: code 200 of clip 10 is 8 exactly, not just below.
        table = np.arange(_FILL[self.dtype] + 1) * self.clip / _STEPS[self.dtype]
        table[-1] = np.nan
        decoded: NDArray[np.float32] = table.astype(np.float32)[codes]
        return decoded

    @property
    def steps(self) -> int:
        """Stored units that ``clip`` is made of; 0 where distances are stored as they are."""
        return _STEPS.get(self.dtype, 0)

    def attributes(self) -> dict[str, Any]:
        """CF attributes, with which xarray decodes to voxels and NaN."""
        if self.dtype not in _STEPS:
            return {"units": "voxel"}
        return {"scale_factor": self.step, "_FillValue": self.fill, "units": "voxel"}


@dataclass(frozen=True, slots=True)
class Coded:
    """A predicted tile as it is stored, and what it cost."""

    codes: NDArray[Any]
    """Stored numbers, shape (z, y, x), without the trim."""
    seconds: float
    """How long the device computed; neither copies nor waiting for other tiles are in it."""
