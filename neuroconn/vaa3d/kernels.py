"""Loops over voxels, compiled: what every voxel of an export passes through."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def look_up(
    raw: NDArray[Any],
    codes: NDArray[np.uint8],
    table: NDArray[Any],
    low: int,
    out: NDArray[Any],
) -> None:
    """Write ``table[raw - low, codes]`` into ``out``; raw values beyond the table take its ends."""
    last, flat = table.shape[0] - 1, table.reshape(-1)
    # In two steps a line: the first does several voxels at once, the second cannot.
    place = np.empty(raw.shape[2], np.uint32)
    for z in range(raw.shape[0]):
        for y in range(raw.shape[1]):
            values, near, line = raw[z, y], codes[z, y], out[z, y]
            for x in range(place.size):
                row = np.int32(values[x]) - np.int32(low)
                row = min(max(row, np.int32(0)), np.int32(last))
                place[x] = np.uint32((row << 8) | near[x])
            for x in range(place.size):
                line[x] = flat[place[x]]


@njit(cache=True, nogil=True)
def largest(values: NDArray[Any], step: tuple[int, int, int], out: NDArray[Any]) -> None:
    """Write the maximum of each step of voxels."""
    row = np.empty(values.shape[2], values.dtype)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            row[:] = values[z * step[0], y * step[1]]
            for dz in range(z * step[0], (z + 1) * step[0]):
                for dy in range(y * step[1], (y + 1) * step[1]):
                    other = values[dz, dy]
                    for x in range(row.size):
                        row[x] = max(row[x], other[x])
            for x in range(out.shape[2]):
                out[z, y, x] = max(row[2 * x], row[2 * x + 1]) if step[2] == 2 else row[x]


@njit(cache=True, nogil=True)
def mean(values: NDArray[Any], step: tuple[int, int, int], out: NDArray[Any]) -> None:
    """Write the mean of each step of voxels, halves rounded up."""
    row = np.empty(values.shape[2], np.uint32)
    count = step[0] * step[1] * step[2]
    shift = np.uint32(0)
    while 1 << shift < count:
        shift += np.uint32(1)
    half = np.uint32(count // 2)
    for z in range(out.shape[0]):
        for y in range(out.shape[1]):
            row[:] = half if step[2] == 1 else 0
            for dz in range(z * step[0], (z + 1) * step[0]):
                for dy in range(y * step[1], (y + 1) * step[1]):
                    other = values[dz, dy]
                    for x in range(row.size):
                        row[x] += np.uint32(other[x])
            for x in range(out.shape[2]):
                total = row[2 * x] + row[2 * x + 1] + half if step[2] == 2 else row[x]
                out[z, y, x] = total >> shift


@njit(cache=True, nogil=True)
def step_down(values: NDArray[np.uint16]) -> None:
    """Lower exact powers of two by one, and 1 and 2 to 0, in place."""
    for z in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                value = values[z, y, x]
                if value & (value - 1) == 0:
                    values[z, y, x] = value - 1 if value > 2 else 0
