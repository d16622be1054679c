"""What ``neuroconn infer --dry-run`` prints: an estimate, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuroconn.inference.rehearsal.estimate import Estimate, Measured
    from neuroconn.inference.rehearsal.visits import Interval


def estimate_lines(estimate: Estimate) -> Iterator[str]:
    """Yield an estimate as a table: a word, and what there is to say about it."""
    for word, text in (
        *_plan(estimate),
        *_walk(estimate),
        *_cost(estimate),
        *((("measured", _measured(estimate.measured)),) if estimate.measured else ()),
        *(("warning", warning) for warning in estimate.warnings),
    ):
        yield f"{word:<10}{text}"
    yield "Nothing was written."


def _plan(estimate: Estimate) -> Iterator[tuple[str, str]]:
    tiling, workers = estimate.tiling, estimate.workers
    chunks = sum(estimate.chunks.values())
    yield "brain", estimate.brain
    yield "output", estimate.output
    yield (
        "grid",
        f"{_by(tiling.grid)} = {chunks:,} chunks of {_by(tiling.chunk)}, halo {tiling.halo}, tiles "
        f"of {_by(tiling.tile)}",
    )
    yield (
        "work",
        f"{tiling.redundancy:.2f} voxels inferred and {tiling.read_amplification:.2f} decoded per "
        f"voxel of the map; {_bytes(tiling.tile_bytes)} decoded a tile",
    )
    yield "workers", f"{workers.name}; {workers.device}, {workers.precision}, {workers.engine}"
    if workers.memory is not None:
        where = [
            f"{_bytes(free)} of {name} free"
            for name, free in (("GPU memory", workers.gpu), ("main memory", workers.available))
            if free is not None
        ]
        yield "memory", f"{_bytes(workers.memory)} a prediction; {', '.join(where) or 'unknown'}"


def _walk(estimate: Estimate) -> Iterator[tuple[str, str]]:
    counts = estimate.chunks
    done = counts["neurite"] + counts["empty"]
    if estimate.region:
        yield "region", estimate.region
    if done or counts["failed"]:
        failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
        yield (
            "done",
            f"{done:,} chunks by earlier runs, {counts['neurite']:,} of them with neurite{failed}",
        )
    yield "seeds", f"{estimate.seeds:,} chunks; {counts['queued']:,} would start the walk"
    if estimate.looks:
        looks = ", ".join(f"{n:,} {name}" for name, n in reversed(estimate.looks.items()))
        yield "from afar", f"{looks}, of the chunks that are left"
    if estimate.neurite is not None:
        yield "neurite", f"{_chunks(estimate.neurite)} of them hold neurite"
    audit = f"; then up to {estimate.audit:,} probes of the audit a round" if estimate.audit else ""
    yield "visits", f"{_chunks(estimate.visits)} ({estimate.basis}){audit}"


def _cost(estimate: Estimate) -> Iterator[tuple[str, str]]:
    from neuroconn.inference.watching.outlook import duration

    seconds, hours = estimate.seconds, estimate.device_hours
    if seconds is None or hours is None:
        yield "time", "unknown: nothing was measured"
    else:
        device = "GPU" if estimate.workers.device == "cuda" else "worker"
        yield "time", f"{_range(seconds, duration)}; {_range(hours, _hours)} {device}-hours"
    free = "" if estimate.free is None else f"; {_bytes(estimate.free)} free"
    yield "size", f"{_range(estimate.bytes, _bytes)}{free}"


def _measured(found: Measured) -> str:
    return (
        f"{found.seconds:.3g} s a chunk: {found.read_seconds:.3g} reading, "
        f"{found.model_seconds:.3g} in the model; {found.chunks_per_second:.3g} chunks/s with "
        f"{found.slots} at a time; what limits it: {found.bottleneck}. {found.neurite} of "
        f"{found.chunks} inferred chunks hold neurite"
    )


def _chunks(interval: Interval) -> str:
    return _range(interval, lambda n: f"{round(n):,}")


def _range(interval: Interval, show: Callable[[float], str]) -> str:
    """Write an interval, or the number where there is only one."""
    low, likely, high = (show(v) for v in (interval.low, interval.likely, interval.high))
    return likely if low == high else f"{likely} ({low} to {high})"


def _hours(hours: float) -> str:
    return f"{hours:.2g}" if hours < 10 else f"{hours:,.0f}"


def _bytes(size: float) -> str:
    from neuroconn.inference.rehearsal.regrets import human

    return human(size)


def _by(sides: tuple[int, int, int]) -> str:
    return " x ".join(map(str, sides))
