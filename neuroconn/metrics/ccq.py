"""Correctness, completeness and quality of thin lines, with slack.

Both sides are sets of voxels, and a voxel counts as found when the other side has one within the
slack: a line drawn two voxels aside is right, a line that is not there is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import distance_map
from neuroconn.metrics.balls import ball, nearest

_LARGEST_BALL = 20_000
"""Voxels around a voxel that are looked at one by one; beyond, a distance transform is faster."""


@dataclass(frozen=True, slots=True)
class CCQ:
    """Voxel counts from which the scores follow; counts of separate blocks add up.

    Examples
    --------
    >>> half = CCQ(predicted=50, correct=50, truth=100, found=53)
    >>> half.correctness, half.completeness, round(half.quality, 2)
    (1.0, 0.53, 0.53)
    >>> CCQ().quality
    0.0
    """

    predicted: int = 0
    """Voxels of the prediction."""
    correct: int = 0
    """Of these, voxels within the slack of the truth."""
    truth: int = 0
    """Voxels of the truth."""
    found: int = 0
    """Of these, voxels within the slack of the prediction."""

    def __add__(self, other: CCQ) -> CCQ:
        return CCQ(
            self.predicted + other.predicted,
            self.correct + other.correct,
            self.truth + other.truth,
            self.found + other.found,
        )

    @property
    def correctness(self) -> float:
        """Share of the prediction that is right (precision); 0 if there is none."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def completeness(self) -> float:
        """Share of the truth that is found (recall); 0 if there is none."""
        return self.found / self.truth if self.truth else 0.0

    @property
    def quality(self) -> float:
        """``c p / (c - c p + p)`` of completeness c and correctness p; 0 if either is 0."""
        both = self.completeness * self.correctness
        return both / (self.completeness - both + self.correctness) if both else 0.0


def ccq(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    slack: float = 3.0,
    spacing: Sequence[float] | None = None,
    core: tuple[slice, ...] | None = None,
    judged: NDArray[np.bool_] | None = None,
) -> CCQ:
    """Compare two skeletons.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x) or (y, x)
        Lines about one voxel wide; `skeleton` makes them.
    slack : float, optional
        Farthest a voxel may lie (Euclidean) from the other side and still match it.
    spacing : sequence of float, optional
        Voxel size, one number an axis; the slack is in its unit. The default counts voxels.
    core : tuple of slice, optional
        Count only voxels in this part. With ``slack`` voxels around it, the counts of blocks add
        up to those of the whole.
    judged : ndarray of bool, same shape, optional
        False where the truth is unknown: predictions there are neither right nor wrong.

    Returns
    -------
    CCQ

    Examples
    --------
    >>> line, aside = np.zeros((2, 9, 9), dtype=bool)
    >>> line[2], aside[5] = True, True
    >>> ccq(aside, line, slack=3).quality, ccq(aside, line, slack=2).quality
    (1.0, 0.0)
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must cover the same voxels, "
            f"got shapes {prediction.shape} and {truth.shape}"
        )
    if not slack >= 0:
        raise ValueError(f"slack must be 0 or more, got {slack}")
    _sizes(spacing, prediction.ndim)
    core = core if core is not None else (slice(None),) * prediction.ndim
    counted = (prediction if judged is None else prediction & judged)[core]
    wanted = (truth if judged is None else truth & judged)[core]
    return CCQ(
        predicted=int(np.count_nonzero(counted)),
        correct=_matches(counted, truth, core, slack, spacing),
        truth=int(np.count_nonzero(wanted)),
        found=_matches(wanted, prediction, core, slack, spacing),
    )


def _matches(
    voxels: NDArray[np.bool_],
    lines: NDArray[np.bool_],
    core: tuple[slice, ...],
    slack: float,
    spacing: Sequence[float] | None,
) -> int:
    """Count the ``voxels`` of the core that are within the slack of ``lines``."""
    if not (voxels.any() and lines.any()):
        return 0
    sizes = _sizes(spacing, lines.ndim)
    if np.prod([2 * slack / size + 1 for size in sizes]) > _LARGEST_BALL:
        return int(np.count_nonzero(voxels & _within(lines, slack, sizes)[core]))
    axes = 3 - lines.ndim
    z, y, x = (2 * slack + 1,) * axes + sizes  # no step along an axis that is not there
    start = [0] * axes + [part.indices(n)[0] for part, n in zip(core, lines.shape, strict=True)]
    there = np.argwhere(voxels.reshape((1,) * axes + voxels.shape)) + np.asarray(start)
    offsets = ball(slack, spacing=(z, y, x))
    found = nearest(lines.reshape((1,) * axes + lines.shape), there, offsets)
    return int(np.count_nonzero(found >= 0))


def _within(lines: NDArray[np.bool_], slack: float, sizes: tuple[float, ...]) -> NDArray[np.bool_]:
    """Voxels at most ``slack`` from one of ``lines``."""
    z, y, x = (1.0,) * (3 - lines.ndim) + sizes
    volume = lines.reshape((1,) * (3 - lines.ndim) + lines.shape)
    near = distance_map(volume, spacing=(z, y, x), clip=2 * slack + 1) <= slack
    return near.reshape(lines.shape)


def _sizes(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    sizes = (1.0,) * axes if spacing is None else tuple(spacing)
    if len(sizes) != axes:
        raise ValueError(f"spacing must have {axes} numbers, got {sizes}")
    return sizes
