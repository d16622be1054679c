"""Making a coarse level from the level below.

Max keeps thin bright neurites visible at every level but lifts the background, so it is for looking
and seeding; mean is for measuring. Sizes round up, and an odd last plane is reduced from the
voxels it has: nothing is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box


def reduce_block(block: NDArray[Any], step: ZYX, method: str) -> NDArray[Any]:
    """Reduce ``step`` voxels to one along each axis.

    Parameters
    ----------
    block : ndarray of uint8 or uint16, shape (z, y, x)
        Starts on a multiple of ``step`` of its level.
    step : (z, y, x) ints
        1 or 2 along each axis.
    method : {"max", "min", "mean"}
        Mean rounds halves up. On codes of a distance map min is the nearest explored neurite.

    Returns
    -------
    ndarray of the same dtype, shape rounded up

    Examples
    --------
    >>> reduce_block(np.array([[[1, 4, 9]]], dtype=np.uint8), (1, 1, 2), "max")
    array([[[4, 9]]], dtype=uint8)
    >>> reduce_block(np.array([[[1, 4, 9]]], dtype=np.uint8), (1, 1, 2), "mean")
    array([[[3, 9]]], dtype=uint8)
    """
    if method in ("max", "min"):
        pick = np.maximum if method == "max" else np.minimum
        for axis, n in enumerate(step):
            block = _fold(block, axis, pick) if n == 2 else block
        return block
    if method != "mean":
        raise ValueError(f"a level is made by max, min or mean, not by {method!r}")
    return _mean(block, step)


def reduced_box(box: Box, step: ZYX) -> Box:
    """Return the voxels of the next level that ``box``, starting on a multiple of step, makes."""
    z0, y0, x0 = (a // n for a, n in zip(box.start, step, strict=True))
    z1, y1, x1 = (-(-b // n) for b, n in zip(box.stop, step, strict=True))
    return Box((z0, y0, x0), (z1, y1, x1))


def _fold(block: NDArray[Any], axis: int, combine: Any) -> NDArray[Any]:
    """Combine voxels 2k and 2k + 1; a last single voxel stays as it is."""
    lead = (slice(None),) * axis
    even, odd = block[(*lead, slice(0, None, 2))], block[(*lead, slice(1, None, 2))]
    folded: NDArray[Any] = even.copy()
    paired = folded[(*lead, slice(0, odd.shape[axis]))]
    combine(paired, odd, out=paired)
    return folded


def _mean(block: NDArray[Any], step: ZYX) -> NDArray[Any]:
    total = block.astype(np.uint32)
    shift = np.zeros((1, 1, 1), dtype=np.uint32)
    for axis, n in enumerate(step):
        if n == 2:
            pairs = np.ones(-(-block.shape[axis] // 2), dtype=np.uint32)
            pairs[block.shape[axis] // 2 :] = 0
            shift = shift + pairs.reshape([-1 if i == axis else 1 for i in range(3)])
            total = _fold(total, axis, np.add)
    half = (np.uint32(1) << shift) >> np.uint32(1)
    return ((total + half) >> shift).astype(block.dtype)
