"""Tiles made on Dask workers: what travels is where to read and what to write, never voxels."""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from typing import Self

from distributed import CancelledError, Client, Future, KilledWorker, wait

from neuroconn.errors import ClusterError, InterruptedRunError
from neuroconn.vaa3d.journal import Made
from neuroconn.vaa3d.ledger import Job
from neuroconn.vaa3d.making import Work, make_tile
from neuroconn.vaa3d.workers import AWAITING_DISK, Start

__all__ = ["Client", "DaskWorkers", "on"]

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""Times a tile may be lost with its worker before the export stops."""
PATIENCE_S = 60.0
"""How long the export waits for workers when all are gone."""
_GLANCE_S = 5.0


class DaskWorkers:
    """A bounded window of tasks, one a tile.

    Parameters
    ----------
    client : distributed.Client
        Of a cluster whose workers see the brain, the map and the output under the same paths.
    work : Work
        What is exported.

    Raises
    ------
    ClusterError
        If there is no worker, or tiles are lost again and again.
    InterruptedRunError
        If the scheduler is gone.
    """

    def __init__(self, client: Client, work: Work) -> None:
        self._client, self._work = client, work
        self._prefix = f"export-{secrets.token_hex(4)}"
        self._running: dict[Future[Made], tuple[Job, int]] = {}
        self._most = self._slots()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:
            self._client.cancel(list(self._running))  # type: ignore[no-untyped-call]

    @property
    def room(self) -> int:
        """How many more jobs it takes now."""
        return self._most - len(self._running)

    def submit(self, job: Job, attempt: int = 1) -> None:
        """Send a job along."""
        name = f"{self._prefix}-{job.level}-{'-'.join(map(str, job.index))}-{attempt}"
        future = self._client.submit(
            make_tile, self._work, job, key=name, pure=False, retries=0, priority=job.level
        )
        self._running[future] = job, attempt

    def drain(self) -> list[Made]:
        """Wait for tiles; those lost with their worker are sent again."""
        made: list[Made] = []
        while self._running and not made:
            finished = self._finished()
            self._most = self._slots()
            made = [tile for tile in map(self._result, finished) if tile is not None]
        return made

    def _finished(self) -> list[Future[Made]]:
        """Wait until a task is over, however it ended."""
        alone = time.monotonic() + PATIENCE_S
        while True:
            with suppress(TimeoutError, CancelledError):
                wait(list(self._running), timeout=_GLANCE_S, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]
            finished = [future for future in self._running if future.status != "pending"]
            if finished:
                return finished
            if self._slots():
                alone = time.monotonic() + PATIENCE_S
            elif time.monotonic() > alone:
                raise InterruptedRunError(
                    f"no worker has been there for {PATIENCE_S:g} s, so nothing runs. "
                    "Run the same command again to resume."
                )

    def _result(self, future: Future[Made]) -> Made | None:
        job, attempt = self._running.pop(future)
        if future.status == "finished":
            made: Made = future.result()
            future.release()  # type: ignore[no-untyped-call]
            return made
        error = future.exception() if future.status == "error" else None  # type: ignore[no-untyped-call]
        if error is not None and not isinstance(error, KilledWorker):
            raise error
        if self._client.status != "running":
            raise InterruptedRunError("the scheduler is gone; run the same command again to resume")
        if attempt >= ATTEMPTS:
            raise ClusterError(
                f"tile {job.index} of level {job.level} was lost {ATTEMPTS} times "
                f"({future.status}): see the logs of the workers, then run the same command again"
            )
        logger.warning("tile %s of level %d was lost; it is made again", job.index, job.level)
        self.submit(job, attempt + 1)
        return None

    def _slots(self) -> int:
        """Tasks to have under way: one a thread of the live workers, and some that wait."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(w["nthreads"]) + AWAITING_DISK for w in workers)


def on(client: Client) -> Start:
    """Return how to begin work on the workers of a client."""

    def start(work: Work) -> DaskWorkers:
        workers = DaskWorkers(client, work)
        if workers.room < 1:
            raise ClusterError("the scheduler has no worker; start some, or leave out --scheduler")
        return workers

    return start
