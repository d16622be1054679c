"""The course of a run as charts: sessions of several clients, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from neuroconn.inference.watching.samples import Sample, Session
from neuroconn.view.charts import Axis, bar_chart, line_chart
from neuroconn.view.recorder import SECONDS, ChunkTimes

Piece = list[tuple[float, float]]
_BINS = 120


def course_charts(sessions: Sequence[Session]) -> list[str]:
    """Draw throughput, use of the networks, and frontier over the time clients were at work.

    Time without a client is left out; a dashed line says where the next one took over.
    """
    worked = [s for s in sessions if len(s.samples) > 1]
    spent = sum(s.samples[-1].seconds for s in worked)
    if not spent:
        return []
    unit, per = time_unit(spent)
    rate: list[Piece] = []
    busy: list[Piece] = []
    done: list[Piece] = []
    known: list[Piece] = []
    marks: list[tuple[float, str]] = []
    start = 0.0
    for session in worked:
        if start:
            marks.append((start / per, "another client took over"))
        place = start
        rate.append([])
        busy.append([])
        for a, b in _steps(session.samples, spent / _BINS):
            # A mean over a span is drawn as one: a line between two would invent a slope.
            span = [(place + s.seconds) / per for s in (a, b)]
            took = b.seconds - a.seconds
            mean = (b.inferred - a.inferred) / took
            share = (b.model_seconds - a.model_seconds) / (took * max(1, b.models))
            rate[-1] += [(at, mean) for at in span]
            busy[-1] += [(at, min(100.0, 100 * share)) for at in span]
        done.append([((place + s.seconds) / per, s.done + s.failed) for s in session.samples])
        known.append([((place + s.seconds) / per, s.known) for s in session.samples])
        start += session.samples[-1].seconds
    x = Axis(f"time at work, {unit}", spent / per)
    speed = Axis("chunks per second", _top(rate))
    use = Axis("share of time, %", 100)
    count = Axis("chunks", _top(known))
    upper = "Chunks known to be needed (upper) and done (lower)"
    return [
        line_chart("Throughput", x, speed, [("rate", rate)], marks=marks),
        line_chart("Networks busy", x, use, [("neurite", busy)], marks=marks),
        line_chart(upper, x, count, [("queued", known), ("rate", done)], marks=marks),
    ]


def times_chart(times: ChunkTimes) -> str:
    """Draw how long chunks took, from the first to the last class that has any."""
    used = [i for i, count in enumerate(times.counts) if count]
    if not used:
        return ""
    first, last = used[0], used[-1]
    borders = ["0", *(f"{s:g}" for s in SECONDS), "∞"]
    return bar_chart(
        "Wall time of a chunk, reading and writing included",
        borders[first : last + 2],
        times.counts[first : last + 1],
        "seconds",
        "chunks",
        "rate",
    )


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit that suits a span, and its seconds.

    Examples
    --------
    >>> time_unit(90), time_unit(7200)
    (('s', 1), ('min', 60))
    """
    if seconds < 300:
        return "s", 1
    return ("min", 60) if seconds < 4 * 3600 else ("h", 3600)


def _steps(samples: Sequence[Sample], least_s: float) -> list[tuple[Sample, Sample]]:
    """Pairs of samples some time apart, so that a rate between them means something."""
    steps, first = [], samples[0]
    for sample in samples[1:]:
        if sample.seconds - first.seconds >= max(least_s, 1e-3):
            steps.append((first, sample))
            first = sample
    return steps


def _top(pieces: Sequence[Piece]) -> float:
    return 1.05 * max([y for piece in pieces for _, y in piece] or [0]) or 1.0
