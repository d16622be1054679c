"""How many chunks of a brain hold neurite, from a coarse look and a few that are inferred.

Chunks are put into four strata by how neurite-like they look from afar. In each the share that
holds neurite has a beta prior, which says what coarse looks are worth; inferring some of them at
random updates it. The bounds come from draws of all four shares, and of the chunks that were not
inferred given the shares (a beta-binomial each), under priors that expect little and much. Over
phantoms of all contrasts they hold in at least 90 of 100 trials
(``tests/inference/test_visits.py``).

References
----------
W. G. Cochran, *Sampling Techniques*, 3rd ed., Wiley 1977, ch. 5: stratified sampling and how to
spend samples on strata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EDGES = (0.8, 1.0, 2.0)
"""Scores between the strata: noise, doubtful, likely, sure. From 1 on a chunk stands out."""
_LOW = ((0.02, 8.0), (0.2, 2.0), (0.3, 1.5), (0.7, 1.0))
_LIKELY = ((0.25, 8.0), (0.5, 2.0), (1.0, 1.0), (2.0, 0.7))
_HIGH = ((0.7, 3.3), (1.0, 0.8), (1.5, 0.5), (2.0, 0.4))
"""Chunks with and without neurite that each stratum begins with: a pessimist, ours, an optimist.
What coarse looks are worth differs between brains; the interval holds for all three."""
_TRIALS = 2000
_TAIL = 0.03
"""Left out at either end."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number that is not known exactly."""

    low: float
    likely: float
    high: float

    def times(self, factor: float | Interval) -> Interval:
        """Scale all three, by one number or each by its own."""
        f = factor if isinstance(factor, Interval) else Interval(factor, factor, factor)
        return Interval(self.low * f.low, self.likely * f.likely, self.high * f.high)

    def within(self, low: float, high: float) -> Interval:
        """Bound all three."""
        a, b, c = (min(max(v, low), high) for v in (self.low, self.likely, self.high))
        return Interval(a, b, c)

    def to_json(self) -> dict[str, float]:
        """Return the three by name, rounded to four digits."""
        named = {"low": self.low, "likely": self.likely, "high": self.high}
        return {name: float(f"{value:.4g}") for name, value in named.items()}


@dataclass(frozen=True)
class Strata:
    """Chunks that a walk may still visit, by how they look from afar."""

    members: tuple[NDArray[np.int64], ...]
    """Flat positions in the grid, from noise to sure, each in the order they are drawn."""

    @classmethod
    def of(cls, scores: NDArray[np.float32], open_: NDArray[np.bool_], run_id: str) -> Strata:
        """Sort chunks into strata.

        Parameters
        ----------
        scores : (z, y, x) float32 array
            From :func:`neuroconn.inference.seeds.bright.chunk_scores`.
        open_ : (z, y, x) bool array
            Chunks that are not done and not masked.
        run_id : str
            Decides the draw: asked again, the same chunks are inferred.
        """
        seed = int.from_bytes(hashlib.sha256(f"rehearsal {run_id}".encode()).digest()[:8], "little")
        rng = np.random.default_rng(seed)
        positions = np.flatnonzero(open_)
        place = np.searchsorted(_EDGES, scores.reshape(-1)[positions], side="right")
        strata = (positions[place == k] for k in range(len(_LIKELY)))
        return cls(tuple(rng.permutation(members).astype(np.int64) for members in strata))

    def draw(self) -> Iterator[int]:
        """Yield chunks in the order to infer them: whoever stops early has a fair sample too.

        Each stratum first gives one, then as much as its size times the standard deviation of a
        chunk in it calls for (Neyman's allocation, from the priors).
        """
        sizes = np.array([len(m) for m in self.members], dtype=float)
        weights = sizes * [np.sqrt(a * b) / (a + b) for a, b in _LIKELY]
        given = np.zeros(len(sizes))
        while (given < sizes).any():
            want = np.where(given < sizes, (weights + 1e-12) / (given + 0.5), -1)
            want[(given == 0) & (sizes > 0)] = np.inf
            k = int(want.argmax())
            yield int(self.members[k][int(given[k])])
            given[k] += 1

    def estimate(self, inferred: Sequence[tuple[int, bool]]) -> Interval:
        """Estimate how many of the chunks hold neurite.

        Parameters
        ----------
        inferred : sequence of (position, whether it holds neurite)
            Chunks that were drawn, in any order; may be none.

        Returns
        -------
        Interval
            The mean, and bounds that hold with about 95 % confidence. The lower one is 0 if none
            of the inferred chunks holds neurite.
        """
        found = dict(inferred)
        # What was inferred are the first of each stratum, but for some that failed.
        first = [m[: 2 * len(found)].tolist() for m in self.members]
        known = [[found[p] for p in positions if p in found] for positions in first]
        nothing = bool(found) and not any(map(any, known))
        low = 0.0 if nothing else np.quantile(self._totals(known, _LOW), _TAIL)
        likely = self._totals(known, _LIKELY).mean()
        high = np.quantile(self._totals(known, _HIGH), 1 - _TAIL)
        return Interval(float(low), float(likely), float(high))

    def _totals(
        self, known: list[list[bool]], priors: Sequence[tuple[float, float]]
    ) -> NDArray[np.float64]:
        """Draws of the number of chunks that hold neurite."""
        rng = np.random.default_rng(0)
        totals = np.zeros(_TRIALS)
        for members, seen, (a, b) in zip(self.members, known, priors, strict=True):
            hits = sum(seen)
            shares = rng.beta(a + hits, b + len(seen) - hits, _TRIALS)
            totals += hits + rng.binomial(len(members) - len(seen), shares)
        return totals

    def to_json(self) -> dict[str, Any]:
        """Return the size of each stratum by name."""
        names = ("noise", "doubtful", "likely", "sure")
        return {n: len(m) for n, m in zip(names, self.members, strict=True)}


def visits_per_neurite(rule: str, connectivity: int, bridge: int) -> Interval:
    """Chunks a walk executes for each that holds neurite.

    At least the chunk itself; beyond that as measured on phantoms with a few false positives. Each
    step of bridging looks once more around the ends.

    Examples
    --------
    >>> visits_per_neurite("evidence", 26, 0)
    Interval(low=1.0, likely=1.25, high=1.6)
    """
    if rule != "any":
        return Interval(1.0, 1.25 * (1 + bridge), 1.6 * (1 + bridge))
    likely = {6: 3.8, 18: 5.2, 26: 6.5}[connectivity]
    return Interval(1.0, likely, 1.5 * likely)
