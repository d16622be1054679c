"""The walk: chunks a second, how busy the network is, and what a chunk costs without one.

``pytest tests/benchmarks/test_infer.py --benchmark-enable -s`` predicts every chunk of a phantom
brain of 256^3 voxels in this process, with one worker and with two, and prints

* chunks a second, and against one after the other (``sync``);
* busy: the share of the walk in which a worker's network ran;
* CPU ms: processor time of a chunk, all processes together, their start included.

The same run with a network that answers at once shows what reading, writing, journal and scheduling
cost; and the loop alone, with chunks that are not even read, what frontier and journal cost.
Without ``--benchmark-enable`` the brains are tiny.
"""

import resource
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from workloads import CORES, no_network, phantom_brain, shipped_or, untrained

from neuroconn import ChunkGrid, infer
from neuroconn.config.infer import EvidenceRules, InferSettings
from neuroconn.geometry import ZYX
from neuroconn.inference.executors import SerialExecutor
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.report import InferReport
from neuroconn.inference.task import Outcome
from neuroconn.inference.verdict import Verdict
from neuroconn.inference.walk import Walk
from neuroconn.inference.watching.events import EventLog

WORKERS = ("sync", "local:1", "local:2")
TINY = InferSettings(
    chunk=8, inner_chunk=8, halo=0, evidence=EvidenceRules(reliable=0), precision="float32"
)
"""Chunks so small that their voxels cost next to nothing."""


class Run(NamedTuple):
    """One way to run the walk."""

    report: InferReport
    cpu: float
    """Processor seconds of all processes."""

    def as_dict(self) -> dict[str, object]:
        return {**self.report.to_json(), "cpu_seconds": self.cpu}


def table(title: str, found: dict[str, Run]) -> str:
    """Return the table of one brain, run by different workers."""
    first = next(iter(found.values())).report
    lines = [title, f"{'':10}{'chunks':>8}{'chunks/s':>10}{'/ sync':>8}{'busy':>7}{'CPU ms':>8}"]
    for name, (report, cpu) in found.items():
        rate = report.inferred / report.seconds
        ratio = rate * first.seconds / first.inferred
        lines.append(
            f"{name:10}{report.inferred:8}{rate:10.2f}{ratio:8.2f}{report.utilisation:7.0%}"
            f"{cpu / report.inferred * 1000:8.0f}"
        )
    return "\n".join(lines)


def cpu_seconds() -> float:
    """Processor time of this process and of the workers it has ended, start-up included."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


def runs(
    brain: Path, folder: Path, schedulers: tuple[str, ...], settings: InferSettings, **how: object
) -> dict[str, Run]:
    """Predict all of a brain once with each scheduler."""
    found = {}
    for name in schedulers:
        output, before = folder / f"{name.replace(':', '-')}.ome.zarr", cpu_seconds()
        report = infer(brain, output, seed_source="all", settings=settings, scheduler=name, **how)
        found[name] = Run(report, cpu_seconds() - before)
    return found


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_workers_against_one_process(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    if benchmark.disabled:
        brain, model = phantom_brain(tmp_path, 48, 2), str(untrained(tmp_path / "model"))
        settings = InferSettings(chunk=16, inner_chunk=8, halo=16)
    else:
        brain, model = phantom_brain(tmp_path, 256, 12), shipped_or(tmp_path / "model")
        settings = InferSettings(chunk=64)
    names = WORKERS[:2] if benchmark.disabled else WORKERS

    found = benchmark.pedantic(
        runs, args=(brain, tmp_path, names, settings), kwargs={"model": model}, rounds=1
    )

    benchmark.extra_info.update({name: run.as_dict() for name, run in found.items()})
    tile = settings.chunk + 2 * settings.halo
    print("\n" + table(f"dense inference, tiles of {tile}^3, {CORES} cores", found))
    assert all(run.report.complete for run in found.values())
    assert len({run.report.inferred for run in found.values()}) == 1


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_a_chunk_costs_without_a_network(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    brain = phantom_brain(tmp_path, 24 if benchmark.disabled else 96, 2)
    model = str(untrained(tmp_path / "model"))
    names = WORKERS[:2] if benchmark.disabled else WORKERS
    how = {"model": model, "predictor": no_network}

    found = benchmark.pedantic(runs, args=(brain, tmp_path, names, TINY), kwargs=how, rounds=1)

    benchmark.extra_info.update({name: run.as_dict() for name, run in found.items()})
    print("\n" + table(f"no network, chunks of {TINY.chunk}^3: read, write, schedule", found))
    assert all(run.report.complete for run in found.values())
    assert all(run.report.chunks["empty"] == run.report.inferred for run in found.values())


@pytest.mark.timeout(3600)
def test_the_loop_alone(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """From one seed, every verdict opening all neighbours: frontier, batches, journal, syncs."""
    side = 6 if benchmark.disabled else 40
    grid = ChunkGrid((side,) * 3, (1, 1, 1))
    verdict = Verdict(True, (1 << 26) - 1, (1 << 26) - 1, voxels=100)

    def outcome(index: ZYX, attempt: int) -> Outcome:
        return Outcome(index, verdict, 0, attempt, seconds=1e-3)

    def walk() -> tuple[float, float]:
        with Journal.create(tmp_path / "run", {"grid": grid}) as journal:
            frontier = Frontier(grid, [(0, 0, 0)])
            events = EventLog(tmp_path / "events.jsonl")
            start, cpu = time.perf_counter(), time.process_time()
            tally = Walk(frontier, SerialExecutor(outcome), journal, events).run()
            seconds = time.perf_counter() - start, time.process_time() - cpu
        assert tally.inferred == len(grid)
        return seconds

    seconds, cpu = benchmark.pedantic(walk, rounds=1)

    rate, each = len(grid) / seconds, cpu / len(grid) * 1e6
    benchmark.extra_info.update(chunks_per_second=rate, cpu_us=each)
    print(f"\nthe loop alone: {len(grid)} chunks at {rate:.0f} a second, {each:.0f} CPU-µs each")
    assert rate > 0
