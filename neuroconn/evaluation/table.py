"""Scores as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuroconn.evaluation.scores import Scores

Row = tuple[str, str, str]
"""Name, number, and what it is made of."""


def table(scores: Scores) -> list[str]:
    """Return the lines of a table: what was compared, then the metrics by group."""
    lines = [_title(scores)]
    for group, rows in (
        ("lines", _lines(scores)),
        ("voxels", _voxels(scores)),
        ("topology", _topology(scores)),
        ("connectivity", [*_runs(scores), *_seams(scores), *_paths(scores)]),
    ):
        body = [f"  {name:<14} {number:<7} {what}".rstrip() for name, number, what in rows]
        lines += [group, *body] if body else []
    return lines


def _title(scores: Scores) -> str:
    if scores.threshold is None:
        return f"tracing against tracing, slack {scores.slack:g} {_unit(scores)}"
    what = "skeleton" if scores.thinned else "mask"
    where = "in 3D" if scores.planes is None else f"in 2D on {scores.planes} planes"
    return f"{what} of distances below {scores.threshold:g}, slack {scores.slack:g}, {where}"


def _lines(scores: Scores) -> Iterator[Row]:
    counts, what = scores.counts, "points" if scores.threshold is None else "voxels"
    unexplored = "" if scores.threshold is None else f" ({scores.unexplored} are unexplored)"
    correct = f"{counts.correct} of {counts.predicted} predicted {what}"
    found = f"{counts.found} of {counts.truth} true {what}{unexplored}"
    yield "correctness", f"{counts.correctness:.3f}", correct
    yield "completeness", f"{counts.completeness:.3f}", found
    yield "quality", f"{counts.quality:.3f}", ""
    if (both := scores.cldice) is not None:
        parts = f"precision {both.precision:.3f}, sensitivity {both.sensitivity:.3f}"
        yield "clDice", f"{both.score:.3f}", parts


def _voxels(scores: Scores) -> Iterator[Row]:
    if (ranking := scores.voxel) is None or (at := scores.threshold) is None:
        return
    truth = f"{ranking.truth} voxels within {scores.radius:g} of the truth"
    yield "AP", f"{ranking.average_precision:.3f}", f"over all thresholds; {truth}"
    yield "precision", f"{ranking.precision(at):.3f}", f"of voxels below {at:g}"
    yield "recall", f"{ranking.recall(at):.3f}", ""


def _topology(scores: Scores) -> Iterator[Row]:
    if (betti := scores.betti) is None:
        return
    for name, error, mean in zip(
        ("pieces", "loops", "cavities"), betti.errors, betti.mean, strict=True
    ):
        yield name, f"{mean:.3f}", f"wrong in a window: {error} in {betti.windows}"


def _runs(scores: Scores) -> Iterator[Row]:
    if (runs := scores.erl) is None:
        return
    rest = f"of {runs.perfect_run_length:.0f}; {runs.run_length_with_merges:.0f} with merges"
    yield "run length", f"{runs.run_length:.0f}", f"{_unit(scores)} {rest} forgiven"
    yield "splits", f"{runs.splits}", _rate(scores.per_mm(runs.splits))
    yield "merges", f"{runs.merges}", "segments in more than one tree"
    edges = f"of the length, {runs.omitted_edges} of {runs.edges} edges"
    yield "omitted", f"{runs.omitted:.3f}", edges


def _seams(scores: Scores) -> Iterator[Row]:
    if (breaks := scores.breaks) is None:
        return
    yield "breaks", f"{breaks.total:g}", _rate(scores.per_mm(breaks.total))
    ratio, (low, high) = breaks.ratio, breaks.interval()
    crossing = f"{breaks.per_crossing:.4g} at each of {breaks.crossings} chunk crossings"
    yield (
        "at faces",
        "-" if ratio is None else f"{ratio:.2f}",
        f"times as many a length as elsewhere (95 %: {low:.2f} to {high:.2f}); {crossing}",
    )


def _paths(scores: Scores) -> Iterator[Row]:
    if (paths := scores.tlts) is not None:
        names = {"infeasible": "infeasible", "too_long": "too long", "too_short": "too short"}
        others = ", ".join(f"{paths.share(what):.3f} {word}" for what, word in names.items())
        yield "TLTS", f"{paths.share('correct'):.3f}", f"correct, {others}, of {paths.pairs} paths"
    if (both := scores.apls) is not None:
        parts = f"truth in prediction {both.forward:.3f}, back {both.backward:.3f}"
        yield "APLS", f"{both.score:.3f}", parts


def _rate(per_mm: float | None) -> str:
    return "" if per_mm is None else f"{per_mm:.3f} a mm"


def _unit(scores: Scores) -> str:
    return "µm" if scores.unit == "um" else "voxels"
