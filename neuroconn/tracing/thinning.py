"""Thinning that gives the same lines in a part of a volume as in all of it.

Voxels are taken away from the outside in: far from the predicted centreline first, by levels of
half a voxel of distance. Inside a level, those whose coordinates have the same parities take turns;
they never touch, so they may go at once, and whether one goes depends on its 26 neighbours as they
are then. A voxel goes if it is simple, which keeps what is connected, and if it has two neighbours
or more, which keeps lines from being eaten from their ends. The number of turns is fixed: what
happens to a voxel depends on no more than so many voxels around it, in practice on about ten.

How many is not left to luck. Where a block ends and the volume goes on, voxels are *unknown*. A
voxel that would go for some states of unknown neighbours and stay for others becomes unknown too;
what is known in the end is what thinning the whole volume gives, bit for bit.

References
----------
.. [1] C. Pudney, "Distance-ordered homotopic thinning", Computer Vision and Image Understanding 72,
   1998: why the order keeps lines central.
.. [2] G. Bertrand, Z. Aktouf, "A three-dimensional thinning algorithm using subfields", Vision
   Geometry III, 1994: why voxels of one parity may go at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.geometry import ZYX
from neuroconn.tracing.simple import is_simple

GONE, LINE, UNKNOWN = 0, 1, 2
"""States of a voxel."""
OUTSIDE = 255
"""The level of what is not in the mask."""

_TURNS = np.array([0, 7, 3, 4, 5, 2, 6, 1], dtype=np.int64)
"""When the eight parities (z, y, x) are up: opposite ones follow each other."""
_SWEEPS = 2
"""How often each level is gone through before the next: a voxel may be free to go only late."""
_MOST_UNKNOWN = 8
"""Neighbours whose states are tried in all ways; a voxel with more of them is unknown."""


def reach(levels: int) -> int:
    """Return the halo with which nothing is unknown: what is moves on by one voxel a turn."""
    return 8 * levels * (_SWEEPS + 1) + 1


def thin(
    levels: NDArray[np.uint8],
    *,
    start: ZYX = (0, 0, 0),
    open_faces: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Thin a mask to lines.

    Parameters
    ----------
    levels : ndarray of uint8, shape (z, y, x)
        0 for the voxels nearest to a centreline, more for those farther away; 255 outside the mask.
    start : (z, y, x) ints, optional
        Where the first voxel lies in the whole volume.
    open_faces : ndarray of bool, shape (3, 2), optional
        For each axis, whether the volume goes on before the first and after the last plane. By
        default it ends at all six faces.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        ``GONE``, ``LINE`` or ``UNKNOWN``.

    Examples
    --------
    >>> bar = np.full((5, 5, 9), OUTSIDE, dtype=np.uint8)
    >>> bar[1:4, 1:4, 1:-1] = 1
    >>> bar[2, 2, 1:-1] = 0
    >>> thin(bar)[2, 2].tolist(), int(thin(bar).sum())
    ([0, 1, 1, 1, 1, 1, 1, 1, 0], 7)
    """
    state = np.zeros(tuple(n + 2 for n in levels.shape), dtype=np.uint8)  # no face to look over
    inner = state[1:-1, 1:-1, 1:-1]
    inner[levels != OUTSIDE] = LINE
    if open_faces is not None:
        _open(inner, open_faces)
    voxels = np.argwhere(inner)
    if not len(voxels):
        return inner
    level = levels[tuple(voxels.T)].astype(np.int64)
    parities = (voxels + np.asarray(start)) & 1
    turn = (level.max() - level) * 8 + _TURNS[parities @ (4, 2, 1)]
    order = np.argsort(turn, kind="stable")
    turns = np.searchsorted(turn[order], np.arange(8 * (level.max() + 1) + 1))
    _thin(state, voxels[order] + 1, turns)
    return inner


def _open(state: NDArray[np.uint8], faces: NDArray[np.bool_]) -> None:
    """Mark the voxels beside which something unknown may lie."""
    for axis in range(3):
        for side, plane in enumerate((0, -1)):
            if faces[axis, side]:
                face = np.moveaxis(state, axis, 0)[plane]
                face[face == LINE] = UNKNOWN


@njit(cache=True, nogil=True)
def _thin(state: Any, voxels: Any, turns: Any) -> None:
    for level in range(0, len(turns) - 1, 8):
        for _ in range(_SWEEPS):
            for turn in range(level, level + 8):
                _take_turn(state, voxels, turns[turn], turns[turn + 1])
    for turn in range(len(turns) - 1):  # what stood in the way of outer voxels may be gone now
        _take_turn(state, voxels, turns[turn], turns[turn + 1])


@njit(cache=True, nogil=True)
def _take_turn(state: Any, voxels: Any, first: int, stop: int) -> None:
    for index in range(first, stop):
        z, y, x = voxels[index]
        if state[z, y, x] == LINE:
            state[z, y, x] = _fate(state, z, y, x)


@njit(cache=True, nogil=True)
def _fate(state: Any, z: int, y: int, x: int) -> int:
    """Return what becomes of a voxel of the mask."""
    known, cell, doubts = 0, 0, 0
    doubtful = np.zeros(26, np.int64)
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                there = state[z + dz, y + dy, x + dx]
                if cell != 13 and there == LINE:
                    known |= 1 << cell
                elif cell != 13 and there == UNKNOWN:
                    doubtful[doubts] = 1 << cell
                    doubts += 1
                cell += 1
    if doubts > _MOST_UNKNOWN:
        return UNKNOWN
    goes = _goes(known)
    for choice in range(1, 1 << doubts):
        around = known
        for doubt in range(doubts):
            if choice >> doubt & 1:
                around |= doubtful[doubt]
        if _goes(around) != goes:
            return UNKNOWN
    return GONE if goes else LINE


@njit(cache=True, nogil=True)
def _goes(around: int) -> bool:
    lone_or_end = around & (around - 1) == 0  # fewer than two neighbours
    return not lone_or_end and is_simple(around)
