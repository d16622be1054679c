"""Forest to centreline: the voxels its segments pass through.

A segment becomes the 26-connected digital line with one voxel in each plane across its longest
axis, and the voxels of its nodes. Ends are rounded to 1/1024 voxel and the rest is exact integer
arithmetic, so whether a voxel is set depends on the segment and the voxel alone: not on the box,
the order of the two ends or the machine. Rendering a box therefore equals cropping the rendered
whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation.forest import Forest
from neuroconn.errors import AnnotationError
from neuroconn.geometry import Box

_UNIT = 1024
_HALF = _UNIT // 2
_FARTHEST = 2.0**20
"""Beyond it the products of coordinates would overflow 64-bit integers."""


def render(forest: Forest, box: Box) -> NDArray[np.bool_]:
    """Draw the centreline of every segment that meets ``box``.

    Parameters
    ----------
    forest : Forest
        Nodes in voxels; segments of any length, a lone node is one voxel.
    box : Box
        What to render; it may leave the brain.

    Returns
    -------
    ndarray of bool, shape ``box.shape``
        True on the voxels a neurite passes through.

    Raises
    ------
    AnnotationError
        If a node lies more than 2**20 voxels from the origin, which no brain does.

    Examples
    --------
    >>> forest = Forest([[0, 0, 0], [0, 2, 4]], parents=[-1, 0])
    >>> render(forest, Box((0, 0, 0), (1, 3, 5)))[0].astype(int)
    array([[1, 0, 0, 0, 0],
           [0, 1, 1, 0, 0],
           [0, 0, 0, 1, 1]])
    """
    _check_reach(forest)
    canvas = np.zeros(box.shape, dtype=np.bool_)
    if canvas.size:
        _draw(forest.positions, forest.parents, np.asarray(box.start, dtype=np.int64), canvas)
    return canvas


def neurite_voxels(forest: Forest, box: Box) -> int:
    """Count the centreline voxels in ``box``."""
    return int(np.count_nonzero(render(forest, box)))


def _check_reach(forest: Forest) -> None:
    if len(forest) and np.abs(forest.positions).max() >= _FARTHEST:
        far = forest.positions[np.abs(forest.positions).max(axis=1).argmax()]
        raise AnnotationError(
            f"a node lies at voxel {tuple(far.tolist())}, beyond any brain: "
            "check the units of the annotation"
        )


@njit(cache=True, nogil=True)
def _draw(positions: Any, parents: Any, start: Any, canvas: Any) -> None:
    a = np.empty(3, dtype=np.int64)
    b = np.empty(3, dtype=np.int64)
    for child in range(len(parents)):
        parent = parents[child] if parents[child] >= 0 else child
        near = True
        for axis in range(3):
            p, q = positions[child, axis], positions[parent, axis]
            first, stop = start[axis], start[axis] + canvas.shape[axis]
            near = near and max(p, q) >= first - 1 and min(p, q) <= stop
        if near:
            for axis in range(3):
                a[axis] = np.int64(np.floor(positions[child, axis] * _UNIT + 0.5))
                b[axis] = np.int64(np.floor(positions[parent, axis] * _UNIT + 0.5))
            # The plane nearest to a node may cut the link half a voxel before it, so nodes are
            # drawn too: links that meet at one then touch its voxel.
            _set(canvas, start, (a + _HALF) // _UNIT)
            _draw_segment(a, b, start, canvas)


@njit(cache=True, nogil=True)
def _draw_segment(a: Any, b: Any, start: Any, canvas: Any) -> None:
    """Set one voxel in each plane across the longest axis; ``a`` and ``b`` in 1/1024 voxels."""
    major = 0
    for axis in range(1, 3):
        if abs(b[axis] - a[axis]) > abs(b[major] - a[major]):
            major = axis
    if b[major] < a[major]:
        a, b = b, a
    length = max(b[major] - a[major], 1)
    first = max((a[major] + _HALF) // _UNIT, start[major])
    last = min((b[major] + _HALF) // _UNIT, start[major] + canvas.shape[major] - 1)
    for plane in range(first, last + 1):
        along = min(max(plane * _UNIT - a[major], 0), b[major] - a[major])
        # round(a + along / length * (b - a)), as one exact division
        _set(canvas, start, (along * (b - a) + (a + _HALF) * length) // (length * _UNIT))


@njit(cache=True, nogil=True)
def _set(canvas: Any, start: Any, voxel: Any) -> None:
    z, y, x = voxel - start
    depth, height, width = canvas.shape
    if 0 <= z < depth and 0 <= y < height and 0 <= x < width:
        canvas[z, y, x] = True
