"""Where a run runs, by name: this process, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from neuroconn.config.access import Access
from neuroconn.inference.executors import Executor, SerialExecutor, ThreadExecutor
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory, open_worker_context

T = TypeVar("T")

_SLOTS = 2


class Backend(Protocol):
    """Workers that are there, before they know what to do."""

    @property
    def name(self) -> str:
        """One line for people."""
        ...

    @property
    def dashboard(self) -> str | None:
        """URL of the dashboard, if there is one."""
        ...

    @property
    def publish(self) -> Callable[[str, Mapping[str, Any]], None] | None:
        """Shows fields of a run, by its name, on a page of the dashboard; None without one."""
        ...

    @property
    def models(self) -> int:
        """Networks that run at the same time: workers, not slots."""
        ...

    def resolve(
        self, pick: Callable[[str, str], tuple[str, str]], device: str, precision: str
    ) -> tuple[str, str]:
        """Device and precision that ``auto`` means on the workers; the same on all of them."""
        ...

    def ask(self, question: Callable[[], T]) -> list[T]:
        """Return the answers of all workers to a function that can be imported there."""
        ...

    def executor(self, plan: Plan, factory: PredictorFactory) -> AbstractContextManager[Executor]:
        """Load the network of a plan and get ready to run chunks."""
        ...


class LocalBackend:
    """The process itself: ``sync`` runs chunks one by one, ``threads`` two at a time.

    For debugging, and for volumes too small for a cluster; a crash of the network ends the run.
    """

    dashboard = None
    publish = None
    models = 1

    def __init__(self, kind: str, threads: int | None = None) -> None:
        self.name = f"this process ({kind})"
        self._kind = kind
        self._threads = threads or len(os.sched_getaffinity(0))

    def resolve(
        self, pick: Callable[[str, str], tuple[str, str]], device: str, precision: str
    ) -> tuple[str, str]:
        """Ask this process."""
        return pick(device, precision)

    def ask(self, question: Callable[[], T]) -> list[T]:
        """Ask this process."""
        return [question()]

    @contextmanager
    def executor(self, plan: Plan, factory: PredictorFactory) -> Iterator[Executor]:
        """Load the network here."""
        context = open_worker_context(plan, factory, self._threads, self._kind)
        if self._kind == "sync":
            yield SerialExecutor.of(context)
            return
        with ThreadExecutor.of(context, _SLOTS) as executor:
            yield executor


@contextmanager
def open_backend(
    scheduler: str | None, threads: int | None = None, access: Access | None = None
) -> Iterator[Backend]:
    """Start or reach what ``--scheduler`` names.

    Parameters
    ----------
    scheduler : str, optional
        ``sync``, ``threads``, or whatever :func:`neuroconn.sites.connect` takes.
    threads : int, optional
        Threads of each network; by default what the site or the machine gives.
    access : Access, optional
        Where to listen, and certificates.

    Raises
    ------
    ClusterError
        If there is no such scheduler, or no worker that fits.
    """
    if scheduler in ("sync", "threads"):
        yield LocalBackend(scheduler, threads)
        return
    # Imported here, so that local runs do not wait for Dask.
    from neuroconn.inference.scheduler import DaskBackend
    from neuroconn.sites import connect

    with connect(scheduler, access=access) as client:
        yield DaskBackend(client, threads)
