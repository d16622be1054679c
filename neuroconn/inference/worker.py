"""What a Dask worker holds for a run: the network, loaded once, and the open arrays.

A scheduler imports this module to look into the tasks it passes on. It has no use for Zarr and
torch, so they are imported where a worker needs them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from distributed import Reschedule, Worker, WorkerPlugin, get_worker
from distributed.protocol import pickle as wire

from neuroconn.inference.slots import SlotMeter
from neuroconn.sites.settings import RESOURCE

if TYPE_CHECKING:
    from neuroconn.geometry import ZYX
    from neuroconn.inference.plan import Plan
    from neuroconn.inference.predictors import PredictorFactory
    from neuroconn.inference.task import Context, Failure, Outcome

PREFIX = "neuroconn-run-"
"""How the names of all plugins of runs begin."""

Results: TypeAlias = "tuple[Outcome | Failure, ...]"


MISFITS = "neuroconn-misfits"
"""Topic of the events by which workers say that they cannot take a run."""


def _leave_signals_to_parent() -> None:
    """Ignore what a terminal sends to all of its processes, in a worker that another process owns.

    Ctrl-C and a hangup ask the client to drain; workers that died of them would lose what is in
    flight. Who owns this worker ends it.
    """
    main = threading.current_thread() is threading.main_thread()
    if multiprocessing.parent_process() is None or not main:
        return
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class ModelPlugin(WorkerPlugin):
    """Loads the network on every worker, also on those that join or restart later.

    A worker that cannot take the run, for other weights, packages or paths, gets no task of it:
    its chunks could differ from those of the others.

    Parameters
    ----------
    plan : Plan
        The run.
    factory : PredictorFactory
        Builds the network; importable on the workers.
    threads : int, optional
        Threads of the network; by default what the site set, else those of the worker.
    owner : str, optional
        Id of the client; what a client that died left behind can be told by it.
    """

    idempotent = True

    def __init__(
        self,
        plan: Plan,
        factory: PredictorFactory,
        threads: int | None = None,
        owner: str = "nobody",
    ) -> None:
        # A rehearsal may use workers on which the run itself is under way.
        what = "rehearsal" if plan.rehearsal else "model"
        self.name = f"{PREFIX}{what}-{plan.run_id[:16]}-{owner}"
        # Packed, so that a worker with another version of the package still gets as far as setup.
        self._run = wire.dumps((plan, factory))  # type: ignore[no-untyped-call]
        self._threads = threads
        self._shares_cores = plan.device != "cuda"
        self._aside = False
        self._worker: Worker | None = None
        self._meter: SlotMeter | None = None
        self.context: Context | None = None

    async def setup(self, worker: Worker) -> None:
        """Load and warm up the network away from the event loop."""
        _leave_signals_to_parent()
        if not worker.state.total_resources.get(RESOURCE):
            return  # a worker for other tasks
        try:
            self.context = await asyncio.to_thread(self._open, worker)
        except Exception as error:
            await self._step_aside(worker, error)
            raise
        self._worker, self._meter = worker, SlotMeter(shares_cores=self._shares_cores)

    def tune(self, results: list[Outcome]) -> None:
        """Take more chunks at a time if the store is slow and the worker has threads to spare."""
        for result in results:
            wanted = self._meter and self._meter.add(result.seconds, result.model_seconds)
            if not wanted or not self._worker:
                continue
            state = self._worker.state
            slots = min(wanted, state.nthreads)
            if slots > state.total_resources.get(RESOURCE, 0):
                self._worker.loop.add_callback(self._worker.set_resources, **{RESOURCE: slots})

    def _open(self, worker: Worker) -> Context:
        from neuroconn.inference.predictors import open_worker_context

        plan, factory = wire.loads(self._run)  # type: ignore[no-untyped-call]
        threads = self._threads or int(os.environ.get("NEUROCONN_THREADS", 0))
        return open_worker_context(
            plan, factory, threads or worker.state.nthreads, str(worker.name)
        )

    async def _step_aside(self, worker: Worker, error: Exception) -> None:
        """Take the worker out of the scheduler's choice; what it was given goes back."""
        self._aside = True
        worker.log_event(MISFITS, f"worker {worker.name}: {type(error).__name__}: {error}")
        await worker.scheduler.set_resources(worker=worker.contact_address, resources={RESOURCE: 0})

    async def teardown(self, worker: Worker) -> None:
        """Let go of the network."""
        self.context = None
        if self._aside:
            await worker.scheduler.set_resources(
                worker=worker.contact_address, resources=dict(worker.state.total_resources)
            )


def infer_batch(plugin: str, packed: bytes) -> Results:
    """Infer chunks one after the other with the network of this worker; the task that Dask runs."""
    from neuroconn.inference.task import Outcome, try_chunk

    held: Any = get_worker().plugins.get(plugin)
    if held is None or held.context is None:
        raise Reschedule
    results = tuple(try_chunk(held.context, index, attempt) for index, attempt in unpack(packed))
    held.tune([result for result in results if isinstance(result, Outcome)])
    return results


def pack(chunks: Iterable[tuple[ZYX, int]]) -> bytes:
    """Return chunks and attempts as bytes: Dask looks into every tuple that it is given.

    Examples
    --------
    >>> unpack(pack([((1, 2, 3), 1), ((4, 5, 6), 2)]))
    [((1, 2, 3), 1), ((4, 5, 6), 2)]
    """
    return array("q", [n for index, attempt in chunks for n in (*index, attempt)]).tobytes()


def unpack(packed: bytes) -> list[tuple[ZYX, int]]:
    """Inverse of :func:`pack`."""
    numbers = iter(array("q", packed))
    return [((z, y, x), n) for z, y, x, n in zip(*[numbers] * 4, strict=True)]
