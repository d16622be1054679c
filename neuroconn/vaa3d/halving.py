"""One step down the pyramid: every coarse voxel from the 2 x 2 x 2 voxels it covers."""

from __future__ import annotations

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
    z, y, x = (n // k for n, k in zip(values.shape, step, strict=True))
    coarse = np.empty((z, y, x), dtype=values.dtype)
    # Imported here: numba takes longer to load than a table of tiles takes to read.
    from neuroconn.vaa3d.kernels import largest, mean

    (largest if how == "max" else mean)(values, step, coarse)
    return coarse
