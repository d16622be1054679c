"""What Dask, the walk, the frontier and the journal cost a chunk whose task does nothing.

A scheduler and two workers run in processes of their own, the walk in this one. All of it is what a
run uses, but the one function that would read, infer and write.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from distributed import Client, Worker, WorkerPlugin

from neuroconn import sites
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference import walk
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.scheduler import DaskExecutor
from neuroconn.inference.task import Outcome
from neuroconn.inference.verdict import Verdict
from neuroconn.inference.watching.events import EventLog

HERE = Path(__file__).parent
ALL = (1 << 26) - 1
SLOTS = 2
"""Tasks a worker runs at a time, as on a GPU."""


@dataclass(frozen=True)
class Cost:
    """Processor time and memory of a walk."""

    chunks: int
    seconds: float
    client_s: float
    scheduler_s: float
    workers_s: float
    client_mb: float
    """How much larger the process was after the walk than before it."""
    scheduler_mb: float

    @property
    def ms_a_chunk(self) -> float:
        """Processor time of client and scheduler."""
        return (self.client_s + self.scheduler_s) / self.chunks * 1e3


class NothingToDo(WorkerPlugin):
    """Makes a worker answer for every chunk at once: it holds neurite, look at all neighbours."""

    name = "nothing-to-do"
    context: Any = "unused"

    def setup(self, worker: Worker) -> None:
        from neuroconn.inference import task

        task.try_chunk = nothing  # type: ignore[assignment]

    def tune(self, results: list[Outcome]) -> None:
        """Run as many tasks at a time as before."""


def nothing(context: Any, index: ZYX, attempt: int) -> Outcome:
    return Outcome(index, Verdict(True, ALL, ALL, 100), 0, attempt, seconds=1e-3)


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[tuple[Client, psutil.Process, list[Any]]]:
    """Start a scheduler and workers as one would by hand."""
    where = folder / "scheduler.json"
    local = ("--scheduler-file", str(where), "--host", "127.0.0.1")
    dashboard = ("--dashboard-address", "127.0.0.1:0")
    offers = ("--nthreads", str(SLOTS), "--resources", f"{sites.RESOURCE}={SLOTS}")
    with ExitStack() as stack:
        scheduler = _start(stack, "scheduler", "--port", "0", *local, *dashboard)
        while not where.exists():
            time.sleep(0.1)
        each = (
            "worker",
            *local,
            *dashboard,
            *offers,
            "--no-nanny",
            "--local-directory",
            str(folder),
        )
        started = [_start(stack, *each) for _ in range(workers)]
        client = stack.enter_context(sites.connect(str(where), wait_s=60))
        client.wait_for_workers(workers, timeout=60)
        yield client, scheduler, started


def _start(stack: ExitStack, *command: str) -> psutil.Process:
    process = psutil.Popen(
        [sys.executable, "-m", "dask", *command],
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    return process


def measure(folder: Path, counts: ZYX, batch: int = 16, workers: int = 2) -> Cost:
    """Walk a grid from one corner to the other."""
    grid = ChunkGrid(counts, (1, 1, 1))
    with ExitStack() as stack:
        client, scheduler, started = stack.enter_context(cluster(folder, workers))
        stack.enter_context(mock.patch.object(walk, "_LARGEST_BATCH", batch))
        journal = stack.enter_context(Journal.create(folder / "run", {"grid": grid}))
        client.register_plugin(NothingToDo())
        executor = DaskExecutor(client, NothingToDo.name)
        frontier = Frontier(grid, [(0, 0, 0)])
        client_process = psutil.Process()
        watched = (client_process, scheduler, *started)
        before = [(_cpu(p), p.memory_info().rss) for p in watched]
        events = EventLog(folder / "events.jsonl")
        tally = walk.Walk(frontier, executor, journal, events).run()
        after = [(_cpu(p), p.memory_info().rss) for p in watched]
    assert tally.inferred == len(grid)
    cpu = [b[0] - a[0] for a, b in zip(before, after, strict=True)]
    memory = [(b[1] - a[1]) / 1e6 for a, b in zip(before, after, strict=True)]
    return Cost(len(grid), tally.seconds, cpu[0], cpu[1], sum(cpu[2:]), memory[0], memory[1])


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
