"""How much is left of a walk whose total nobody knows.

A walk ends when its frontier is empty, and how many chunks the frontier will still lead to is
unknown until then. What can be said, from most to least:

exact
    Every chunk of the grid is known already (dense mode), or nothing is waiting.
trend
    Each finished chunk led to ``m`` new ones on average. While ``m`` is below 1 the walk dies out,
    and ``waiting`` chunks have ``waiting / (1 - m)`` behind them, themselves included, give or
    take the root of ``v * waiting / (1 - m)**3``, where ``v`` is the variance of what one chunk
    leads to: the total progeny of a branching process. The upper end takes one such deviation
    more, and ``m`` one standard error higher, over eight parts of the last quarter of the walk.
estimate
    A bound somebody gave before the run, from a coarse look at the brain.
age
    Whoever looks at a random moment of a walk sees its first tenth with probability 0.1, so in 9
    of 10 looks the total is below ten times what is done (Gott 1993). Always true, never sharp.

The lower end is always certain: the chunks known by now. Over simulated walks of all shapes the
upper end holds in more than 8 of 10 looks (``tests/inference/test_outlook.py``).

References
----------
J. R. Gott III, "Implications of the Copernican principle for our future prospects", Nature 363,
315-319 (1993).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from neuroconn.inference.watching.trail import Trail

_FEWEST = 32  # chunks before anything is said of an upper end
_WINDOW = 0.25  # share of the walk that the trend is read from
_PARTS = 8
_LEAST_VARIANCE = 0.25  # of what a chunk leads to: one more or none, as along a fibre
_YOUNGEST = 0.1
_RECENT = 0.1
_RECENT_S = 10.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """Chunks a walk will have visited when it ends."""

    low: int
    """Known by now: certain."""
    likely: int | None
    """The best guess, if there is one."""
    high: int | None
    """Not exceeded in at least 8 of 10 looks; None if nothing can be said."""
    basis: Literal["exact", "trend", "estimate", "age", "none"]

    def eta(self, done: int, rates: tuple[float, float]) -> Eta:
        """Seconds until the end at a pace between two rates, in chunks per second."""
        slow, fast = rates
        if fast <= 0:
            return Eta(None if self.low > done else 0.0, None, None)
        if slow <= 0:  # nothing came back lately: who knows for how long
            return Eta((self.low - done) / fast, None, None)
        middle = 2 * slow * fast / (slow + fast)
        return Eta(
            (self.low - done) / fast,
            None if self.likely is None else (self.likely - done) / middle,
            None if self.high is None else (self.high - done) / slow,
        )


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds until a walk ends: at least, probably, at most; None where nothing can be said."""

    low: float | None
    likely: float | None
    high: float | None

    def __str__(self) -> str:
        if self.low is None:
            return "unknown"
        if self.high is None:
            return f"at least {duration(self.low)}"
        if self.likely is None:
            return f"{duration(self.low)} to {duration(self.high)}"
        low, likely, high = map(duration, (self.low, self.likely, self.high))
        return likely if low == high else f"{likely} ({low} to {high})"

    def to_json(self) -> dict[str, Any]:
        """Return the interval as plain values, rounded to tenths of a second."""
        named = {"low": self.low, "likely": self.likely, "high": self.high}
        return {k: None if v is None else round(v, 1) for k, v in named.items()}


class Outlook:
    """Watches a walk and says how much of it is left.

    Parameters
    ----------
    limit : int
        Chunks the walk could reach at most: those of the grid that are not masked.
    expected : (low, high) ints, optional
        Total a coarse look at the brain promised.

    Examples
    --------
    >>> outlook = Outlook(limit=1000)
    >>> for done in range(100):
    ...     outlook.see(done, known=40 + 8 * done // 10)  # four in five lead to one more
    >>> outlook.forecast().low, outlook.forecast().basis
    (119, 'trend')
    """

    def __init__(self, limit: int, expected: tuple[int, int] | None = None) -> None:
        self.limit = limit
        self.expected = expected
        self._trail = Trail()

    def see(self, done: int, known: int, *, added: int = 0) -> None:
        """Take note of where the walk is.

        Parameters
        ----------
        done : int
            Finished chunks, failed ones included.
        known : int
            Those and the chunks that are waiting or in flight.
        added : int, optional
            Chunks among ``known`` that came from outside since the last look, as probes of an
            audit do: no finished chunk led to them.
        """
        if added:
            self._trail.shift([added])
        self._trail.add(done, known)

    def forecast(self) -> Forecast:
        """Say what the total will be, as far as that can be said."""
        if not self._trail.points:
            return Forecast(0, None, None, "none")
        done, known = map(int, self._trail.points[-1])
        limit = max(known, self.limit)
        if known in (done, limit):
            return Forecast(known, known, known, "exact")
        likely, high = self._trend(done, known)
        if high is not None:
            return Forecast(known, min(likely or known, limit), min(high, limit), "trend")
        if self.expected is not None:
            low, most = (min(max(known, e), limit) for e in self.expected)
            return Forecast(known, round(math.sqrt(low * most)), most, "estimate")
        if done - self._trail.points[0][0] < _FEWEST:
            return Forecast(known, None, None, "none")
        return Forecast(known, None, min(max(known, round(done / _YOUNGEST)), limit), "age")

    def _trend(self, done: int, known: int) -> tuple[int | None, int | None]:
        """Return the likely and the highest total if chunks lead to fewer than one each."""
        seen = done - self._trail.points[0][0]
        if seen < _FEWEST:
            return None, None
        window = min(seen, max(_FEWEST, round(_WINDOW * done)))
        edges = [done - window + window * i / _PARTS for i in range(_PARTS + 1)]
        levels = [self._trail.at(edge)[0] for edge in edges]
        each = [(b - a) * _PARTS / window for a, b in pairwise(levels)]
        mean = sum(each) / _PARTS
        spread = sum((m - mean) ** 2 for m in each) / (_PARTS - 1)
        highest = mean + math.sqrt(spread / _PARTS)
        if highest >= 1:
            return None, None
        waiting = known - done
        varies = max(spread * window / _PARTS, _LEAST_VARIANCE)
        most = waiting / (1 - highest) + math.sqrt(varies * waiting / (1 - highest) ** 3)
        return (
            max(known, round(done + waiting / (1 - mean))),
            max(known, math.ceil(done + most)),
        )


class Pace:
    """Chunks per second of a run, lately and on the whole.

    Examples
    --------
    >>> pace = Pace()
    >>> for second in range(101):
    ...     pace.see(second, done=2 * second)
    >>> pace.rates()
    (2.0, 2.0)
    """

    def __init__(self) -> None:
        self._trail = Trail()

    def see(self, seconds: float, done: int) -> None:
        """Take note of how much was done after so many seconds."""
        self._trail.add(seconds, done)

    def rates(self) -> tuple[float, float]:
        """Slower and faster of two rates: of the last tenth of the time, and of all of it."""
        points = self._trail.points
        if len(points) < 2:
            return 0.0, 0.0
        (start, first), (now, done) = points[0], points[-1]
        then = max(start, now - max(_RECENT * (now - start), _RECENT_S))
        pairs = (start, first), (then, self._trail.at(then)[0])
        both = [(done - had) / (now - when) for when, had in pairs if now > when]
        return (min(both), max(both)) if both else (0.0, 0.0)


def duration(seconds: float) -> str:
    """Write a time for people.

    Examples
    --------
    >>> [duration(s) for s in (0.4, 75, 8000, 300000)]
    ['0 s', '75 s', '2 h 13 min', '3 d 11 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
