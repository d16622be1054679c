"""Precision and recall of voxels over all thresholds of a distance map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Voxels by predicted distance, nearest first; those of separate blocks add up.

    A stored map has a few hundred distinct distances, so counting voxels of each loses nothing:
    the average precision is exact, however large the volume.
    """

    distance: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(k,) distinct distances, ascending; infinite where nobody looked."""
    true: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(k,) voxels of the truth at each."""
    false: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(k,) other voxels at each."""

    def __add__(self, other: Ranking) -> Ranking:
        return _tally(
            np.concatenate([self.distance, other.distance]),
            np.concatenate([self.true, other.true]),
            np.concatenate([self.false, other.false]),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ranking):
            return NotImplemented
        return (
            np.array_equal(self.distance, other.distance)
            and np.array_equal(self.true, other.true)
            and np.array_equal(self.false, other.false)
        )

    @property
    def truth(self) -> int:
        """Voxels of the truth."""
        return int(self.true.sum())

    @property
    def average_precision(self) -> float:
        """Sum over thresholds of the gain in recall times the precision; 0 without a truth."""
        if not self.truth:
            return 0.0
        found, taken = np.cumsum(self.true), np.cumsum(self.true + self.false)
        return float((self.true * (found / taken)).sum() / self.truth)

    def precision(self, threshold: float) -> float:
        """Share of the voxels below a distance that are true; 0 if there are none."""
        found, taken = self._below(threshold)
        return found / taken if taken else 0.0

    def recall(self, threshold: float) -> float:
        """Share of the truth below a distance; 0 without a truth."""
        return self._below(threshold)[0] / self.truth if self.truth else 0.0

    def _below(self, threshold: float) -> tuple[int, int]:
        count = int(np.searchsorted(self.distance, threshold, side="left"))
        found = int(self.true[:count].sum())
        return found, found + int(self.false[:count].sum())


def rank(
    distance: NDArray[np.floating],
    truth: NDArray[np.bool_],
    *,
    judged: NDArray[np.bool_] | None = None,
) -> Ranking:
    """Count true and other voxels at every distance of a map.

    Parameters
    ----------
    distance : ndarray of float
        Predicted distances; NaN, where nobody looked, ranks last.
    truth : ndarray of bool, same shape
        Voxels that are neurite.
    judged : ndarray of bool, same shape, optional
        False where that is unknown.

    Returns
    -------
    Ranking

    Examples
    --------
    >>> counts = rank(np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, False, True, False]))
    >>> counts.precision(2.5), counts.recall(0.5)
    (0.6666666666666666, 0.5)
    """
    if distance.shape != truth.shape:
        raise ValueError(
            f"distance and truth must cover the same voxels, got {distance.shape}, {truth.shape}"
        )
    if judged is not None:
        distance, truth = distance[judged], truth[judged]
    values, code = np.unique(distance, return_inverse=True)  # one NaN for all of them
    return rank_codes(code.reshape(distance.shape), truth, values)


def rank_codes(
    codes: NDArray[np.integer], truth: NDArray[np.bool_], distances: ArrayLike
) -> Ranking:
    """Do the same for a map stored as small integers.

    Parameters
    ----------
    codes : ndarray of unsigned int
        Stored numbers.
    truth : ndarray of bool, same shape
        Voxels that are neurite.
    distances : sequence of float
        What each number stands for, NaN for unexplored.
    """
    table = np.asarray(distances, dtype=np.float64)
    counts = np.zeros((2, len(table)), dtype=np.int64)
    _count(np.ascontiguousarray(codes).ravel(), np.ascontiguousarray(truth).ravel(), counts)
    return _tally(np.where(np.isnan(table), np.inf, table), counts[1], counts[0])


def average_precision(
    distance: NDArray[np.floating],
    truth: NDArray[np.bool_],
    *,
    judged: NDArray[np.bool_] | None = None,
) -> float:
    """Area under the precision-recall curve of a distance map, as a sum of steps.

    Parameters
    ----------
    distance, truth, judged
        As for `rank`.

    Returns
    -------
    float
        ``sum_n (R_n - R_{n-1}) P_n`` over all distances n from near to far; 1 for a map that puts
        every true voxel before every other, the share of true voxels for a flat one, 0 without a
        truth. Voxels of one distance are one step, so their order does not matter.

    Examples
    --------
    >>> average_precision(np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, True, False, False]))
    1.0
    """
    return rank(distance, truth, judged=judged).average_precision


@njit(cache=True, nogil=True)
def _count(codes: Any, truth: Any, counts: Any) -> None:
    for voxel in range(len(codes)):
        counts[int(truth[voxel]), codes[voxel]] += 1


def _tally(
    distance: NDArray[np.float64], true: NDArray[np.int64], false: NDArray[np.int64]
) -> Ranking:
    """Sort, and add up what has one distance; distances of no voxel are left out."""
    seen = (true > 0) | (false > 0)
    values, where = np.unique(distance[seen], return_inverse=True)
    counts = [np.zeros(len(values), dtype=np.int64) for _ in range(2)]
    np.add.at(counts[0], where, true[seen])
    np.add.at(counts[1], where, false[seen])
    return Ranking(values, counts[0], counts[1])
