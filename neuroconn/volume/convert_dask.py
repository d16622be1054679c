"""A conversion spread over Dask workers: each task owns every object it writes, on every level.

A task converts everything under one band of a coarse level. What lies above that level is made
from the stored level in the client, which alone writes the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neuroconn.errors import ClusterError, NeuroconnError
from neuroconn.geometry import ZYX
from neuroconn.volume.convert_plan import ConvertPlan
from neuroconn.volume.convert_progress import BandRecord
from neuroconn.volume.convert_run import DamagedError, Work, survey, write_bands
from neuroconn.volume.sources.damage import BadPlace

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""Times a task may be lost with its worker before the conversion stops."""
TASK_LEVELS = 2
"""Levels below the bands that tasks own: one 64th of the voxels is read back for those above."""


def task_bands(plan: ConvertPlan, written: set[tuple[int, ZYX]]) -> Iterator[tuple[int, ZYX]]:
    """Yield (level, band) of each task that still has something to write."""
    level = min(TASK_LEVELS, len(plan.levels) - 1)
    for band in plan.bands(level):
        if any((0, low) not in written for low in plan.below(level, band)):
            yield level, band


def write_part(
    work: Work, level: int, band: ZYX, written: set[tuple[int, ZYX]]
) -> tuple[list[dict[str, Any]], tuple[BadPlace, ...]]:
    """Convert everything under one band; runs on a worker.

    Returns
    -------
    records : list of dict
        For the journal; what stands there when the source is damaged is complete all the same.
    bad : tuple of BadPlace
        Places that cannot be read, if they must not be filled.
    """
    todo = [low for low in work.plan.below(level, band) if (0, low) not in written]
    records: list[dict[str, Any]] = []
    try:
        records += [r.as_json() for r in write_bands(work, todo, set(written), top=level)]
    except DamagedError:
        return [], survey(work, todo)
    return records, ()


def write_distributed(
    work: Work, client: Client, written: set[tuple[int, ZYX]]
) -> Iterator[BandRecord]:
    """Convert every band of level 0 that is not stored, on the workers of a client.

    Yields
    ------
    BandRecord
        As tasks finish; everything it lists is on disk.

    Raises
    ------
    DamagedError
        When all else is done, if voxels of the source cannot be read and must not be filled.
    ClusterError
        If tasks are lost again and again.
    """
    from distributed import as_completed

    threads = min((w["nthreads"] for w in client.scheduler_info(-1)["workers"].values()), default=0)
    if not threads:
        raise ClusterError("the scheduler has no worker; start some, or leave out --scheduler")
    slots = len(client.scheduler_info(-1)["workers"])
    work = replace(work, threads=threads)
    parts = task_bands(work.plan, written)
    attempts: dict[tuple[int, ZYX], int] = {}
    bad: list[BadPlace] = []
    running: Any = as_completed()  # type: ignore[no-untyped-call]
    keys: dict[Any, tuple[int, ZYX]] = {}

    def submit(part: tuple[int, ZYX]) -> None:
        attempts[part] = attempts.get(part, 0) + 1
        below = _under(work.plan, part, written)
        name = f"convert-{part[0]}-{'-'.join(map(str, part[1]))}-{attempts[part]}"
        # Records are small; a task reads and writes storage that every worker sees.
        future = client.submit(write_part, work, *part, below, key=name, pure=False, retries=0)
        keys[future.key] = part
        running.add(future)

    for _ in range(2 * slots):
        if (part := next(parts, None)) is not None:
            submit(part)
    for future in running:
        part = keys.pop(future.key)
        if future.status == "finished":
            records, places = future.result()
            bad += places
            attempts.pop(part)
            yield from map(BandRecord.from_json, records)
            if (following := next(parts, None)) is not None:
                submit(following)
            continue
        _raise_known(future)
        if attempts[part] >= ATTEMPTS:
            raise ClusterError(f"part {part} was lost {ATTEMPTS} times ({future.status}); see logs")
        logger.warning("part %s was lost with its worker; it is done again", part)
        submit(part)
    if bad:
        raise DamagedError(tuple(bad))


def _under(
    plan: ConvertPlan, part: tuple[int, ZYX], written: set[tuple[int, ZYX]]
) -> set[tuple[int, ZYX]]:
    """Return what is stored of a band and everything under it."""
    level, band = part
    found = {part} & written
    if level:
        for child in plan.children(level, band):
            found |= _under(plan, (level - 1, child), written)
    return found


def _raise_known(future: Any) -> None:
    """Raise what a task itself raised; a lost worker raises nothing of its own."""
    if future.status == "error":
        error = future.exception()
        if isinstance(error, NeuroconnError) or type(error).__name__ != "KilledWorker":
            raise error
