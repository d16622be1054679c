"""Voxels within a small distance of lines, by looking at a ball around each.

Lines fill little of a volume, and slacks are a few voxels: a hundred looks at each voxel of a line
cost a hundredth of a distance transform of the block around it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def ball(
    radius: float,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    closed: bool = True,
) -> NDArray[np.int64]:
    """Offsets (k, 3) of the voxels at most ``radius`` away, nearest first; or nearer than that.

    Examples
    --------
    >>> len(ball(0)), len(ball(1)), len(ball(1, closed=False)), len(ball(3))
    (1, 7, 1, 123)
    """
    if not (math.isfinite(radius) and radius >= 0):
        raise ValueError(f"slack must be 0 voxels or more, got {radius}")
    axes = (np.arange(-n, n + 1) for n in (math.floor(radius / s) for s in spacing))
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    square = ((offsets * np.asarray(spacing)) ** 2).sum(axis=1)
    # A step of rounding must not decide about voxels that are just so far away.
    limit = radius**2 * (1 + 1e-12 if closed else 1 - 1e-12)
    order = np.argsort(square, kind="stable")
    inside = square[order] <= limit if closed else square[order] < limit
    kept: NDArray[np.int64] = offsets[order][inside].astype(np.int64)
    return kept


def nearest(
    mask: NDArray[np.bool_], voxels: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Find the mask from each of (n, 3) voxels.

    Returns
    -------
    ndarray of int64, shape (n,)
        Index of the first offset that leads into the mask; -1 if none does. Voxels may lie outside.
    """
    found: NDArray[np.int64] = _nearest(mask, voxels, offsets)
    return found


def painted(mask: NDArray[np.bool_], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Set all voxels at some offset from one of a (z, y, x) mask."""
    canvas = np.zeros(mask.shape, dtype=np.bool_)
    _paint(canvas, np.argwhere(mask), offsets)
    return canvas


@njit(cache=True, nogil=True)
def _nearest(mask: Any, voxels: Any, offsets: Any) -> Any:
    depth, height, width = mask.shape
    found = np.full(len(voxels), -1, np.int64)
    for point in range(len(voxels)):
        for k in range(len(offsets)):
            z = voxels[point, 0] + offsets[k, 0]
            y = voxels[point, 1] + offsets[k, 1]
            x = voxels[point, 2] + offsets[k, 2]
            if 0 <= z < depth and 0 <= y < height and 0 <= x < width and mask[z, y, x]:
                found[point] = k
                break
    return found


@njit(cache=True, nogil=True)
def _paint(canvas: Any, voxels: Any, offsets: Any) -> None:
    depth, height, width = canvas.shape
    for point in range(len(voxels)):
        for k in range(len(offsets)):
            z = voxels[point, 0] + offsets[k, 0]
            y = voxels[point, 1] + offsets[k, 1]
            x = voxels[point, 2] + offsets[k, 2]
            if 0 <= z < depth and 0 <= y < height and 0 <= x < width:
                canvas[z, y, x] = True
