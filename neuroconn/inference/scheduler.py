"""Chunks on a Dask cluster: a bounded window of fused tasks, drained in batches.

The window is the only back-pressure: Dask assigns tasks that ask for a resource at once, and every
task assigned to a worker that dies is suspect. A status other than ``finished`` means "not done";
what is done, the journal says, never Dask.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from neuroconn import sites
from neuroconn.errors import ClusterError, InterruptedRunError, NeuroconnError
from neuroconn.inference.executors import Batch, Returned
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory
from neuroconn.inference.worker import ModelPlugin, Results, infer_batch

_LOOK_AGAIN_S = 2.0


class DaskExecutor:
    """Runs batches as Dask tasks that ask for one ``GPU`` each."""

    def __init__(self, client: Client, plugin: str) -> None:
        self._client = client
        self._plugin = plugin
        self._scheduler = client.scheduler_info()["id"]
        # Old futures of a key keep answering for it, so no key is ever used twice.
        self._prefix = f"infer-{secrets.token_hex(4)}"
        self._done: Any = as_completed()  # type: ignore[no-untyped-call]
        self._out: dict[Future[Results], Batch] = {}
        self._slots = sites.slots(client)
        self._looked = time.monotonic()

    @property
    def slots(self) -> int:
        """Tasks the live workers may run at once, looked up every two seconds."""
        if time.monotonic() - self._looked > _LOOK_AGAIN_S:
            self._looked = time.monotonic()
            with suppress(OSError):  # a lost scheduler shows in drain()
                self._slots = sites.slots(self._client)
        return self._slots

    def submit(self, batch: Batch) -> None:
        """Send the coordinates of a batch; the voxels never travel."""
        future = self._client.submit(
            infer_batch,
            self._plugin,
            batch.chunks,
            key=(self._prefix, batch.number),
            resources={sites.RESOURCE: 1},
            retries=0,
            pure=False,
        )
        self._out[future] = batch
        self._done.add(future)

    def drain(self) -> list[Returned]:
        """Wait for a batch; see :class:`neuroconn.inference.executors.Executor`."""
        futures = self._done.next_batch(block=True)
        returned = [self._returned(future) for future in futures]
        for future in futures:
            future.release()
        if any(r.lost == "cancelled" for r in returned):
            self._require_scheduler()
        return returned

    def _returned(self, future: Future[Results]) -> Returned:
        batch = self._out.pop(future)
        if future.status == "finished":
            return Returned(batch, future.result())
        if future.status != "error":
            return Returned(batch, lost="cancelled", reason=f"status {future.status}")
        error = future.exception()  # type: ignore[no-untyped-call]
        if isinstance(error, KilledWorker):
            return Returned(batch, lost="killed", reason=f"{error.last_worker.name} died")
        if isinstance(error, NoWorkerError | NoValidWorkerError):
            raise InterruptedRunError(
                "no worker has been there for a minute (wall-time over?), so nothing runs. "
                "Run the same command again to resume."
            )
        return Returned(batch, lost="error", reason=f"{type(error).__name__}: {error}")

    def _require_scheduler(self) -> None:
        """Raise if the scheduler that knew our tasks is gone."""
        try:
            now = self._client.scheduler_info()["id"]
        except (OSError, TimeoutError, RuntimeError, KeyError):
            now = None
        if now != self._scheduler or self._client.status != "running":
            raise InterruptedRunError(
                "the scheduler is gone, and with it what was in flight. "
                "Run the same command again to resume."
            )


class DaskBackend:
    """The workers of a Dask cluster."""

    def __init__(self, client: Client, threads: int | None = None) -> None:
        self._client = client
        self._threads = threads

    @property
    def name(self) -> str:
        """Address, workers and slots."""
        slots = sites.slots(self._client)
        return f"{self._client.scheduler_info()['address']}, {self.models} workers, {slots} slots"

    @property
    def dashboard(self) -> str | None:
        """URL of Dask's dashboard."""
        link: str | None = self._client.dashboard_link or None
        return link

    @property
    def models(self) -> int:
        """Workers that offer the resource."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(bool(w["resources"].get(sites.RESOURCE)) for w in workers)

    def resolve(
        self, pick: Callable[[str, str], tuple[str, str]], device: str, precision: str
    ) -> tuple[str, str]:
        """Ask every worker; see :class:`neuroconn.inference.backends.Backend`.

        Raises
        ------
        ClusterError
            If they differ: their chunks would differ too.
        """
        answers: dict[str, tuple[str, str]] = self._client.run(pick, device, precision)
        if len(set(answers.values())) != 1:
            raise ClusterError(
                f"the workers would run on different engines ({sorted(set(answers.values()))}), so "
                "their chunks would differ. Set device and precision, or use workers of one kind."
            )
        return next(iter(answers.values()))

    @contextmanager
    def executor(self, plan: Plan, factory: PredictorFactory) -> Iterator[DaskExecutor]:
        """Load the network on the workers.

        Raises
        ------
        NeuroconnError
            If a worker cannot take the run: other weights or packages, a path it does not see.
        """
        plugin = ModelPlugin(plan, factory, self._threads)
        try:
            self._client.register_plugin(plugin)
        except NeuroconnError:
            raise
        except Exception as error:
            raise ClusterError(
                f"a worker could not load the run: {type(error).__name__}: {error}. "
                "Brain, output and model must be at the same paths on every worker."
            ) from error
        try:
            yield DaskExecutor(self._client, plugin.name)
        finally:
            with suppress(Exception):  # the cluster may be gone by now
                self._client.unregister_worker_plugin(  # type: ignore[no-untyped-call]
                    plugin.name
                )
