"""What is measured, and with which numbers."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from neuroconn.errors import UsageError

METRICS = ("voxel", "ccq", "cldice", "betti", "erl", "breaks", "tlts", "apls")
"""Names of the metrics, in the order of the table."""
ON_GRAPHS = frozenset({"erl", "breaks", "tlts", "apls"})
"""Those that need the truth as lines in space, not as voxels or planes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What `evaluate` was asked for.

    Raises
    ------
    UsageError
        If a number is out of range, or a metric unknown.
    """

    metrics: frozenset[str]
    """Chosen ones; CCQ is always counted, since it costs next to nothing beside the reading."""
    threshold: float
    """A distance below it is a prediction, in voxels."""
    slack: float
    """Farthest two lines match, in voxels."""
    radius: float
    """Voxels nearer than this to a line of the truth are its mask."""
    thin: bool = True
    """Whether the skeleton of the prediction is scored, or the mask as it is."""
    window: int = 64
    """Edge of the windows in which Betti numbers are compared, in voxels."""
    seed: int = 0
    """Of the paths that TLTS and APLS sample."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.metrics) - set(METRICS))
        if unknown:
            raise UsageError(f"no metric is called {unknown[0]!r}; there are {', '.join(METRICS)}")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise UsageError(f"threshold must be above 0 voxels, got {self.threshold}")
        if not (math.isfinite(self.slack) and self.slack >= 0):
            raise UsageError(f"slack must be 0 voxels or more, got {self.slack}")
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise UsageError(f"radius must be above 0 voxels, got {self.radius}")
        if self.window < 1:
            raise UsageError(f"window must be 1 voxel or more, got {self.window}")

    def __contains__(self, metric: str) -> bool:
        return metric in self.metrics


def available(asked: Collection[str] | None, possible: Collection[str], why: str) -> frozenset[str]:
    """Return the metrics to compute: those asked for, or all that there can be.

    Raises
    ------
    UsageError
        If one was asked for that this truth cannot give; ``why`` says why not.
    """
    if asked is None:
        return frozenset(possible)
    impossible = sorted((set(asked) & set(METRICS)) - set(possible))
    if impossible:
        raise UsageError(f"{impossible[0]} cannot be measured: {why}")
    return frozenset(asked)
