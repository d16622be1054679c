"""A predicted mask against the exact distance to the true centreline."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import distance_map
from neuroconn.metrics.ccq import CCQ
from neuroconn.metrics.skeleton import skeleton

ON_LINE = math.sqrt(3) / 2
"""A voxel a line passes through has its centre at most half a voxel diagonal away."""


def centreline_ccq(
    mask: NDArray[np.bool_], distance: NDArray[np.floating], *, tolerance: float = 3.0
) -> CCQ:
    """Score the skeleton of a mask where the distance to the truth is known exactly.

    Phantoms give that distance without rendering, so the score has no rasterisation error on the
    side of the truth.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Where a neurite is predicted; thinned here.
    distance : ndarray of float, shape (z, y, x)
        Voxels to the nearest true centreline, exact below ``tolerance``.
    tolerance : float, optional
        Farthest a skeleton voxel may lie from the truth, and the truth from the skeleton.

    Returns
    -------
    CCQ
        Correctness is the precision, completeness the recall over the voxels the true line passes
        (those within half a voxel diagonal of it).

    Raises
    ------
    ValueError
        If the shapes differ, or the tolerance is less than half a voxel diagonal.

    Examples
    --------
    >>> distance = np.abs(np.arange(9.0) - 4) * np.ones((5, 9, 1))
    >>> mask = distance < 2
    >>> centreline_ccq(mask, distance).correctness
    1.0
    """
    if mask.shape != distance.shape:
        raise ValueError(f"mask and distance differ in shape: {mask.shape}, {distance.shape}")
    if not tolerance >= ON_LINE:
        raise ValueError(f"tolerance must be at least {ON_LINE:.2f} voxels, got {tolerance}")
    lines = skeleton(mask)
    truth = distance <= ON_LINE
    near = distance_map(lines, clip=2 * tolerance + 1) <= tolerance
    return CCQ(
        predicted=int(np.count_nonzero(lines)),
        correct=int(np.count_nonzero(lines & (distance <= tolerance))),
        truth=int(np.count_nonzero(truth)),
        found=int(np.count_nonzero(truth & near)),
    )
