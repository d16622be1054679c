"""A distance map against a truth: blocks for what is counted in voxels, graphs for paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neuroconn.annotation import Graph
from neuroconn.errors import VolumeError
from neuroconn.evaluation import blocks as cut
from neuroconn.evaluation.blocks import Blocks, Tally, blocks_of, score_block
from neuroconn.evaluation.choice import Choice
from neuroconn.evaluation.lines import fine, predicted_lines
from neuroconn.evaluation.prediction import Prediction
from neuroconn.evaluation.scores import Scores
from neuroconn.geometry import ZYX
from neuroconn.metrics import Ranking, Segments, apls, breaks_at_faces, erl, tlts
from neuroconn.metrics.truth import Truth

Progress = Callable[[int, int], None]


def score_planes(
    prediction: Prediction, truth: Truth, choice: Choice, progress: Progress | None
) -> Scores:
    """Score each labelled plane on its own."""
    planes = truth.planes()
    if not planes:
        raise _nothing_true()
    total = Tally()
    for done, plane in enumerate(planes, 1):
        total += score_block(prediction, truth, plane, plane, choice)
        if progress is not None:
            progress(done, len(planes))
    return _scores(total, choice, planes=len(planes))


def score_volume(
    prediction: Prediction,
    truth: Truth,
    choice: Choice,
    chunk: ZYX,
    progress: Progress | None,
) -> Scores:
    """Score a whole volume in 3D.

    Each group of metrics reads the map once: blocks for voxels, lines and runs; then those of the
    tracing for paths.
    """
    runs, paths = _any(choice, "erl", "breaks"), _any(choice, "tlts", "apls")
    lines = truth.graph(cut.BLOCK) if runs or paths else None
    nodes = fine(lines, prediction.shape) if lines is not None and runs else None
    segments = None
    if nodes is not None:
        segments = Segments(nodes.positions, prediction.shape, slack=choice.slack)
    parts = blocks_of(prediction, truth, choice, segments)
    steps = _Steps(progress, len(parts))
    total = _add_up(prediction, truth, choice, parts, segments, steps)
    if not total.counts.truth:
        raise _nothing_true()
    scores = _scores(total, choice)
    if nodes is not None and segments is not None:
        scores = _with_runs(scores, prediction, choice, chunk, nodes, segments)
    if lines is not None and paths:
        found = predicted_lines(prediction.source, progress=steps.more)
        scores = _with_paths(scores, choice, found, lines)
    return scores


class _Steps:
    """Progress over blocks, then over the blocks of the tracing, which are known later."""

    def __init__(self, progress: Progress | None, blocks: int) -> None:
        self._progress, self._blocks = progress, blocks

    def __call__(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._blocks)

    def more(self, done: int, blocks: int) -> None:
        if self._progress is not None:
            self._progress(self._blocks + done, self._blocks + blocks)


def _add_up(
    prediction: Prediction,
    truth: Truth,
    choice: Choice,
    parts: Blocks,
    segments: Segments | None,
    steps: _Steps,
) -> Tally:
    total = Tally()
    for done, (core, block) in enumerate(parts, 1):
        total += score_block(prediction, truth, core, block, choice, segments)
        steps(done)
    if "voxel" in choice and parts.skipped:
        nowhere = Ranking(np.array([np.inf]), np.array([0]), np.array([parts.skipped]))
        total += Tally(voxel=nowhere)
    return total


def _scores(total: Tally, choice: Choice, planes: int | None = None) -> Scores:
    return Scores(
        counts=total.counts,
        unexplored=total.unexplored,
        threshold=choice.threshold,
        slack=choice.slack,
        thinned=choice.thin,
        planes=planes,
        radius=choice.radius,
        voxel=total.voxel if "voxel" in choice else None,
        cldice=total.cldice if "cldice" in choice else None,
        betti=total.betti if "betti" in choice else None,
    )


def _with_runs(
    scores: Scores,
    prediction: Prediction,
    choice: Choice,
    chunk: ZYX,
    nodes: Graph,
    segments: Segments,
) -> Scores:
    """Add what follows from the segment of every piece of the truth."""
    image, ids = prediction.image, segments.ids()
    unit = "um" if image.spacing_known else "voxel"
    spacing = image.frame.spacing_um if image.spacing_known else (1.0, 1.0, 1.0)
    found = replace(scores, unit=unit, erl=erl(nodes, ids, spacing=spacing))
    if "breaks" in choice:
        seams = breaks_at_faces(nodes, ids, chunk=chunk, shape=prediction.shape)
        found = replace(found, breaks=seams)
    return found


def _with_paths(scores: Scores, choice: Choice, found: Graph, lines: Graph) -> Scores:
    if "tlts" in choice:
        scores = replace(scores, tlts=tlts(found, lines, seed=choice.seed))
    if "apls" in choice:
        scores = replace(scores, apls=apls(found, lines, seed=choice.seed))
    return scores


def _any(choice: Choice, *metrics: str) -> bool:
    return any(metric in choice for metric in metrics)


def _nothing_true() -> VolumeError:
    return VolumeError(
        "the truth has no neurite in this volume, so nothing can be found or missed; check its "
        "label (--label), its units and its origin"
    )
