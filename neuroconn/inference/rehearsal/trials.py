"""Inferring a few chunks for their verdicts and their times; nothing of them is stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from statistics import fmean, stdev

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.backends import Backend
from neuroconn.inference.executors import Batch, Executor
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory
from neuroconn.inference.rehearsal.estimate import Measured
from neuroconn.inference.task import Outcome

_MOST = 2000
"""Chunks: the interval is then as narrow as anybody needs."""
_NAMED = 3


@dataclass
class Trial:
    """Chunks that came back, in order."""

    slots: int = 1
    outcomes: list[Outcome] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each came back, in seconds since the first was sent."""
    failed: list[str] = field(default_factory=list)

    @property
    def warm_up(self) -> int:
        """Outcomes that are no measure of time: kernels were chosen, caches were cold."""
        return min(self.slots, len(self.outcomes))

    def verdicts(self, grid: ChunkGrid) -> list[tuple[int, bool]]:
        """Position of each chunk, and whether it holds neurite."""
        return [(grid.ravel(o.index), o.verdict.neurite) for o in self.outcomes]

    def measured(self, models: int) -> Measured | None:
        """Sum up; None if no chunk came back.

        Parameters
        ----------
        models : int
            Networks that ran at the same time.
        """
        if not self.outcomes:
            return None
        first = self.warm_up if len(self.outcomes) > self.warm_up else 0
        timed = self.outcomes[first:]
        seconds = [o.seconds for o in timed]
        mean = fmean(seconds)
        elapsed = self.times[-1] - self.times[first - 1] if first else 0.0
        rate = len(timed) / elapsed if elapsed > 0 else self.slots / max(mean, 1e-9)
        error = stdev(seconds) / mean / len(timed) ** 0.5 if len(timed) > 1 and mean else 0.5
        model = fmean(o.model_seconds for o in timed)
        read = fmean(o.read_seconds for o in timed)
        sizes = {
            hit: [o.rehearsed_bytes for o in self.outcomes if o.verdict.neurite == hit]
            for hit in (True, False)
        }
        every = fmean(o.rehearsed_bytes for o in self.outcomes)
        return Measured(
            chunks=len(self.outcomes),
            neurite=len(sizes[True]),
            timed=len(timed) if first else 0,
            slots=self.slots,
            seconds=mean,
            read_seconds=read,
            model_seconds=model,
            chunks_per_second=rate,
            spread=min(error, 0.5),
            bottleneck=_bottleneck(model, read, mean - model - read, rate / models),
            neurite_bytes=fmean(sizes[True] or [every]),
            empty_bytes=fmean(sizes[False] or [every]),
            failed=tuple(self.failed[:_NAMED]),
        )


def try_out(
    backend: Backend,
    plan: Plan,
    factory: PredictorFactory,
    draw: Iterator[int],
    *,
    inner_chunk: int,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Infer chunks on the workers until the time is up; at least one after the warm-up.

    Parameters
    ----------
    backend : Backend
        The workers.
    plan : Plan
        The run.
    factory : PredictorFactory
        Builds the network on a worker.
    draw : iterator of int
        Flat positions in the grid, in the order to infer them.
    inner_chunk : int
        Side of the units that cores are compressed in.
    budget_s : float
        Seconds after which no more are sent, loading the network not counted.
    clock : callable, optional
        Tells the time.
    """
    rehearsal = replace(plan, rehearsal=inner_chunk)
    with backend.executor(rehearsal, factory) as executor:
        return _infer(executor, plan.grid, draw, budget_s, clock)


def _infer(
    executor: Executor,
    grid: ChunkGrid,
    draw: Iterator[int],
    budget_s: float,
    clock: Callable[[], float],
) -> Trial:
    trial = Trial(slots=max(1, executor.slots))
    numbers, start, out = count(1), clock(), 0

    def send() -> int:
        enough = len(trial.outcomes) > trial.slots and clock() - start > budget_s
        position = None if enough or out + len(trial.outcomes) >= _MOST else next(draw, None)
        if position is None:
            return 0
        executor.submit(Batch(next(numbers), ((grid.unravel(position), 1),)))
        return 1

    for _ in range(trial.slots):
        out += send()
    while out:
        for returned in executor.drain():
            out -= 1
            for result in returned.results:
                if isinstance(result, Outcome):
                    trial.outcomes.append(result)
                    trial.times.append(clock() - start)
                else:
                    trial.failed.append(f"chunk {result.index}: {result.reason}")
            if returned.lost:
                trial.failed.append(f"a worker was lost ({returned.lost}): {returned.reason}")
        while out < trial.slots and len(trial.failed) <= trial.slots and send():
            out += 1
    return trial


def _bottleneck(model: float, read: float, rest: float, rate: float) -> str:
    """Name what limits the rate of one network, in chunks per second."""
    if model * rate >= 0.75 or model >= max(read, rest):
        return "model"
    return "reading" if read >= rest else "verdict and compression"
