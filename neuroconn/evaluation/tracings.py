"""A tracing against another: a manual one and an automatic one of the same neurites."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from neuroconn.annotation import Graph, Units, concatenate, read_swc, swc_files
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.evaluation.choice import Choice
from neuroconn.evaluation.lines import fine, pieces_near
from neuroconn.evaluation.scores import Scores
from neuroconn.metrics import CCQ, apls, erl, tlts
from neuroconn.metrics.along import Nearest

TRACING_METRICS = frozenset({"ccq", "erl", "tlts", "apls"})
"""Those that need no volume."""


def score_tracings(
    prediction: Path, truth: Iterable[Path], choice: Choice, *, units: Units | None
) -> Scores:
    """Compare two tracings in their own coordinates.

    Parameters
    ----------
    prediction : path
        An SWC file, or a folder of them.
    truth : iterable of path
        The same; several are one truth.
    choice : Choice
        Lengths are in voxels if the files are, in µm otherwise.
    units : {"um", "voxel"} or float
        What both count in; a number is µm per SWC unit.

    Returns
    -------
    Scores
        Correctness and completeness count points a unit apart along the lines.
    """
    if units is None:
        raise UsageError(
            "an SWC does not say what it counts in: give the units of both tracings, "
            "um, voxel or the µm in one unit (--units)"
        )
    scale = 1.0 if isinstance(units, str) else units
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"units must be um, voxel or a positive number of µm, got {units}")
    mine, theirs = (_graph(paths, scale) for paths in ([prediction], list(truth)))
    if not len(theirs):
        raise AnnotationError("the truth has no node: there is nothing to compare with")
    cut = fine(theirs)
    runs = erl(cut, pieces_near(mine, cut.positions, choice.slack)) if "erl" in choice else None
    return Scores(
        counts=_overlap(mine, theirs, choice.slack),
        unexplored=0,
        threshold=None,
        slack=choice.slack,
        thinned=False,
        unit="voxel" if units == "voxel" else "um",
        erl=runs,
        tlts=tlts(mine, theirs, seed=choice.seed) if "tlts" in choice else None,
        apls=apls(mine, theirs, seed=choice.seed) if "apls" in choice else None,
    )


def _graph(paths: list[Path], scale: float) -> Graph:
    forest = concatenate([read_swc(file) for file in swc_files(paths)])
    return Graph.from_forest(forest.transform(scale))


def _overlap(prediction: Graph, truth: Graph, slack: float) -> CCQ:
    """Count points along either side that are within the slack of the other."""
    found = []
    for here, there in ((prediction, truth), (truth, prediction)):
        points = fine(here).positions
        near, _ = Nearest(there)(points, slack)
        found += [len(points), int(np.count_nonzero(near.edge >= 0))]
    return CCQ(*found)
