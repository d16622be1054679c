"""Who makes tiles: this thread, some threads, or (see the exporter) workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from threading import Semaphore
from typing import Any, Protocol, Self

from neuroconn.vaa3d.journal import Made
from neuroconn.vaa3d.ledger import Job
from neuroconn.vaa3d.making import Work, make_tile

AWAITING_DISK = 2
"""Tiles beyond the threads: while these wait for the disk, a processor each would stand idle."""


class Workers(Protocol):
    """Takes jobs and gives back what was made, in any order.

    The order changes nothing: a tile is the same whoever makes it, and when.
    """

    @property
    def room(self) -> int:
        """How many more jobs it takes now."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def drain(self) -> list[Made]:
        """Wait for at least one tile; nothing if no job is under way. Raises what a job raised."""


Start = Callable[[Work], AbstractContextManager[Workers]]
"""Begins work; what is under way when the context ends is waited for or given up."""


class Inline:
    """Makes one tile at a time, in this thread."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @property
    def room(self) -> int:
        """One, or none."""
        return 1 - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Keep a job for :meth:`drain`."""
        self._jobs.append(job)

    def drain(self) -> list[Made]:
        """Make the tile."""
        return [make_tile(self._work, self._jobs.pop())] if self._jobs else []


class Threads:
    """Makes ``threads`` tiles at a time; a few more wait for the disk."""

    def __init__(self, work: Work, threads: int) -> None:
        self._work, self._most = work, threads + AWAITING_DISK
        self._gate = Semaphore(threads)
        self._running: set[Future[Made]] = set()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="tile")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def room(self) -> int:
        """How many more jobs it takes now."""
        return self._most - len(self._running)

    def submit(self, job: Job) -> None:
        """Begin a tile as soon as a thread is free."""
        gate: AbstractContextManager[Any] = self._gate
        self._running.add(self._pool.submit(make_tile, self._work, job, gate))

    def drain(self) -> list[Made]:
        """Wait for a tile."""
        finished, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        return [future.result() for future in finished]


def local(threads: int) -> Start:
    """Return how to begin work on threads of this process."""
    return (lambda work: Threads(work, threads)) if threads > 1 else Inline
