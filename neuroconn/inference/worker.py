"""What a Dask worker holds for a run: the network, loaded once, and the open arrays."""

from __future__ import annotations

import asyncio
import os
from typing import Any, TypeAlias

from distributed import Worker, WorkerPlugin, get_worker

from neuroconn.geometry import ZYX
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory, open_worker_context
from neuroconn.inference.task import Context, Failure, Outcome, try_chunk

Results: TypeAlias = tuple[Outcome | Failure, ...]


class ModelPlugin(WorkerPlugin):
    """Loads the network on every worker, also on those that join or restart later.

    Parameters
    ----------
    plan : Plan
        The run.
    factory : PredictorFactory
        Builds the network; importable on the workers.
    threads : int, optional
        Threads of the network; by default what the site set, else those of the worker.
    """

    idempotent = True

    def __init__(self, plan: Plan, factory: PredictorFactory, threads: int | None = None) -> None:
        self.name = f"neuroconn-model-{plan.run_id[:16]}"
        self._plan = plan
        self._factory = factory
        self._threads = threads
        self.context: Context | None = None

    async def setup(self, worker: Worker) -> None:
        """Load and warm up the network away from the event loop."""
        threads = self._threads or int(os.environ.get("NEUROCONN_THREADS", 0))
        self.context = await asyncio.to_thread(
            open_worker_context,
            self._plan,
            self._factory,
            threads or worker.state.nthreads,
            str(worker.name),
        )

    def teardown(self, worker: Worker) -> None:
        """Let go of the network."""
        self.context = None


def infer_batch(plugin: str, chunks: tuple[tuple[ZYX, int], ...]) -> Results:
    """Infer chunks one after the other with the network of this worker; the task that Dask runs."""
    held: Any = get_worker().plugins[plugin]
    return tuple(try_chunk(held.context, index, attempt) for index, attempt in chunks)
