"""Exact intensity statistics of a whole brain, from its histogram."""

from __future__ import annotations

import base64
import zlib
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (0.1, 1, 5, 25, 50, 75, 90, 99, 99.9, 99.99)


class Intensity(TypedDict):
    """What a brain's voxels look like as a whole; every number is exact."""

    voxels: int
    min: int
    max: int
    mean: float
    percentiles: dict[str, int]
    """Smallest value that at least so many percent of the voxels do not exceed."""
    mad: int
    """Median absolute deviation from the median."""
    zeros: float
    """Share of voxels that are 0."""
    saturated: float
    """Share of voxels at the largest value of the type."""


def voxel_histogram(voxels: NDArray[Any]) -> NDArray[np.int64]:
    """Count the voxels of each value.

    Parameters
    ----------
    voxels : ndarray of uint8 or uint16
        Any shape.

    Returns
    -------
    ndarray of int64, shape (256,) or (65536,)
    """
    # Imported here: who only summarises a histogram need not wait for a compiler.
    from neuroconn.volume import kernels

    counts = np.zeros(1 << (8 * voxels.dtype.itemsize), dtype=np.int64)
    kernels.count_values(np.ascontiguousarray(voxels).reshape(-1), counts)
    return counts


def intensity_statistics(histogram: NDArray[np.integer[Any]]) -> Intensity:
    """Summarise a histogram with one bin for each value of the type.

    Parameters
    ----------
    histogram : ndarray of int, shape (256,) or (65536,)
        Voxels of each value; at least one voxel.

    Returns
    -------
    Intensity
        Ready for JSON.

    Examples
    --------
    >>> counts = np.zeros(256, dtype=np.int64)
    >>> counts[[0, 10, 12]] = 1, 2, 1
    >>> stats = intensity_statistics(counts)
    >>> stats["percentiles"]["50"], stats["mad"], stats["zeros"]
    (10, 0, 0.25)
    """
    counts = np.asarray(histogram, dtype=np.int64)
    total = int(counts.sum())
    if total == 0:
        raise ValueError("the histogram counts no voxel, so it has no percentiles")
    present = np.flatnonzero(counts)
    median = _percentile(counts, 50)
    away = np.bincount(np.abs(present - median), weights=counts[present]).astype(np.int64)
    return Intensity(
        voxels=total,
        min=int(present[0]),
        max=int(present[-1]),
        mean=float(np.dot(present.astype(float), counts[present]) / total),
        percentiles={f"{p:g}": _percentile(counts, p) for p in PERCENTILES},
        mad=_percentile(away, 50),
        zeros=float(counts[0] / total),
        saturated=float(counts[-1] / total),
    )


def pack_histogram(histogram: NDArray[np.integer[Any]]) -> str:
    """Return a histogram as short text: zlib of little-endian int64, in base64."""
    return base64.b64encode(zlib.compress(histogram.astype("<i8").tobytes(), 6)).decode()


def unpack_histogram(text: str) -> NDArray[np.int64]:
    """Inverse of :func:`pack_histogram`."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<i8").astype(np.int64)


def _percentile(counts: NDArray[np.int64], percent: float) -> int:
    """Smallest value v with at least ``percent`` of the voxels at most v; exact in integers."""
    total = int(counts.sum())
    # Percentiles have at most two decimals: comparing integers leaves no rounding to argue about.
    rank = -(-total * round(percent * 100) // 10_000)
    return int(np.searchsorted(np.cumsum(counts), max(rank, 1)))
