"""Thinning a mask to lines one voxel wide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def skeleton(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a mask to its centre lines.

    In 3D, pieces of a few voxels may vanish; longer ones keep their connectivity.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x) or (y, x)
        Thinned in 3D (Lee 1994), or in 2D (Zhang 1984) if it has one plane only.

    Returns
    -------
    ndarray of bool, same shape
        Nothing where there was nothing.

    Examples
    --------
    >>> bar = np.zeros((5, 12), dtype=bool)
    >>> bar[1:4, 1:-1] = True
    >>> int(bar.sum()), int(skeleton(bar).sum())
    (30, 9)
    """
    if mask.ndim not in (2, 3):
        raise ValueError(f"a mask is (z, y, x) or (y, x), got shape {mask.shape}")
    if mask.ndim == 3 and len(mask) == 1:
        return skeleton(mask[0])[None]
    thin = np.zeros(mask.shape, dtype=np.bool_)
    if not mask.any():
        return thin
    from skimage.morphology import skeletonize

    # Thinning takes time by the box, and masks of neurites are mostly empty.
    occupied = tuple(
        slice(int(i.min()), int(i.max()) + 1) for i in (np.unique(axis) for axis in mask.nonzero())
    )
    thin[occupied] = skeletonize(np.asarray(mask[occupied], dtype=bool))  # type: ignore[no-untyped-call]
    return thin
