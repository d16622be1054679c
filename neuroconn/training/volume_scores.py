"""How well the lines of whole sub-volumes are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neuroconn.annotation import Graph
from neuroconn.config.validation import VolumeSettings
from neuroconn.metrics import (
    betti,
    breaks_at_faces,
    ccq,
    cldice,
    rank,
    segments_at,
    skeleton,
    skeleton_graph,
    tlts,
)

_MESS = 10
"""How many times the voxels of the true lines a prediction may have and still be followed."""
_LINE = np.sqrt(3) / 2
"""Every voxel that a line passes through is at most half a diagonal away from it."""


def score_volumes(
    predictions: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[np.float32]],
    settings: VolumeSettings,
) -> dict[str, float]:
    """Score predicted against true distances; counts of the volumes are added up.

    Parameters
    ----------
    predictions, truths : sequences of ndarray of float32, shape (z, y, x)
        Distances in voxels.
    settings : VolumeSettings
        Threshold, slack, and where tiles met.

    Returns
    -------
    dict
        ``quality``, ``correctness`` and ``completeness`` of skeletons; ``cldice``; ``tlts``, the
        share of paths with the right length; ``betti``, the mean error of the number of pieces;
        ``breaks`` per 1000 voxels of line; ``average_precision``; ``volume_mse``. Empty without
        volumes.
    """
    pairs = [_Pair(p, t, settings) for p, t in zip(predictions, truths, strict=True)]
    if not pairs:
        return {}
    scores: dict[str, float] = {}
    for measure in _MEASURES:
        scores.update(measure(pairs))
    return scores


@dataclass(frozen=True)
class _Pair:
    """A prediction, its truth, and what both are thinned to."""

    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]
    settings: VolumeSettings

    @cached_property
    def masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Both as masks of one thickness."""
        threshold = self.settings.threshold
        return self.prediction < threshold, self.truth < threshold

    @cached_property
    def lines(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Both as skeletons."""
        return skeleton(self.masks[0]), skeleton(self.truth <= _LINE)

    @cached_property
    def graph(self) -> Graph:
        """The true lines as a graph."""
        return skeleton_graph(self.lines[1])


def _ccq(pairs: Sequence[_Pair]) -> Mapping[str, float]:
    counts = [ccq(*pair.lines, slack=pair.settings.slack) for pair in pairs]
    total = sum(counts[1:], counts[0])
    names = ("quality", "correctness", "completeness")
    return {name: float(getattr(total, name)) for name in names}


def _cldice(pairs: Sequence[_Pair]) -> Mapping[str, float]:
    counts = [cldice(*pair.masks, predicted_lines=pair.lines[0]) for pair in pairs]
    return {"cldice": sum(counts[1:], counts[0]).score}


def _paths(pairs: Sequence[_Pair]) -> Mapping[str, float]:
    counts = [tlts(_neighbours(pair), pair.graph, tolerance=0.15) for pair in pairs]
    return {"tlts": sum(counts[1:], counts[0]).share("correct")}


def _neighbours(pair: _Pair) -> Graph:
    """Voxels of the predicted skeleton, each joined to all of its 26 neighbours.

    An untrained network fills the volume with specks, whose `skeleton_graph` takes minutes; with
    so many more voxels than the truth has, nothing is as long as it should be.
    """
    mine, theirs = pair.lines
    if int(mine.sum()) > _MESS * max(1000, int(theirs.sum())):
        return Graph(np.empty((0, 3)), np.empty((0, 2), np.int64))
    voxels = np.argwhere(mine).astype(np.float64)
    return Graph(voxels, KDTree(voxels).query_pairs(1.8, output_type="ndarray").astype(np.int64))


def _betti(pairs: Sequence[_Pair]) -> Mapping[str, float]:
    counts = [betti(*pair.masks) for pair in pairs]
    return {"betti": sum(counts[1:], counts[0]).mean[0]}


def _breaks(pairs: Sequence[_Pair]) -> Mapping[str, float]:
    found, length = 0.0, 0.0
    for pair in pairs:
        truth, settings = pair.graph, pair.settings
        z, y, x = pair.truth.shape
        ids = segments_at(pair.masks[0], truth.positions, slack=settings.slack)
        core = (settings.core,) * 3
        found += breaks_at_faces(truth, ids, chunk=core, shape=(z, y, x)).total
        length += truth.length
    return {"breaks": 1000 * found / length if length else 0.0}


def _voxels(pairs: Sequence[_Pair]) -> Mapping[str, float]:
    ranks = [rank(np.round(pair.prediction, 2), pair.truth <= _LINE) for pair in pairs]
    errors = [float(np.square(pair.prediction - pair.truth).mean()) for pair in pairs]
    return {
        "average_precision": sum(ranks[1:], ranks[0]).average_precision,
        "volume_mse": sum(errors) / len(errors),
    }


_MEASURES: tuple[Callable[[Sequence[_Pair]], Mapping[str, float]], ...] = (
    _ccq,
    _cldice,
    _paths,
    _betti,
    _breaks,
    _voxels,
)
