"""Options of the connectivity losses, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypedDict

Mode = Literal["robust", "reference"]
EdgeCost = Literal["sum", "min"]


class TopologyOptions(TypedDict, total=False):
    """Keywords of `l_topo` that every connectivity loss takes."""

    window: int
    clip: float
    low: float | None
    high: float | None
    dilation: int
    mode: Mode
    edge_cost: EdgeCost
    disconnection: float
    false_connection: float
    centreline: float


@dataclass(frozen=True, slots=True)
class Rules:
    """The options of `l_topo`, which documents them, with nothing left open.

    Examples
    --------
    >>> Rules(clip=15).thresholds
    (7.5, 15)
    """

    window: int = 48
    clip: float = 10.0
    low: float | None = None
    high: float | None = None
    dilation: int = 5
    mode: Mode = "robust"
    edge_cost: EdgeCost = "sum"
    disconnection: float = 1e-4
    false_connection: float = 1e-5
    centreline: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("dilation", 0)):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= least):
                raise ValueError(f"{name} must be a whole number of pixels >= {least}, got {value}")
        for name in ("disconnection", "false_connection", "centreline"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and >= 0, got {getattr(self, name)}")
        if not 0 < self.clip < math.inf:
            raise ValueError(f"clip must be finite and above 0, got {self.clip}")
        low, high = self.thresholds
        if not 0 <= low <= high < math.inf:
            raise ValueError(f"thresholds must keep 0 <= low <= high, got {low} and {high}")
        for name, known in (("mode", ("robust", "reference")), ("edge_cost", ("sum", "min"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")

    @property
    def thresholds(self) -> tuple[float, float]:
        """``low`` and ``high``, which bound the target's cost of an edge, in voxels."""
        low = self.clip / 2 if self.low is None else self.low
        return low, self.clip if self.high is None else self.high

    def check(self, *shape: int) -> None:
        """Refuse a map that whole windows do not cover: what is left over would be ignored."""
        if any(size % self.window for size in shape):
            sides = " x ".join(map(str, shape))
            raise ValueError(
                f"windows of {self.window} pixels do not divide a map of {sides}: take "
                f"{_fitting(self.window, math.gcd(*shape))}"
            )


def _fitting(window: int, side: int) -> str:
    """Say which window sizes near ``window`` divide ``side``."""
    divisors = [d for d in range(1, side + 1) if side % d == 0]
    below = [d for d in divisors if d < window][-1:]
    return " or ".join(map(str, below + [d for d in divisors if d > window][:1]))
