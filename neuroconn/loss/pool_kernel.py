"""Least and greatest of neighbouring voxels, and where they came from: compiled loops.

Beyond the faces there is nothing. Of equal values the voxel's own comes first.
"""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def least_of_cross(values: Any, least: Any, origin: Any) -> None:
    """Least of each voxel and its 6 neighbours.

    Parameters
    ----------
    values, least : ndarray of float, shape (z, y, x)
        Read and written.
    origin : ndarray of uint8, shape (z, y, x)
        Written: 0 for the voxel itself; 1 and 2 for the neighbours before and after it along z, 3
        and 4 along y, 5 and 6 along x.
    """
    depth, height, width = values.shape
    for z in range(depth):
        for y in range(height):
            before, after = max(z - 1, 0), min(z + 1, depth - 1)
            above, below = max(y - 1, 0), min(y + 1, height - 1)
            for x in range(width):
                best, mark = values[z, y, x], 0
                if values[before, y, x] < best:
                    best, mark = values[before, y, x], 1
                if values[after, y, x] < best:
                    best, mark = values[after, y, x], 2
                if values[z, above, x] < best:
                    best, mark = values[z, above, x], 3
                if values[z, below, x] < best:
                    best, mark = values[z, below, x], 4
                left, right = max(x - 1, 0), min(x + 1, width - 1)
                if values[z, y, left] < best:
                    best, mark = values[z, y, left], 5
                if values[z, y, right] < best:
                    best, mark = values[z, y, right], 6
                least[z, y, x] = best
                origin[z, y, x] = mark


@njit(cache=True, nogil=True)
def back_to_cross(weight: Any, origin: Any, gradient: Any) -> None:
    """Add each voxel's ``weight`` to ``gradient`` where its least value came from."""
    depth, height, width = weight.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                mark = origin[z, y, x]
                way = (mark + 1) // 2  # 0 for none, then z, y, x
                step = 1 - 2 * (mark % 2)
                there = (z + step * (way == 1), y + step * (way == 2), x + step * (way == 3))
                gradient[there] += weight[z, y, x]


@njit(cache=True, nogil=True)
def most_of_line(values: Any, most: Any, origin: Any) -> None:
    """Greatest of each voxel and its 2 neighbours along the middle axis.

    Parameters
    ----------
    values, most : ndarray of float, shape (outer, n, inner)
        Read and written.
    origin : ndarray of int8, shape (outer, n, inner)
        Written: how many voxels on along the axis, -1, 0 or 1.
    """
    outer, count, inner = values.shape
    for i in range(outer):
        for n in range(count):
            before, after = max(n - 1, 0), min(n + 1, count - 1)
            for j in range(inner):
                best, mark = values[i, n, j], 0
                if values[i, before, j] > best:
                    best, mark = values[i, before, j], -1
                if values[i, after, j] > best:
                    best, mark = values[i, after, j], 1
                most[i, n, j] = best
                origin[i, n, j] = mark


@njit(cache=True, nogil=True)
def back_to_line(weight: Any, origin: Any, gradient: Any) -> None:
    """Add each voxel's ``weight`` to ``gradient`` where its greatest value came from."""
    outer, count, inner = weight.shape
    for i in range(outer):
        for n in range(count):
            for j in range(inner):
                gradient[i, n + origin[i, n, j], j] += weight[i, n, j]
