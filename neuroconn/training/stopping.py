"""Which weights are the best so far, and whether it is time to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from torch import Tensor

from neuroconn.config.validation import StoppingSettings


@dataclass
class Best:
    """The best validation of a run.

    Examples
    --------
    >>> best = Best(StoppingSettings(metric="quality", patience=2))
    >>> [best.judge(score, n) for n, score in enumerate([0.5, 0.4, 0.6, 0.6, 0.5])]
    [True, False, True, False, False]
    >>> best.over, best.score, best.iteration
    (True, 0.6, 2)
    """

    settings: StoppingSettings
    score: float | None = None
    """Of the metric; None before the first validation that had one."""
    iteration: int = 0
    """When it was."""
    waited: int = 0
    """Validations since."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """The network's state then, on the CPU."""
    scores: dict[str, float] = field(default_factory=dict)
    """All scores of that validation."""

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self.settings.patience is not None and self.waited >= self.settings.patience

    def judge(self, score: float, iteration: int) -> bool:
        """Take note of a validation; return whether it is the best so far."""
        if isfinite(score) and (self.score is None or self._gain(score) > self.settings.least):
            self.score, self.iteration, self.waited = score, iteration, 0
            return True
        self.waited += 1
        return False

    def state(self) -> dict[str, object]:
        """Return what a later process needs to go on."""
        names = ("score", "iteration", "waited", "weights", "scores")
        return {name: getattr(self, name) for name in names}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, value in state.items():
            setattr(self, name, value)

    def _gain(self, score: float) -> float:
        assert self.score is not None
        return score - self.score if self.settings.rises else self.score - score
