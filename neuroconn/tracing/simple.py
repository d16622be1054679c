"""Whether a voxel can be taken away without changing what the mask is connected to.

Foreground voxels are neighbours across faces, edges and corners (26), background ones across faces
(6). A voxel is simple if its removal changes neither components, loops nor cavities: it has
foreground neighbours that hang together without it, and the background reaches it from one side.

References
----------
.. [1] G. Bertrand, G. Malandain, "A new characterization of three-dimensional simple points",
   Pattern Recognition Letters 15, 1994, proposition 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_CENTRE = 13
"""Of a neighbourhood of 27, counted in the order of an array."""


def _adjacency(farthest: int) -> NDArray[np.int64]:
    """Bits of the cells of a 3³ cube next to each: ``farthest`` is the squared distance."""
    cells = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1)
    gap = cells[:, None] - cells[None]
    near = (abs(gap).max(axis=2) == 1) & ((gap**2).sum(axis=2) <= farthest)
    bits: NDArray[np.int64] = (near * (1 << np.arange(27))).sum(axis=1)
    return bits


_CENTRE_BIT = 1 << _CENTRE
_AROUND_26 = _adjacency(3) & ~_CENTRE_BIT
_AROUND_6 = _adjacency(1) & ~_CENTRE_BIT
_FACES = int(_adjacency(1)[_CENTRE])
_FACES_AND_EDGES = int(_adjacency(2)[_CENTRE])


@njit(cache=True, nogil=True)
def is_simple(around: int) -> bool:
    """Whether the centre of a neighbourhood is simple.

    Parameters
    ----------
    around : int
        Bit i is set if cell i of the 3³ cube, in the order of an array, is foreground. The bit of
        the centre does not matter.
    """
    foreground = around & ~_CENTRE_BIT
    if foreground == 0 or _flood(foreground, foreground & -foreground, _AROUND_26) != foreground:
        return False
    empty = ~around & _FACES_AND_EDGES
    doors = empty & _FACES
    if doors == 0:
        return False
    reached = _flood(empty, doors & -doors, _AROUND_6)
    return doors & ~reached == 0


@njit(cache=True, nogil=True)
def _flood(cells: int, seed: int, around: Any) -> int:
    """Return the cells that hang together with the seed."""
    reached, front = seed, seed
    while front:
        grown = 0
        for cell in range(27):
            if front >> cell & 1:
                grown |= around[cell]
        front = grown & cells & ~reached
        reached |= front
    return reached
