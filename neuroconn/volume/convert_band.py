"""How much of a source to read at once: as little memory as decodes every voxel once."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import product

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.volume.convert_plan import ConvertPlan
from neuroconn.volume.memory import available_memory
from neuroconn.volume.sources import Source

logger = logging.getLogger(__name__)

USUAL_BYTES = 2_000_000_000
"""Memory taken without a reason to take more."""
FREE_SHARE = 0.5
"""Of the memory that is free, what may be taken to decode a source fewer times."""


def with_band(
    plan: ConvertPlan, source: Source, threads: int, limit_gib: float | None
) -> ConvertPlan:
    """Choose the band of a plan.

    Compressed strips and stored chunks are decoded whole, so a band that cuts them decodes them
    again. Of the bands within the usual memory the one that decodes least is taken, and if that is
    not once, of those within the limit.

    Parameters
    ----------
    plan : ConvertPlan
        Its band is ignored.
    source : Source
        What will be read.
    threads : int
        Shards encoded at once.
    limit_gib : float, optional
        Memory the conversion may take; half of what is free now, if not given.

    Returns
    -------
    ConvertPlan

    Raises
    ------
    UsageError
        If one shard at a time is more than the memory.
    """
    free = available_memory()
    if limit_gib is not None:
        hard = int(limit_gib * (1 << 30))
    else:
        hard = USUAL_BYTES if free is None else max(USUAL_BYTES, int(FREE_SHARE * free))
    plans = [replace(plan, band=band) for band in _candidates(plan)]
    least = min(plans, key=lambda p: p.peak_bytes(threads))
    if least.peak_bytes(threads) > (hard if limit_gib is not None or free is None else free):
        raise UsageError(_too_little(least, threads, hard if limit_gib is not None else free or 0))
    for limit in (min(USUAL_BYTES, hard), hard):
        fitting = [p for p in plans if p.peak_bytes(threads) <= limit] or [least]
        best = min(fitting, key=lambda p: _cost(p, source, threads))
        if amplification(source, best) < 1.1:
            break
    return best


def amplification(source: Source, plan: ConvertPlan) -> float:
    """Return how often a voxel of the source is decoded, on average."""
    factor = 1.0
    for size, unit, band in zip(source.shape, source.unit, plan.band, strict=True):
        if band < size and unit > 1 and band % unit:
            starts = range(0, size, band)
            read = sum(
                min(-(-min(start + band, size) // unit) * unit, size) - start // unit * unit
                for start in starts
            )
            factor *= read / size
    return factor


def warn_amplification(source: Source, plan: ConvertPlan) -> None:
    """Say so if voxels of the source are decoded much more than once."""
    factor = amplification(source, plan)
    if factor > 1.5:
        logger.warning(
            "every voxel of the source is decoded %.1f times, because its smallest readable unit "
            "is %s voxels and memory allows bands of %s (z, y, x); --memory allows more",
            factor,
            " x ".join(map(str, source.unit)),
            " x ".join(map(str, plan.band)),
        )


def _candidates(plan: ConvertPlan) -> list[ZYX]:
    """Every band of shards times powers of two, up to the whole volume."""
    sides = []
    for size, shard in zip(plan.levels[0].shape, plan.shard, strict=True):
        lengths = [shard]
        while lengths[-1] < size:
            lengths.append(2 * lengths[-1])
        sides.append(lengths)
    return list(product(*sides))  # type: ignore[arg-type]


def _cost(plan: ConvertPlan, source: Source, threads: int) -> tuple[float, bool, int, int, int]:
    """Decode least; keep every thread busy; read long runs of x; be small."""
    z, y, x = (-(-b // s) for b, s in zip(plan.band, plan.shard, strict=True))
    idle = z * y * x < 2 * threads and len(plan.bands(0)) > 1
    return round(amplification(source, plan), 2), idle, -plan.band[2], plan.band[1], plan.band[0]


def _too_little(plan: ConvertPlan, threads: int, limit: int) -> str:
    return (
        f"the conversion needs {plan.peak_bytes(threads) / (1 << 30):.2f} GiB of memory and "
        f"{limit / (1 << 30):.2f} are there for it; choose smaller shards (--shard, now "
        f"{' '.join(map(str, plan.shard))}) or fewer threads (--threads, now {threads})"
    )
