"""Who listens to a run: its caller, the samples in its events, the page of its cluster.

A listener of ours that fails is logged once and left out from then on; the walk goes on.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from neuroconn._version import __version__
from neuroconn.inference.backends import Backend
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.output.run_folder import RunFolder
from neuroconn.inference.plan import Plan
from neuroconn.inference.prepare import Job
from neuroconn.inference.watching.events import EventLog, Listener, Progress
from neuroconn.inference.watching.quiet import Quiet
from neuroconn.inference.watching.samples import Sampler
from neuroconn.volume.address import Address

logger = logging.getLogger(__name__)


@contextmanager
def watching(
    job: Job,
    backend: Backend,
    plan: Plan,
    frontier: Frontier,
    events: EventLog,
    listener: Listener | None = None,
) -> Iterator[Listener]:
    """Compose all listeners of a run into one, for as long as it walks.

    Parameters
    ----------
    job, backend, plan, frontier
        The run.
    events : EventLog
        Where samples go.
    listener : callable, optional
        The caller's own. What it raises ends the walk: it is his.
    """
    ours = []
    with ExitStack() as stack:
        sampler = Sampler(events)
        samples = Quiet("the events file", sampler)
        stack.callback(samples.attempt, sampler.close)
        ours.append(samples)
        if backend.publish is not None:
            page = stack.enter_context(_page(job, backend.publish, plan, frontier))
            ours.append(Quiet("the dashboard", page))

        def tell(now: Progress) -> None:
            for listen in ours:
                listen(now)
            if listener is not None:
                listener(now)

        yield tell


@contextmanager
def _page(
    job: Job, publish: Callable[[str, Mapping[str, Any]], None], plan: Plan, frontier: Frontier
) -> Iterator[Listener]:
    """Show the run on the page of its cluster, and how it ended."""
    # Imported here, so that local runs do not wait for it.
    from neuroconn.view.projection import brain_views
    from neuroconn.view.publisher import Publisher

    level = job.settings.level
    publisher = Publisher(
        publish,
        run_name(str(plan.output), plan.run_id),
        about(job, plan),
        frontier.state,
        lambda: brain_views(job.brain, level),
    )
    ended = "done"
    try:
        yield publisher
    except BaseException as error:
        ended = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise
    finally:
        publisher.close(ended)


def write_page(folder: RunFolder, output: Address) -> None:
    """Write ``report.html``; what goes wrong with it is logged, and is not the run's business."""
    if isinstance(sys.exception(), KeyboardInterrupt):
        return  # asked twice to stop: now means now
    try:
        from neuroconn.view.report import report

        report(output, over=True)
    except Exception as error:
        logger.warning("no report.html in %s: %s: %s", folder.path, type(error).__name__, error)


def about(job: Job, plan: Plan) -> dict[str, Any]:
    """Return what a page says of a run and never changes, as plain values."""
    return {
        "title": plan.output.name,
        "output": str(plan.output),
        "brain": str(plan.brain),
        "model": f"{job.card.name} ({plan.model_sha256[:12]})",
        "device": f"{plan.device}, {plan.precision}",
        "level": plan.level,
        "shape": list(plan.grid.shape),
        "chunk": list(plan.grid.chunk),
        "counts": list(plan.grid.counts),
        "spacing_um": list(job.brain.frames[plan.level].spacing_um),
        "halo": plan.halo,
        "version": __version__,
    }


def run_name(output: str, run_id: str) -> str:
    """Name a run on a page: the same settings into two outputs are two runs.

    Examples
    --------
    >>> run_name("/brains/distance.ome.zarr", "0123")
    'distance.ome.zarr-8538ce'
    """
    stem = output.rstrip("/").rsplit("/", 1)[-1]
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in stem if c.isascii())
    return f"{safe[:60]}-{hashlib.sha256(f'{output}|{run_id}'.encode()).hexdigest()[:6]}"
