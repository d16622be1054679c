"""What tracing is told."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neuroconn.errors import UsageError


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """How a distance map becomes trees. Voxels are those of the map.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    threshold: float = 3.0
    """Distances below it are neurite, in voxels."""
    core: float | None = None
    """Drop trees that come nowhere nearer to a centreline than this many voxels."""
    spur: float = 6.0
    """Prune branches that end before they are so long, in voxels; twice the threshold removes
    what the surface of the mask makes up."""
    shortest: float = 20.0
    """Drop trees of less cable, in the unit of the output."""
    bridge: float = 0.0
    """Join ends at most so many voxels apart that point at each other."""
    smooth: int = 2
    """Passes of smoothing along branches, each over a node and its two neighbours."""
    tolerance: float = 0.5
    """Leave out nodes from which the line without them is so near, in voxels."""
    step: float | None = None
    """Instead, space nodes evenly, at most so many voxels apart."""
    kind: int = 0
    """SWC type of the nodes: 0 undefined, 2 axon, 3 dendrite. A map does not tell them apart."""

    def __post_init__(self) -> None:
        for name in ("spur", "shortest", "bridge", "tolerance", "smooth", "kind"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise UsageError(f"threshold must be above 0 voxels, got {self.threshold}")
        if self.core is not None and not 0 < self.core <= self.threshold:
            raise UsageError(
                f"core must be above 0 and at most the threshold, {self.threshold:g} voxels: "
                f"it asks for stronger evidence; got {self.core}"
            )
        if self.step is not None and not (math.isfinite(self.step) and self.step > 0):
            raise UsageError(f"step must be above 0 voxels, got {self.step}")
