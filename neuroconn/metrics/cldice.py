"""Centreline Dice: whether the skeleton of each side lies in the mask of the other."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.metrics.skeleton import skeleton


@dataclass(frozen=True, slots=True)
class ClDice:
    """Skeleton voxels from which the score follows; counts of separate blocks add up.

    Examples
    --------
    >>> half = ClDice(predicted=50, precise=50, truth=100, sensed=50)
    >>> half.precision, half.sensitivity, round(half.score, 4)
    (1.0, 0.5, 0.6667)
    """

    predicted: int = 0
    """Voxels of the prediction's skeleton."""
    precise: int = 0
    """Of these, voxels in the mask of the truth."""
    truth: int = 0
    """Voxels of the truth's skeleton."""
    sensed: int = 0
    """Of these, voxels in the mask of the prediction."""

    def __add__(self, other: ClDice) -> ClDice:
        return ClDice(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def precision(self) -> float:
        """Topology precision: share of the predicted skeleton in the truth; 0 without one."""
        return self.precise / self.predicted if self.predicted else 0.0

    @property
    def sensitivity(self) -> float:
        """Topology sensitivity: share of the true skeleton in the prediction; 0 without one."""
        return self.sensed / self.truth if self.truth else 0.0

    @property
    def score(self) -> float:
        """Harmonic mean of both; 0 if both are."""
        total = self.precision + self.sensitivity
        return 2 * self.precision * self.sensitivity / total if total else 0.0


def cldice(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    predicted_lines: NDArray[np.bool_] | None = None,
    true_lines: NDArray[np.bool_] | None = None,
    core: tuple[slice, ...] | None = None,
    judged: NDArray[np.bool_] | None = None,
) -> ClDice:
    """Compare two masks by their skeletons.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x) or (y, x)
        Masks of some thickness: of two skeletons, one voxel aside would score 0.
    predicted_lines, true_lines : ndarray of bool, same shape, optional
        Their skeletons where they are known; thinned here if not.
    core : tuple of slice, optional
        Count only voxels in this part. Given the skeletons, the counts of blocks add up to those of
        the whole.
    judged : ndarray of bool, same shape, optional
        False where the truth is unknown.

    Returns
    -------
    ClDice

    References
    ----------
    .. [1] S. Shit et al., "clDice: a novel topology-preserving loss function for tubular structure
       segmentation", CVPR 2021, equations 1 and 2.

    Examples
    --------
    >>> tube, half = np.zeros((2, 9, 40), dtype=bool)
    >>> tube[3:6, 2:-2], half[3:6, 2:20] = True, True
    >>> round(cldice(half, tube).precision, 1), round(cldice(half, tube).sensitivity, 1)
    (1.0, 0.5)
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must cover the same voxels, "
            f"got shapes {prediction.shape} and {truth.shape}"
        )
    mine = skeleton(prediction) if predicted_lines is None else predicted_lines
    theirs = skeleton(truth) if true_lines is None else true_lines
    if judged is not None:
        mine, theirs = mine & judged, theirs & judged
    part = core if core is not None else (slice(None),) * prediction.ndim
    return ClDice(
        predicted=int(np.count_nonzero(mine[part])),
        precise=int(np.count_nonzero(mine[part] & truth[part])),
        truth=int(np.count_nonzero(theirs[part])),
        sensed=int(np.count_nonzero(theirs[part] & prediction[part])),
    )
