"""Voxels and micrometres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """Where voxel centres lie in space: ``um = origin_um + voxel * spacing_um``.

    Examples
    --------
    >>> frame = Frame(spacing_um=(2.5, 1.3, 1.3))
    >>> frame.to_voxels([[25.0, 13.0, 0.0]])
    array([[10., 10.,  0.]])
    """

    spacing_um: tuple[float, float, float]
    """Distance between voxel centres along (z, y, x)."""
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of voxel (0, 0, 0)."""

    def __post_init__(self) -> None:
        if not all(np.isfinite(s) and s > 0 for s in self.spacing_um):
            raise ValueError(
                f"spacing must be finite and positive (z, y, x), got {self.spacing_um}"
            )
        if not all(np.isfinite(o) for o in self.origin_um):
            raise ValueError(f"origin must be finite, got {self.origin_um}")

    def to_um(self, voxels: ArrayLike) -> NDArray[np.float64]:
        """Positions in µm of (n, 3) voxel coordinates, which may be fractional."""
        um: NDArray[np.float64] = np.asarray(voxels, dtype=float) * self.spacing_um + self.origin_um
        return um

    def to_voxels(self, um: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel coordinates of (n, 3) positions in µm."""
        voxels: NDArray[np.float64] = (np.asarray(um, dtype=float) - self.origin_um) / np.asarray(
            self.spacing_um
        )
        return voxels
