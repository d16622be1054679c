"""The course of a run in its events: one short line now and then, for charts that survive resuming.

Samples come quickly at first and every half a minute later: some hundred in the first half hour, a
megabyte for a week.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from neuroconn.inference.watching.events import EventLog, Progress

_EVERY_S = 30.0
_FIRST_S = 1.0
_SHARE = 0.02  # of the time since the start: fifty samples in any run


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a run was at some moment."""

    time: float
    """Seconds since 1970."""
    seconds: float
    """Since this client started walking."""
    done: int
    neurite: int
    empty: int
    failed: int
    queued: int
    in_flight: int
    slots: int
    models: int
    inferred: int
    voxels: int
    model_seconds: float
    phase: str = "walk"

    @property
    def known(self) -> int:
        """Chunks known to belong to the walk by then."""
        return self.done + self.failed + self.queued + self.in_flight


_EXPECTED = ("start", "audit")
"""Events beside samples and ends that are no incidents."""

_FIELDS = tuple(f.name for f in fields(Sample) if f.name != "time")


@dataclass(slots=True)
class Session:
    """What one client did, between a start and the next."""

    start: Mapping[str, Any]
    """The event it began with."""
    samples: list[Sample] = field(default_factory=list)
    end: Mapping[str, Any] | None = None
    """The event it ended with; None while it runs, or if it was killed."""

    @property
    def until(self) -> float:
        """When it was last heard of, in seconds since 1970."""
        last = self.samples[-1].time if self.samples else self.start["time"]
        return max(float(self.end["time"] if self.end else 0), float(last))


class Sampler:
    """A listener that writes samples into the events.

    Parameters
    ----------
    events : EventLog
        Where to.
    every_s : float, optional
        Seconds between samples once a run is old.
    """

    def __init__(self, events: EventLog, every_s: float = _EVERY_S) -> None:
        self._events = events
        self._every_s = every_s
        self._next = 0.0
        self._latest: Progress | None = None

    def __call__(self, now: Progress) -> None:
        """Write a sample if it is time for one."""
        self._latest = now
        if now.seconds >= self._next:
            self._write(now)

    def close(self) -> None:
        """Write the last state, if it is not there yet."""
        if self._latest is not None:
            self._write(self._latest)

    def _write(self, now: Progress) -> None:
        self._latest = None
        self._next = now.seconds + min(self._every_s, max(_FIRST_S, _SHARE * now.seconds))
        sample = {name: getattr(now, name) for name in _FIELDS}
        for name in ("seconds", "model_seconds"):
            sample[name] = round(sample[name], 2)
        self._events.write("sample", **sample)


class Sessions:
    """Reads events, a few lines at a time, into the sessions of a run.

    Examples
    --------
    >>> sessions = Sessions()
    >>> sessions.read(['{"time": 5.0, "event": "start"}', '{"time": 7.0, "event": "end"}', '{"to'])
    >>> [(s.start["time"], s.until) for s in sessions.all]
    [(5.0, 7.0)]
    """

    def __init__(self) -> None:
        self.all: list[Session] = []
        self.incidents: list[Mapping[str, Any]] = []
        """Everything else that happened, the latest thousand."""

    def read(self, lines: Iterable[str]) -> None:
        """Take in more lines; those that a crash tore are left out."""
        for line in lines:
            event = _parsed(line)
            if event is not None:
                self._take(event)

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "start" or not self.all:
            self.all.append(Session(event))
        if kind == "sample":
            sample = {name: event[name] for name in (*_FIELDS, "time") if name in event}
            if len(sample) == len(_FIELDS) + 1:
                self.all[-1].samples.append(Sample(**sample))
        elif kind in ("end", "stop"):
            self.all[-1].end = event
        elif kind not in _EXPECTED:
            self.incidents.append(event)
            del self.incidents[:-1000]


def to_json(sample: Sample) -> dict[str, Any]:
    """Return a sample as plain values."""
    return asdict(sample)


def _parsed(line: str) -> Mapping[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    sound = isinstance(event, dict) and "event" in event
    return event if sound and isinstance(event.get("time"), int | float) else None
