"""One step down the pyramid: every coarse voxel from the 2 x 2 x 2 voxels it covers."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX

Downsample = Literal["mean", "max"]


def halve(values: NDArray[Any], step: ZYX = (2, 2, 2), how: Downsample = "mean") -> NDArray[Any]:
    """Reduce a volume by ``step``, dropping planes that do not fill a coarse voxel.

    Parameters
    ----------
    values : ndarray of unsigned integers, shape (z, y, x)
        Must start on the coarse grid: halving from an odd voxel gives another image.
    step : (z, y, x) of 1 or 2
        Voxels per coarse voxel.
    how : "mean" or "max"
        ``mean`` rounds halves up, as TeraFly's own pyramids do. ``max`` keeps neurites thinner
        than a coarse voxel visible.

    Returns
    -------
    ndarray of the same dtype, shape ``values.shape // step``

    Examples
    --------
    >>> halve(np.array([[[3, 0], [0, 0]], [[0, 0], [0, 1]]], dtype=np.uint8))
    array([[[1]]], dtype=uint8)
    """
    size = [n // k for n, k in zip(values.shape, step, strict=True)]
    z, y, x = (n * k for n, k in zip(size, step, strict=True))
    kept = values[:z, :y, :x]
    parts = (
        kept[a :: step[0], b :: step[1], c :: step[2]] for a, b, c in product(*map(range, step))
    )
    if how == "max":
        largest = next(parts).copy()
        for part in parts:
            np.maximum(largest, part, out=largest)
        return largest
    total = np.zeros(size, dtype=np.uint32)
    for part in parts:
        total += part
    count = math.prod(step)
    total += count // 2
    total >>= count.bit_length() - 1
    return total.astype(values.dtype)
