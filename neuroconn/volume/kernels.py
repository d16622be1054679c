"""Loops over voxels, compiled: what every converted voxel passes through.

numpy needs several passes and copies for each of these (counting values: an eight-byte copy of
every voxel), and between them they would cost as much as compressing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX, MIN, MEAN, MODE = range(4)


@njit(cache=True, nogil=True)
def count_values(flat: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Add the number of voxels of each value to ``counts``."""
    # Equal neighbours would wait for each other's increment: four tables take turns.
    tables = np.zeros((4, counts.size), np.uint32)
    whole = flat.size // 4 * 4
    for i in range(0, whole, 4):
        tables[0, flat[i]] += 1
        tables[1, flat[i + 1]] += 1
        tables[2, flat[i + 2]] += 1
        tables[3, flat[i + 3]] += 1
    for i in range(whole, flat.size):
        tables[0, flat[i]] += 1
    for value in range(counts.size):
        for k in range(4):
            counts[value] += tables[k, value]


@njit(cache=True, nogil=True)
def count_codes(
    block: NDArray[Any],
    start: NDArray[np.int64],
    every: int,
    slab: int,
    code: NDArray[np.uint16],
    planes: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> None:
    """Count codes of values by plane, by slab of rows and by slab of columns.

    Looks at voxels whose y and x in the volume are multiples of ``every``; ``start`` is the (y, x)
    of the block in the volume. Counts begin with the slab that holds the block's first voxel.
    """
    depth, height, width = block.shape
    top, left = start[0] % slab, start[1] % slab
    for z in range(depth):
        for y in range((-start[0]) % every, height, every):
            for x in range((-start[1]) % every, width, every):
                value = code[block[z, y, x]]
                planes[z, value] += 1
                rows[(y + top) // slab, value] += 1
                columns[(x + left) // slab, value] += 1


@njit(cache=True, nogil=True)
def extreme(block: NDArray[Any], step: tuple[int, int, int], low: bool, out: NDArray[Any]) -> None:
    """Write the maximum (``low``: the minimum) over steps of voxels, as many as there are."""
    sz, sy, sx = step
    depth, height, width = block.shape
    row = np.empty(width, block.dtype)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            row[:] = block[z * sz, y * sy]
            for dz in range(z * sz, min(z * sz + sz, depth)):
                for dy in range(y * sy, min(y * sy + sy, height)):
                    other = block[dz, dy]
                    if low:
                        for x in range(width):
                            row[x] = min(row[x], other[x])
                    else:
                        for x in range(width):
                            row[x] = max(row[x], other[x])
            if sx == 1:
                out[z, y, :] = row
                continue
            for x in range(width // 2):
                a, b = row[2 * x], row[2 * x + 1]
                out[z, y, x] = min(a, b) if low else max(a, b)
            if width % 2:
                out[z, y, width // 2] = row[width - 1]


@njit(cache=True, nogil=True)
def mean(block: NDArray[Any], step: tuple[int, int, int], out: NDArray[Any]) -> None:
    """Write the mean over steps of voxels, halves rounded up; each step has 1, 2, 4 or 8 voxels."""
    sz, sy, sx = step
    depth, height, width = block.shape
    row = np.empty(width, np.uint32)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            row[:] = 0
            z1, y1 = min(z * sz + sz, depth), min(y * sy + sy, height)
            for dz in range(z * sz, z1):
                for dy in range(y * sy, y1):
                    other = block[dz, dy]
                    for x in range(width):
                        row[x] += other[x]
            lines = (z1 - z * sz) * (y1 - y * sy)
            for x in range(out.shape[2]):
                total, count = row[x * sx], lines
                if sx == 2 and 2 * x + 1 < width:
                    total, count = row[2 * x] + row[2 * x + 1], 2 * lines
                out[z, y, x] = (total + count // 2) // count


@njit(cache=True, nogil=True)
def mode(block: NDArray[Any], step: tuple[int, int, int], out: NDArray[Any]) -> None:
    """Write the most frequent of each step of voxels; of equally frequent ones the smallest."""
    sz, sy, sx = step
    depth, height, width = block.shape
    seen = np.empty(8, block.dtype)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                n = 0
                for dz in range(z * sz, min(z * sz + sz, depth)):
                    for dy in range(y * sy, min(y * sy + sy, height)):
                        for dx in range(x * sx, min(x * sx + sx, width)):
                            seen[n] = block[dz, dy, dx]
                            n += 1
                best, most = seen[0], 0
                for i in range(n):
                    count = 0
                    for k in range(n):
                        count += seen[k] == seen[i]
                    if count > most or (count == most and seen[i] < best):
                        best, most = seen[i], count
                out[z, y, x] = best
