"""Predictions as graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.annotation.simplify import simplify, smooth
from neuroconn.geometry import ZYX
from neuroconn.metrics import subdivide
from neuroconn.metrics.along import Nearest
from neuroconn.tracing.blocks import map_lines
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.tracing.lines import prune
from neuroconn.tracing.settings import TraceSettings

STEP = 1.0
"""Longest edge of the truth, in voxels, when it is asked edge by edge what became of it."""


def predicted_lines(
    source: DistanceMap,
    *,
    block: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """Thin a map to lines, block by block, as `neuroconn trace` does.

    Unlike a tracing it keeps loops, short pieces and doubtful ones: whether they are right is the
    question. Spurs are pruned, and nodes smoothed, so that lengths are those of lines and not of
    stairs.

    Parameters
    ----------
    source : DistanceMap
        The map and its threshold.
    block : int, optional
        Voxels along a side thinned at once; the lines do not depend on it.
    progress : callable, optional
        Called with blocks done, and all blocks.

    Returns
    -------
    Graph
        In voxels.
    """
    usual = TraceSettings(threshold=source.threshold)
    found = map_lines(source, source.blocks(block, source.bounds), progress=progress)
    pruned, _ = prune(found, 2 * source.threshold)
    return simplify(smooth(pruned.graph, usual.smooth), usual.tolerance)


def fine(truth: Graph, shape: ZYX | None = None) -> Graph:
    """Cut the truth into edges of a voxel at most, and leave out what is not in the volume."""
    cut = subdivide(truth, STEP)
    if shape is None:
        return cut
    voxels = np.floor(cut.positions + 0.5)
    inside = np.logical_and(voxels >= 0, voxels < np.asarray(shape)).all(axis=1)
    return cut.take(np.flatnonzero(inside))


def pieces_near(prediction: Graph, points: NDArray[np.float64], slack: float) -> NDArray[np.int64]:
    """Return the component of the nearest predicted line, counted from 1; 0 if none is near."""
    places, _ = Nearest(prediction)(points, slack)
    known = places.edge >= 0
    ids = np.zeros(len(points), dtype=np.int64)
    ids[known] = prediction.components()[prediction.edges[places.edge[known], 0]] + 1
    return ids
