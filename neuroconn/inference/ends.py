"""Where neurites end inside a chunk, and which neighbours they point at.

Bridging may cross dark chunks. Without a limit it would look around every chunk of every neurite;
only where a neurite stops is there a gap to cross. All of it reads one tile, so it stays pure.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.geometry import DIRECTIONS, Box

_CELL = 4
"""Edge of the coarse cells in voxels: about the width of a kept component."""
_REACH = 4
"""Half width of the window in cells: 16 voxels, about five radii of a kept component."""
_LOPSIDED = 0.4
"""A straight neurite that ends has its mass half a window to one side, one that passes has 0."""
_CONE = np.cos(np.deg2rad(60))
"""A neurite that ends may go on anywhere within this angle."""


def outward_ends(kept: NDArray[np.bool_], core: Box) -> int:
    """Directions that a neurite ending inside the core points at.

    A voxel is taken as an end when the neurite around it lies to one side. A sharp bend and the
    surface of a soma look like ends too: that costs a few more chunks, never a neurite.

    Parameters
    ----------
    kept : (z, y, x) bool array
        Voxels of neurites in the whole tile.
    core : Box
        The core in coordinates of the tile.

    Returns
    -------
    int
        Mask over ``geometry.DIRECTIONS``.

    Examples
    --------
    >>> tile = np.zeros((64, 64, 64), bool)
    >>> tile[30:34, 30:34, :40] = True
    >>> mask = outward_ends(tile, Box((16, 16, 16), (48, 48, 48)))
    >>> [d for k, d in enumerate(DIRECTIONS) if mask >> k & 1 and d.count(0) == 2]
    [(0, 0, 1)]
    """
    mass = _cells(kept, core)
    weight = _window(mass, [0, 0, 0])
    occupied = np.argwhere((mass > 0) & _in_core(mass.shape, core))
    if not len(occupied):
        return 0
    at = tuple(occupied.T)
    offset = np.stack([_window(mass, [int(a == k) for k in range(3)])[at] for a in range(3)], 1)
    offset /= weight[at][:, None]
    length = np.linalg.norm(offset, axis=1)
    end = length >= _LOPSIDED * _REACH
    outward = -offset[end] / length[end][:, None]
    compass = np.array(DIRECTIONS, dtype=float)
    compass /= np.linalg.norm(compass, axis=1)[:, None]
    pointed = (outward @ compass.T >= _CONE - 1e-9).any(axis=0)
    return sum(1 << int(k) for k in np.flatnonzero(pointed))


def _cells(kept: NDArray[np.bool_], core: Box) -> NDArray[np.float64]:
    """Neurite voxels per cell, on cells aligned with the start of the core."""
    first = np.array([a % _CELL for a in core.start])  # the cell before it may be cut
    coordinates = np.unravel_index(np.flatnonzero(kept), kept.shape)
    cells = [(c - f) // _CELL + (f > 0) for c, f in zip(coordinates, first, strict=True)]
    shape = tuple(
        -(-(n - f) // _CELL) + (f > 0) for n, f in zip(kept.shape, first.tolist(), strict=True)
    )
    flat = np.ravel_multi_index(cells, shape)
    return np.bincount(flat, minlength=math.prod(shape)).reshape(shape).astype(float)


def _in_core(cells: tuple[int, ...], core: Box) -> NDArray[np.bool_]:
    """Cells that share a voxel with the core."""
    inside = np.zeros(cells, dtype=bool)
    first = [-(-a // _CELL) for a in core.start]
    last = [f + -(-n // _CELL) for f, n in zip(first, core.shape, strict=True)]
    inside[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = True
    return inside


def _window(mass: NDArray[np.float64], moment: list[int]) -> NDArray[np.float64]:
    """Sum of ``mass`` times the offset to the power ``moment`` per axis, over the window."""
    reach = np.arange(-_REACH, _REACH + 1.0)
    out = mass
    for axis, power in enumerate(moment):
        out = ndimage.correlate1d(out, reach**power, axis=axis, mode="constant")
    return out
