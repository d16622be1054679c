"""What the steps of a run cost: losses by the term, gradients, steps that were skipped.

A loss on a GPU is known when the GPU gets to it. Asking for it at once would make the processor
wait at every step, so it is asked for a step later, while the GPU works on the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from neuroconn.errors import ModelError
from neuroconn.training.ranks import Ranks

TOTAL, GRADIENT = "loss", "gradient"


@dataclass(frozen=True, slots=True)
class Step:
    """One update of the weights, not looked at yet."""

    iteration: int
    """Its number, from 1."""
    names: tuple[str, ...]
    """Of the loss and its terms."""
    values: Tensor
    """(batches, names), on the device."""
    gradient: Tensor
    """Length of the gradient before it was clipped."""
    where: tuple[tuple[str, ...], ...]
    """Where the crops of each batch come from."""


@dataclass
class Ledger:
    """Sums since the last logged row.

    Parameters
    ----------
    ranks : Ranks
        Processes that take part.
    scaled : bool
        Whether half precision scales the loss: then a gradient that is not finite is a step that
        the scaler skips, and no failure.
    """

    ranks: Ranks = field(default_factory=Ranks)
    scaled: bool = False
    skipped: int = 0
    """Steps skipped since the start of the run."""
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Sum and number of steps, by name."""
    latest: dict[str, float] = field(default_factory=dict)
    """Losses of the last step that was looked at."""
    _waiting: Step | None = None

    def note(self, step: Step) -> None:
        """Take in a step, and look at the one before it."""
        before, self._waiting = self._waiting, step
        if before is not None:
            self._look_at(before)

    def settle(self) -> None:
        """Look at the step that is still waiting.

        Raises
        ------
        ModelError
            If its loss or its gradient is not finite.
        """
        if self._waiting is not None:
            step, self._waiting = self._waiting, None
            self._look_at(step)

    def means(self) -> dict[str, float]:
        """Return the means over steps and processes since the last call, and start again."""
        names = list(self.sums)
        means = self.ranks.mean([self.sums[n][0] / self.sums[n][1] for n in names])
        self.sums = {}
        return dict(zip(names, means, strict=True))

    def state(self) -> dict[str, object]:
        """Return what a later process needs to go on, the same for all processes."""
        names = list(self.sums)
        means = self.ranks.mean([self.sums[n][0] for n in names])
        counts = [self.sums[n][1] for n in names]
        return {
            "skipped": self.skipped,
            "sums": dict(zip(names, map(list, zip(means, counts, strict=True)), strict=True)),
        }

    def load(self, state: Mapping[str, object]) -> None:
        """Go on from a state."""
        self.skipped = int(state["skipped"])  # type: ignore[call-overload]
        sums: Mapping[str, Sequence[float]] = state["sums"]  # type: ignore[assignment]
        self.sums = {name: (float(total), int(n)) for name, (total, n) in sums.items()}

    def _look_at(self, step: Step) -> None:
        rows: list[list[float]] = step.values.tolist()
        gradient = float(step.gradient)
        if not isfinite(gradient) and self._refuse(step, rows, gradient):
            self.skipped += 1
            return
        means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        self.latest = dict(zip((*step.names, GRADIENT), (*means, gradient), strict=True))
        for name, value in self.latest.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + value, count + 1

    def _refuse(self, step: Step, rows: list[list[float]], gradient: float) -> bool:
        """Raise unless the step was skipped; all processes come here or none, by the gradient."""
        bad = [n for n, row in enumerate(rows) if not all(map(isfinite, row))]
        anywhere = self.ranks.sum([float(bool(bad))])[0]
        if not anywhere and self.scaled:
            return True
        raise ModelError(_message(step, rows, bad, gradient, elsewhere=bool(anywhere)))


def _message(
    step: Step, rows: list[list[float]], bad: list[int], gradient: float, *, elsewhere: bool
) -> str:
    crops = [place for n in bad for place in step.where[n]] or [p for b in step.where for p in b]
    if bad:
        total, *terms = rows[bad[0]]
        names = (name.removeprefix(f"{TOTAL}_") for name in step.names[1:])
        said = ", ".join(f"{name} {v:.6g}" for name, v in zip(names, terms, strict=True))
        what = f"the loss is {total:.6g} ({said})"
    elif elsewhere:
        what, crops = "the loss of another process is not finite", []
    else:
        what = f"the gradient is {gradient:.6g} and the loss finite"
    seen = f", on {'; '.join(dict.fromkeys(filter(None, crops)))}" if any(crops) else ""
    return (
        f"{what} at iteration {step.iteration}{seen}: the weights are lost, the last checkpoint is "
        "not. Look at those crops, lower optimiser.rate, set clip_gradient or precision: fp32, and "
        "train into another folder"
    )


def measured(total: Tensor, terms: Mapping[str, Tensor]) -> tuple[tuple[str, ...], Tensor]:
    """Return names and values of a loss and its terms, as one tensor on the device."""
    values = [total.detach(), *(t.detach() for t in terms.values())]
    return (TOTAL, *(f"{TOTAL}_{name}" for name in terms)), torch.stack([v.float() for v in values])
