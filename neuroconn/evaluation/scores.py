"""What an evaluation says: a value, a table, a JSON object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from neuroconn.evaluation.table import table
from neuroconn.metrics import APLS, CCQ, ERL, TLTS, Betti, Breaks, ClDice, Ranking


@dataclass(frozen=True, slots=True)
class Scores:
    """How well a prediction and an annotation agree; what was not measured is None."""

    counts: CCQ
    """Voxels predicted, correct, true and found, and what follows from them."""
    unexplored: int
    """Voxels of the truth where nobody looked; they count as not found."""
    threshold: float | None
    """A distance below it is a prediction, in voxels; None if the prediction is a tracing."""
    slack: float
    """Farthest two lines match, in voxels (of two tracings, in their unit)."""
    thinned: bool
    """Whether the skeleton of the prediction was scored, or the mask as it is."""
    planes: int | None = None
    """How many labelled planes were scored in 2D; None if the volume was, in 3D."""
    radius: float | None = None
    """Voxels nearer than this to a line of the truth are its mask."""
    unit: str = "voxel"
    """Of the lengths of runs: um if the voxel size is known."""
    voxel: Ranking | None = None
    """Voxels by predicted distance."""
    cldice: ClDice | None = None
    """Skeletons in masks."""
    betti: Betti | None = None
    """Errors of pieces, loops and cavities, in windows."""
    erl: ERL | None = None
    """Runs, splits, merges and omissions; lengths in ``unit``."""
    breaks: Breaks | None = None
    """Breaks at chunk faces and elsewhere; lengths in voxels."""
    tlts: TLTS | None = None
    """Sampled paths."""
    apls: APLS | None = None
    """Path lengths both ways."""

    def per_mm(self, count: float) -> float | None:
        """Divide a count by the length of the truth in mm; None if that is not known."""
        if self.erl is None or self.unit != "um" or not self.erl.length:
            return None
        return count / (self.erl.length / 1000)

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return {
            "correctness": self.counts.correctness,
            "completeness": self.counts.completeness,
            "quality": self.counts.quality,
            "predicted_voxels": self.counts.predicted,
            "correct_voxels": self.counts.correct,
            "truth_voxels": self.counts.truth,
            "found_voxels": self.counts.found,
            "unexplored_truth_voxels": self.unexplored,
            "threshold": self.threshold,
            "slack": self.slack,
            "thinned": self.thinned,
            "planes": self.planes,
            "radius": self.radius,
            "voxel": self._voxel(),
            "lines": self._lines(),
            "topology": self._topology(),
            "connectivity": self._connectivity(),
        }

    def _voxel(self) -> dict[str, Any] | None:
        if self.voxel is None or self.threshold is None:
            return None
        return {
            "average_precision": self.voxel.average_precision,
            "precision": self.voxel.precision(self.threshold),
            "recall": self.voxel.recall(self.threshold),
            "truth_voxels": self.voxel.truth,
        }

    def _lines(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: getattr(self.counts, name) for name in ("correctness", "completeness", "quality")
        }
        if self.cldice is not None:
            found["cldice"] = self.cldice.score
            found["cldice_precision"] = self.cldice.precision
            found["cldice_sensitivity"] = self.cldice.sensitivity
        return found

    def _topology(self) -> dict[str, Any] | None:
        if self.betti is None:
            return None
        names = ("pieces", "loops", "cavities")
        errors = dict(zip(names, self.betti.errors, strict=True))
        means = dict(zip(names, self.betti.mean, strict=True))
        return {"betti_errors": errors, "betti_mean": means, "windows": self.betti.windows}

    def _connectivity(self) -> dict[str, Any] | None:
        parts = (self._runs(), self._seams(), self._paths())
        found = {key: value for part in parts for key, value in part.items()}
        return found or None

    def _runs(self) -> dict[str, Any]:
        if (runs := self.erl) is None:
            return {}
        return {
            "unit": self.unit,
            "truth_length": runs.length,
            "expected_run_length": runs.run_length,
            "expected_run_length_with_merges": runs.run_length_with_merges,
            "expected_run_length_of_truth": runs.perfect_run_length,
            "splits": runs.splits,
            "splits_per_mm": self.per_mm(runs.splits),
            "merges": runs.merges,
            "omitted_edges": runs.omitted_edges,
            "omitted_share": runs.omitted,
            "edges": runs.edges,
        }

    def _seams(self) -> dict[str, Any]:
        if (breaks := self.breaks) is None:
            return {}
        return {
            "breaks": breaks.total,
            "breaks_per_mm": self.per_mm(breaks.total),
            "breaks_at_faces": breaks.at_faces,
            "breaks_interior": breaks.interior,
            "face_crossings": breaks.crossings,
            "breaks_per_crossing": breaks.per_crossing,
            "breaks_per_interior_crossing": breaks.interior_per_crossing,
            "face_ratio": breaks.ratio,
            "face_ratio_interval": [_finite(bound) for bound in breaks.interval()],
        }

    def _paths(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.tlts is not None:
            names = ("correct", "infeasible", "too_long", "too_short")
            found["tlts"] = {name: self.tlts.share(name) for name in names}
            found["tlts"]["pairs"] = self.tlts.pairs
        if self.apls is not None:
            found["apls"] = self.apls.score
            found["apls_forward"] = self.apls.forward
            found["apls_backward"] = self.apls.backward
        return found

    def __str__(self) -> str:
        return "\n".join(table(self))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
