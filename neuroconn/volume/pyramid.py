"""Making a coarse level from the level below.

Max keeps thin bright neurites visible at every level but lifts the background, so it is for looking
and seeding; mean is for measuring; mode is for labels; min for distance maps. Sizes round up, and
an odd last plane is reduced from the voxels it has: nothing is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box

METHODS = ("max", "min", "mean", "mode")


def reduce_block(
    block: NDArray[Any], step: ZYX, method: str, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Reduce ``step`` voxels to one along each axis.

    Parameters
    ----------
    block : ndarray of uint8 or uint16, shape (z, y, x)
        Starts on a multiple of ``step`` of its level. Real numbers for max and min only.
    step : (z, y, x) ints
        1 or 2 along each axis.
    method : {"max", "min", "mean", "mode"}
        Mean rounds halves up. Mode takes the smallest of equally frequent values. On codes of a
        distance map min is the nearest explored neurite.
    out : ndarray of the same dtype, optional
        Where to write the result.

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
    if method not in METHODS:
        raise ValueError(f"a level is made by {', '.join(METHODS)}, not by {method!r}")
    z, y, x = (-(-n // k) for n, k in zip(block.shape, step, strict=True))
    if out is None:
        out = np.empty((z, y, x), block.dtype)
    if out.shape != (z, y, x):
        raise ValueError(f"{block.shape} voxels reduced by {step} are {(z, y, x)}, not {out.shape}")
    # Imported here: numba takes longer to load than most callers take to read their tile.
    from neuroconn.volume import kernels

    if method in ("max", "min"):
        kernels.extreme(block, step, method == "min", out)
    elif block.dtype.kind != "u":
        raise ValueError(f"{method} is for unsigned integers, not {block.dtype}")
    elif method == "mean":
        kernels.mean(block, step, out)
    else:
        kernels.mode(block, step, out)
    return out


def reduced_box(box: Box, step: ZYX) -> Box:
    """Return the voxels of the next level that ``box``, starting on a multiple of step, makes."""
    z0, y0, x0 = (a // n for a, n in zip(box.start, step, strict=True))
    z1, y1, x1 = (-(-b // n) for b, n in zip(box.stop, step, strict=True))
    return Box((z0, y0, x0), (z1, y1, x1))
