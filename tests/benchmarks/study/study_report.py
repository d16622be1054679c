"""The table of a study: mean and spread over seeds, and the change against the baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from study_plan import Cell, StudySettings, cells

COLUMNS = {
    "threshold": ("threshold", 1),
    "average_precision": ("voxel AP", 3),
    "quality": ("quality", 3),
    "correctness": ("correctness", 3),
    "cldice": ("clDice", 3),
    "splits_per_mm": ("splits/mm", 1),
    "splits_without_slack": ("without slack", 1),
    "omitted": ("omitted", 3),
    "merges": ("merges", 0),
    "erl": ("ERL", 0),
    "tlts": ("TLTS correct", 3),
    "apls": ("APLS", 3),
    "labelled_quality": ("real quality", 3),
}
"""Key of a score to its heading and decimals."""
SECTIONS = {
    "At 3 voxels, the threshold of `neuroconn trace`": "pooled",
    "At each run's own threshold": "own",
}
"""Heading to the key of its scores."""
CHANGES = ("splits_per_mm", "omitted", "average_precision", "quality")

Scores = dict[str, float]


def write_report(study: StudySettings, folder: Path) -> str:
    """Write ``report.md`` and ``report.json`` into the folder; return the text."""
    parts = [f"## {study.title}"]
    for heading, key in SECTIONS.items():
        found = dict(read_scores(study, folder, key))
        parts += [f"### {heading}", table(study, found), changes(study, found)]
    text = "\n\n".join(parts)
    (folder / "report.md").write_text(text + "\n")
    rows = [
        {**vars(cell), "scores": scores, "own": dict(read_scores(study, folder, "own")).get(cell)}
        for cell, scores in read_scores(study, folder, "pooled")
    ]
    (folder / "report.json").write_text(json.dumps(rows, indent=1) + "\n")
    return text


def read_scores(study: StudySettings, folder: Path, key: str) -> Iterator[tuple[Cell, Scores]]:
    """Yield every scored run: ``pooled`` or its ``own`` threshold's scores."""
    for cell in cells(study):
        path = folder / cell.name / "scores.json"
        if cell.stage == "branch" and path.exists():
            scores = json.loads(path.read_text())
            if key in scores:
                yield cell, scores[key]


def table(study: StudySettings, found: dict[Cell, Scores]) -> str:
    """Return one row a network and loss: mean ± standard deviation over seeds."""
    keys = [k for k in COLUMNS if any(k in scores for scores in found.values())]
    rows = [["network", "loss", "runs", *(COLUMNS[k][0] for k in keys)]]
    for network in study.networks:
        for loss in study.losses:
            runs = [s for c, s in found.items() if (c.network, c.loss) == (network, loss)]
            if runs:
                values = [spread([run.get(k, np.nan) for run in runs], COLUMNS[k][1]) for k in keys]
                rows.append([network, loss, str(len(runs)), *values])
    return markdown(rows)


def changes(study: StudySettings, found: dict[Cell, Scores]) -> str:
    """Return the change of each loss against the baseline, paired by network and seed."""
    baseline, *others = study.losses
    rows = [["network", "loss", *(f"Δ {COLUMNS[k][0]}" for k in CHANGES)]]
    for network in study.networks:
        for loss in others:
            pairs = [
                (scores, found[twin])
                for cell, scores in found.items()
                if (cell.network, cell.loss) == (network, loss)
                and (twin := Cell(network, baseline, cell.seed, "branch")) in found
            ]
            if pairs:
                rows.append([network, loss, *(change(pairs, key) for key in CHANGES)])
    return f"Against `{baseline}` of the same network and seed:\n\n" + markdown(rows)


def change(pairs: list[tuple[Scores, Scores]], key: str) -> str:
    """Return the mean difference: of a share as it is, of a count in per cent."""
    ours, theirs = (np.array([p[i].get(key, np.nan) for p in pairs]) for i in (0, 1))
    if key in ("average_precision", "quality"):
        return f"{np.mean(ours - theirs):+.3f}"
    if not theirs.all():
        return "-"
    ratios = 100 * (ours / theirs - 1)
    low, high = ratios.min(), ratios.max()
    return f"{100 * (ours.sum() / theirs.sum() - 1):+.0f} % ({low:+.0f} to {high:+.0f})"


def spread(values: list[float], digits: int) -> str:
    """Return mean ± standard deviation.

    Examples
    --------
    >>> spread([0.1, 0.3], 2)
    '0.20 ± 0.14'
    """
    deviation = np.std(values, ddof=1) if len(values) > 1 else float("nan")
    mean = f"{np.mean(values):.{digits}f}"
    return mean if np.isnan(deviation) else f"{mean} ± {deviation:.{digits}f}"


def markdown(rows: list[list[str]]) -> str:
    """Return a table; the first row is its head."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
