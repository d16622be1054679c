"""Where between the voxels a centreline runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FARTHEST = 1.0
"""A voxel of a thinned line is nearer than this to the centreline, or the map does not say."""
_CURVED = 0.5
"""Curvature of squared distance from which on a direction leads across a line; the ideal is 2."""

_CELLS = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1) - 1


def _fit() -> NDArray[np.float64]:
    """(9, 27) least squares: slopes along (z, y, x), then curvatures zz, yy, xx, zy, zx, yx."""
    z, y, x = _CELLS.T.astype(np.float64)
    columns = [np.ones(27), z, y, x, z * z / 2, y * y / 2, x * x / 2, z * y, z * x, y * x]
    inverse: NDArray[np.float64] = np.linalg.pinv(np.stack(columns, axis=1))[1:]
    return inverse


_FIT = _fit()


def ridge_offsets(
    stored: NDArray[Any],
    voxels: NDArray[np.int64],
    decode: Callable[[NDArray[Any]], NDArray[np.floating[Any]]] = np.asarray,
) -> NDArray[np.float64]:
    """Find how far from the centre of each voxel the centreline passes.

    Around a straight line, squared distance is a parabola in the plane across it and constant
    along it. A parabola is fitted to the 27 squared distances around a voxel, and its valley is
    where the line is: exactly so for the distance to a straight line or, past its end, to a point.

    Parameters
    ----------
    stored : ndarray, shape (z, y, x)
        A distance map as it is stored.
    voxels : ndarray of int, shape (n, 3)
        Indices into it.
    decode : callable, optional
        Turns stored numbers into distances in voxels, NaN where unknown. By default they are that.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        To add to the voxel; at most one voxel long, and zero at the faces of the array and next to
        unknown voxels.

    Examples
    --------
    >>> y, x = np.mgrid[:5, :5]
    >>> distance = np.hypot(y - 2.3, x - 1.9) * np.ones((5, 1, 1))
    >>> ridge_offsets(distance, np.array([[2, 2, 2]])).round(6) + 0.0
    array([[ 0. ,  0.3, -0.1]])
    """
    offsets = np.zeros((len(voxels), 3))
    shape = np.array(stored.shape)
    inside = ((voxels > 0) & (voxels < shape - 1)).all(axis=1)
    around = voxels[inside][:, None] + _CELLS
    squares = decode(stored[tuple(np.moveaxis(around, 2, 0))]).astype(np.float64) ** 2
    known = np.isfinite(squares).all(axis=1)
    offsets[np.flatnonzero(inside)[known]] = _valleys(squares[known] @ _FIT.T)
    return offsets


def _valleys(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    slopes = terms[:, :3]
    curvature = terms[:, [3, 6, 7, 6, 4, 8, 7, 8, 5]].reshape(-1, 3, 3)
    strengths, directions = np.linalg.eigh(curvature)
    along = np.einsum("nij,ni->nj", directions, slopes)
    across = strengths > _CURVED
    steps = np.where(across, -along / np.where(across, strengths, 1.0), 0.0)
    offsets = np.einsum("nij,nj->ni", directions, steps)
    lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
    shortened: NDArray[np.float64] = offsets * np.minimum(1, _FARTHEST / np.maximum(lengths, 1e-12))
    return shortened
