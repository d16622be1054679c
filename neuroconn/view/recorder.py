"""What a page or a report shows of a run, gathered from its progress in bounded memory."""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX
from neuroconn.inference.watching.events import ChunkDone, Progress
from neuroconn.inference.watching.outlook import Outlook, Pace
from neuroconn.inference.watching.trail import Trail

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Upper ends of the classes that times of chunks are counted in; one more has no end."""

_SLOWEST = 10
_FAILURES = 50
_WORKERS = 100
_CURVE = 240


class ChunkTimes:
    """How long chunks took: a histogram, and the slowest of them.

    Examples
    --------
    >>> times = ChunkTimes()
    >>> times.add((0, 0, 1), 0.3, "w1")
    >>> times.add((0, 0, 2), 700.0, "w2")
    >>> times.counts[5], times.counts[-1], times.slowest()[0][1]
    (1, 1, 700.0)
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0
        self._slowest: list[tuple[float, ZYX, str]] = []

    def add(self, index: ZYX, seconds: float, worker: str = "") -> None:
        """Count a chunk."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds
        self._keep(seconds, index, worker)

    def _keep(self, seconds: float, index: ZYX, worker: str) -> None:
        entry = (round(seconds, 3), index, worker)
        if len(self._slowest) < _SLOWEST:
            heapq.heappush(self._slowest, entry)
        elif seconds > self._slowest[0][0]:
            heapq.heapreplace(self._slowest, entry)

    def add_rows(self, rows: NDArray[np.void]) -> None:
        """Count many chunks at once: rows with ``z``, ``y``, ``x`` and ``seconds``."""
        seconds = rows["seconds"]
        places = np.searchsorted(SECONDS, seconds)
        for place, count in enumerate(np.bincount(places, minlength=len(self.counts)).tolist()):
            self.counts[place] += count
        self.total += float(seconds.sum())
        for row in rows[np.argsort(seconds)[-_SLOWEST:]]:
            self._keep(float(row["seconds"]), (int(row["z"]), int(row["y"]), int(row["x"])), "")

    def slowest(self) -> list[tuple[ZYX, float, str]]:
        """Chunks with seconds and worker, the slowest first."""
        return [(index, s, worker) for s, index, worker in sorted(self._slowest, reverse=True)]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        slowest = [[list(index), s, worker] for index, s, worker in self.slowest()]
        counts = {"bounds": list(SECONDS), "counts": list(self.counts)}
        return {**counts, "sum": round(self.total, 3), "slowest": slowest}


class RunRecorder:
    """A listener that remembers what is worth showing; may be read from another thread.

    Parameters
    ----------
    limit : int
        Chunks the walk could reach at most.
    expected : (low, high) ints, optional
        Total a coarse look at the brain promised.
    """

    def __init__(self, limit: int, expected: tuple[int, int] | None = None) -> None:
        self.times = ChunkTimes()
        self.outlook = Outlook(limit, expected)
        self.pace = Pace()
        self.latest: Progress | None = None
        self._curve = Trail(_CURVE)
        self._failures: deque[ChunkDone] = deque(maxlen=_FAILURES)
        self._workers: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def __call__(self, now: Progress) -> None:
        """Take note of progress."""
        with self._lock:
            before = self.latest
            self._count(now.finished)
            # Probes of an audit come from outside: no finished chunk led to them.
            audit_began = before is not None and before.phase != now.phase
            added = now.known - before.known if before and audit_began else 0
            self.outlook.see(now.done + now.failed, now.known, added=max(0, added))
            self.pace.see(now.seconds, now.inferred)
            waiting = now.queued + now.in_flight
            self._curve.add(
                round(now.seconds, 2), now.inferred, round(now.model_seconds, 2), waiting
            )
            self.latest = now

    def fields(self) -> dict[str, Any]:
        """Return what changes from moment to moment, small."""
        with self._lock:
            now = self.latest
            if now is None:
                return {}
            forecast, rates = self.outlook.forecast(), self.pace.rates()
            eta = forecast.eta(now.done + now.failed, rates)
            return {
                "chunks": _counts(now),
                "slots": now.slots,
                "models": now.models,
                "inferred": now.inferred,
                "voxels": now.voxels,
                "seconds": round(now.seconds, 2),
                "model_seconds": round(now.model_seconds, 2),
                "busy": round(now.busy, 4),
                "phase": now.phase,
                "audit": now.audit,
                "warnings": list(now.warnings[:20]),
                "rates": [round(r, 4) for r in rates],
                "total": [forecast.low, forecast.likely, forecast.high],
                "basis": forecast.basis,
                "eta": eta.to_json(),
                "eta_text": str(eta),
            }

    def details(self) -> dict[str, Any]:
        """Return the curves and lists, a few kilobytes."""
        with self._lock:
            return {
                "times": self.times.to_json(),
                "curve": [list(point) for point in self._curve.points],
                "failures": [[list(c.index), c.reason[:300], c.worker] for c in self._failures],
                "workers": [[name, *values] for name, values in sorted(self._workers.items())],
            }

    def _count(self, finished: Iterable[ChunkDone]) -> None:
        for chunk in finished:
            if chunk.status == "failed":
                self._failures.append(chunk)
                continue
            self.times.add(chunk.index, chunk.seconds, chunk.worker)
            if chunk.worker in self._workers or len(self._workers) < _WORKERS:
                known = self._workers.setdefault(chunk.worker, [0, 0.0])
                known[0] += 1
                known[1] = round(known[1] + chunk.seconds, 3)


def _counts(now: Progress) -> Mapping[str, int]:
    names = ("neurite", "empty", "failed", "queued", "in_flight")
    return {name: getattr(now, name) for name in names}
