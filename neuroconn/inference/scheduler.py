"""Chunks on a Dask cluster: a bounded window of fused tasks, drained in batches.

The window is the only back-pressure: Dask assigns tasks that ask for a resource at once, and every
task assigned to a worker that dies is suspect. A status other than ``finished`` means "not done";
what is done, the journal says, never Dask.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, as_completed
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from neuroconn import sites
from neuroconn.errors import ClusterError, InterruptedRunError, NeuroconnError
from neuroconn.inference.executors import Batch, Returned
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory
from neuroconn.inference.worker import MISFITS, PREFIX, ModelPlugin, Results, infer_batch, pack

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LINGER_S = 0.005
"""How long a batch that is back waits for others, so that they share messages and a sync of the
journal. Slots do not notice: the window holds a batch more for each than it runs."""


class DaskExecutor:
    """Runs batches as Dask tasks that ask for one ``GPU`` each.

    A message to the scheduler costs more than the task it speaks of, so there are few of them:
    what was submitted leaves with the next :meth:`drain`, and what is back comes in one go.
    """

    def __init__(self, client: Client, plugin: str) -> None:
        self._client = client
        self._plugin = plugin
        self._scheduler = client.scheduler_info()["id"]
        # Old futures of a key keep answering for it, so no key is ever used twice.
        self._prefix = f"infer-{secrets.token_hex(4)}"
        self._done: Any = as_completed()  # type: ignore[no-untyped-call]
        self._out: dict[Future[Results], Batch] = {}
        self._unsent: list[Batch] = []
        self.watch = sites.Watch(client, on_gone=self._give_up)

    @property
    def slots(self) -> int:
        """Tasks the live workers may run at once, looked up every two seconds."""
        return self.watch.slots

    def submit(self, batch: Batch) -> None:
        """Take a batch along with the next :meth:`drain`."""
        self._unsent.append(batch)

    def drain(self) -> list[Returned]:
        """Wait for a batch; see :class:`neuroconn.inference.executors.Executor`."""
        self._send()
        futures: list[Future[Results]] = self._done.next_batch(block=True)
        if len(futures) < len(self._out):
            time.sleep(_LINGER_S)
            futures += self._done.next_batch(block=False)
        values = self._values([f for f in futures if f.status == "finished"])
        returned = [self._returned(future, values.get(future)) for future in futures]
        for future in futures:
            future.release()  # type: ignore[no-untyped-call]
        if any(r.lost == "cancelled" for r in returned):
            self._require_workers()
            self._require_scheduler()
        return returned

    def _send(self) -> None:
        """Send the coordinates of batches; the voxels never travel."""
        batches, self._unsent = self._unsent, []
        if not batches:
            return
        futures = self._client.map(
            infer_batch,
            [self._plugin] * len(batches),
            [pack(batch.chunks) for batch in batches],
            key=[(self._prefix, batch.number) for batch in batches],
            resources={sites.RESOURCE: 1},
            retries=0,
            pure=False,
        )
        self._out |= zip(futures, batches, strict=True)
        self._done.update(futures)

    def _values(self, futures: list[Future[Results]]) -> dict[Future[Results], Results]:
        """Results of finished tasks, but for those that are lost on the way."""
        if not futures:
            return {}
        asked = dict(enumerate(futures))
        try:
            found: dict[int, Results | None] = self._client.gather(  # type: ignore[no-untyped-call]
                asked, errors="skip"
            )
        except (OSError, TimeoutError, RuntimeError):  # the scheduler is gone
            return {}
        return {asked[n]: value for n, value in found.items() if value is not None}

    def _returned(self, future: Future[Results], value: Results | None) -> Returned:
        batch = self._out.pop(future)
        if value is not None:
            return Returned(batch, value)
        if future.status != "error":
            return Returned(batch, lost="cancelled", reason=f"status {future.status}")
        error = future.exception()  # type: ignore[no-untyped-call]
        if isinstance(error, KilledWorker):
            return Returned(batch, lost="killed", reason=f"{error.last_worker.name} died")
        if isinstance(error, NoWorkerError | NoValidWorkerError):
            self.watch.gone = True
            self._require_workers()
        return Returned(batch, lost="error", reason=f"{type(error).__name__}: {error}")

    def _give_up(self) -> None:
        """Wake :meth:`drain`, which waits for tasks that nobody is there to run."""
        with suppress(Exception):  # the scheduler may be gone as well
            self._client.cancel(list(self._out), force=True)  # type: ignore[no-untyped-call]

    def _require_workers(self) -> None:
        """Raise if no worker has taken tasks for too long."""
        if self.watch.gone:
            why = self.watch.refused or "wall-time over?"
            raise InterruptedRunError(
                f"no worker has been there for a minute ({why}), so nothing runs. "
                "Run the same command again to resume."
            )

    def _require_scheduler(self) -> None:
        """Raise if the scheduler that knew our tasks is gone; one that comes back knows none."""
        now = None
        if _connected(self._client):  # else the question waits a minute for a reconnection
            with suppress(OSError, TimeoutError, RuntimeError, KeyError):
                now = self._client.scheduler_info()["id"]
        if now != self._scheduler or not _connected(self._client):
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

    def publish(self, run: str, fields: Mapping[str, Any]) -> None:
        """Show fields of a run on the page ``/neuroconn`` of the dashboard."""
        from neuroconn.view.dashboard import publish

        publish(self._client, run, fields)

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

    def ask(self, question: Callable[[], T]) -> list[T]:
        """Ask every worker."""
        answers: dict[str, T] = self._client.run(question)
        return list(answers.values())

    @contextmanager
    def executor(self, plan: Plan, factory: PredictorFactory) -> Iterator[DaskExecutor]:
        """Load the network on the workers.

        Raises
        ------
        NeuroconnError
            If a worker cannot take the run: other weights or packages, a path it does not see.
        """
        plugin = ModelPlugin(plan, factory, self._threads, self._client.id)
        self._sweep()
        try:
            self._load(plugin)
            executor = DaskExecutor(self._client, plugin.name)
            self._listen(executor.watch)
            executor.watch.start()
            try:
                yield executor
            finally:
                executor.watch.stop()
        finally:
            with suppress(Exception):  # the cluster may be gone by now
                if _connected(self._client):
                    self._client.unregister_worker_plugin(  # type: ignore[no-untyped-call]
                        plugin.name
                    )

    def _load(self, plugin: ModelPlugin) -> None:
        try:
            self._client.register_plugin(plugin)
        except NeuroconnError:
            raise
        except Exception as error:
            raise ClusterError(
                f"a worker could not load the run: {type(error).__name__}: {error}. "
                "Brain, output and model must be at the same paths on every worker."
            ) from error

    def _sweep(self) -> None:
        """Let workers forget the networks of clients that died."""
        left = self._client.run_on_scheduler(  # type: ignore[no-untyped-call]
            _orphans, PREFIX
        )
        for name in left:
            with suppress(Exception):  # another client may have been faster
                self._client.unregister_worker_plugin(name)  # type: ignore[no-untyped-call]

    def _listen(self, watch: sites.Watch) -> None:
        """Say which workers that join later cannot take the run."""

        def refused(event: tuple[float, str]) -> None:
            watch.refused = event[1]
            logger.warning("%s. It gets no chunks; the others go on.", event[1].rstrip("."))

        self._client.subscribe_topic(MISFITS, refused)  # type: ignore[no-untyped-call]


def _connected(client: Client) -> bool:
    return bool(client.status == "running")


def _orphans(prefix: str, dask_scheduler: Any = None) -> list[str]:
    """Plugins of ours whose client is gone; runs on the scheduler."""
    clients = tuple(dask_scheduler.clients)
    names = [name for name in dask_scheduler.worker_plugins if name.startswith(prefix)]
    return [name for name in names if not name.endswith(clients)]
