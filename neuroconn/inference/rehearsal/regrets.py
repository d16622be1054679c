"""What one would regret about a run, said before it starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from neuroconn.inference.prepare import Job
from neuroconn.inference.rehearsal.estimate import Estimate
from neuroconn.inference.watching.outlook import duration

_DAYS_S = 2 * 86_400.0
_LONG_S = 3600.0
_REDUNDANT = 4.0


def regrets(estimate: Estimate, job: Job, *, failed: tuple[str, ...] = ()) -> Estimate:
    """Add warnings to an estimate: the job's own first.

    Parameters
    ----------
    estimate : Estimate
        Without warnings.
    job : Job
        What it is about.
    failed : sequence of str, optional
        Why sample chunks could not be inferred.
    """
    found = [
        *job.warnings,
        *_trouble(estimate, failed),
        *_storage(estimate),
        *_time(estimate),
        *_tiling(estimate, job),
        *_rule(estimate, job),
    ]
    return replace(estimate, warnings=tuple(found))


def _trouble(estimate: Estimate, failed: tuple[str, ...]) -> Iterator[str]:
    if failed:
        of = estimate.measured.chunks + len(failed) if estimate.measured else len(failed)
        yield f"{len(failed)} of {of} sample chunks could not be inferred; {failed[0]}"


def _storage(estimate: Estimate) -> Iterator[str]:
    free, size = estimate.free, estimate.bytes
    if free is None or size.high <= free:
        return
    sure = "will not fit" if size.low > free else "may not fit"
    yield (
        f"the map {sure}: {human(size.low)} to {human(size.high)}, and {human(free)} are free. "
        "Make room, or choose another output; a run that fills the disk stops and can be resumed"
    )


def _time(estimate: Estimate) -> Iterator[str]:
    seconds, workers = estimate.seconds, estimate.workers
    if seconds is None:
        return
    if seconds.high > _DAYS_S:
        yield (
            f"the walk may take {duration(seconds.high)} on {workers.models} "
            f"{'worker' if workers.models == 1 else 'workers'}; more of them, a region, or level: "
            "1 make it shorter. It can be stopped and resumed at any time"
        )
    if workers.device == "cpu" and seconds.likely > _LONG_S:
        yield "no worker has a GPU, on which the network runs far faster than on any CPU"
    measured = estimate.measured
    if measured and measured.bottleneck == "reading" and seconds.likely > _LONG_S:
        yield (
            "the network waits for the brain: larger chunks read each voxel fewer times, and "
            "faster storage or more workers read faster"
        )


def _tiling(estimate: Estimate, job: Job) -> Iterator[str]:
    tiling, settings = estimate.tiling, job.settings
    if tiling.redundancy > _REDUNDANT and not settings.exact:
        step = settings.inner_chunk
        side = 2 * tiling.halo / (_REDUNDANT ** (1 / 3) - 1)
        chunk = math.ceil(side / step) * step
        yield (
            f"each voxel is inferred {tiling.redundancy:.1f} times, since a halo of {tiling.halo} "
            f"lies around chunks of {max(tiling.chunk)}: chunk: {chunk} makes it "
            f"{((chunk + 2 * tiling.halo) / chunk) ** 3:.1f}"
        )
    if not settings.exact:
        yield (
            f"how far tiles with a halo of {tiling.halo} are from the whole is not known here: "
            f"`neuroconn doctor --model {job.model} --brain {job.brain.path}` measures it"
        )


def _rule(estimate: Estimate, job: Job) -> Iterator[str]:
    rules = job.settings.evidence
    if rules.rule != "any":
        return
    limit = {6: 0.31, 18: 0.14, 26: 0.10}[rules.connectivity]
    yield (
        f"rule any with {rules.connectivity} neighbours visits the whole brain once more than "
        f"{limit:.0%} of its chunks hold a false positive; evidence follows neurites only"
    )


def human(size: float) -> str:
    """Write bytes for people.

    Examples
    --------
    >>> [human(n) for n in (0, 1500, 2.5e6, 175e9)]
    ['0 B', '1.5 kB', '2.5 MB', '175 GB']
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.3g} {unit}"
