"""A dense run against the network alone, on the same tiles.

The network alone is our engine in a plain loop over tiles that are in memory already: no reading,
no verdict, no writing, no journal, no scheduler. Rounds alternate with it, since machines change
their speed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn import infer, open_image
from neuroconn.config.infer import InferSettings
from neuroconn.inference.predictors import engine_picker, engine_predictor
from neuroconn.inference.prepare import prepare
from neuroconn.volume.regions import read_region

CORES = len(os.sched_getaffinity(0))


@dataclass
class Rounds:
    """Seconds of each way, round by round."""

    chunks: int
    kind: str
    """Engine and arithmetic."""
    bare: list[float] = field(default_factory=list)
    walks: dict[str, list[float]] = field(default_factory=dict)
    """The walk, from the first chunk handed out to the last journalled."""
    calls: dict[str, list[float]] = field(default_factory=dict)
    """The whole of ``infer``: start of workers, loading of the network and coarse levels too."""
    busy: dict[str, float] = field(default_factory=dict)

    def table(self) -> str:
        """Return the best round of each way."""
        bare = min(self.bare)
        head = f"{'':12}{'walk s':>9}{'/ network':>11}{'busy':>7}{'infer s':>10}{'beside it s':>13}"
        lines = [
            f"{self.chunks} chunks, {CORES} threads",
            head,
            f"{'network':12}{bare:9.2f}{1:11.3f}",
        ]
        for name, walks in self.walks.items():
            walk, call = min(walks), min(self.calls[name])
            lines.append(
                f"{name:12}{walk:9.2f}{walk / bare:11.3f}{self.busy[name]:7.0%}{call:10.2f}"
                f"{call - walk:13.2f}"
            )
        return "\n".join(lines)


def measure(
    brain: Path,
    folder: Path,
    settings: InferSettings,
    model: str,
    ways: Sequence[str],
    rounds: int = 1,
) -> Rounds:
    """Predict a brain with the network alone and with each scheduler, in turn."""
    network = Alone(brain, settings, model)
    found = Rounds(len(network.tiles), network.kind)
    for number in range(rounds):
        found.bare.append(network.seconds())
        for way in ways:
            output = folder / f"{way.replace(':', '-')}-{number}.ome.zarr"
            start = time.perf_counter()
            report = infer(
                brain, output, seed_source="all", model=model, settings=settings, scheduler=way
            )
            found.calls.setdefault(way, []).append(time.perf_counter() - start)
            found.walks.setdefault(way, []).append(report.seconds)
            found.busy[way] = report.utilisation
            assert report.complete
            assert report.inferred == found.chunks
    found.bare.append(network.seconds())
    return found


class Alone:
    """The network as a worker of the run would load it, and the tiles of its brain, in memory."""

    def __init__(self, brain: Path, settings: InferSettings, model: str) -> None:
        job = prepare(
            brain, brain.parent / "unused", model=model, settings=settings, seed_source="all"
        )
        pick = engine_picker(job.engine, job.card.architecture)
        plan, _ = job.plan(*pick(settings.device, settings.precision))
        self.kind = f"{plan.engine}, {plan.precision}"
        array = open_image(brain).array(plan.level)
        self.tiles: list[NDArray[np.integer]] = [
            read_region(array, plan.grid.tile(index, plan.halo), pad=plan.padding)
            for index in plan.grid
        ]
        self._constants = plan.constants
        self._predictor = engine_predictor(plan, CORES, False)
        self._predictor.predict(self.tiles[0], self._constants)

    def seconds(self) -> float:
        """Predict every tile."""
        start = time.perf_counter()
        for tile in self.tiles:
            self._predictor.predict(tile, self._constants)
        return time.perf_counter() - start
