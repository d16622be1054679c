"""A step of the whole training loop against bare forward, backward and optimiser.

``pytest tests/benchmarks/test_training.py --benchmark-enable -s`` prints, for the same network, in
one process and with the two taking turns, milliseconds of

* bare: forward, squared error, backward, Adam; tensors ready, nothing logged: the baseline;
* step: `Trainer.step`, batches ready: losses by the term, gradient length, running mean, checks;
* loop: steps with the batches that the loader makes meanwhile, from crops that are in memory:
  normalised, turned, stacked, copied.

The target is loop <= 1.10 bare. ``NEUROCONN_BENCH_DEVICE=cuda`` measures on a GPU. Without
``--benchmark-enable`` each runs once, on a tiny network.
"""

import os
import statistics
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from neuroconn.config import resolve
from neuroconn.config.train import TrainSettings
from neuroconn.loss import mse
from neuroconn.network import build, keep_pages
from neuroconn.training import Crop, Mixture, Trainer
from neuroconn.training.loader import batches, default_workers
from neuroconn.training.ranks import Ranks
from neuroconn.training.trainer import Forward

SMALL: dict[str, Any] = {
    "crop": 16,
    "batch": 1,
    "network": {"levels": 1, "width": 2},
    "phantoms": {"margin": 0},
}
LARGE: dict[str, Any] = {"crop": 64, "batch": 2, "network": {"levels": 3, "width": 16}}
GPU: dict[str, Any] = {"crop": 96, "batch": 4, "network": {"levels": 4, "width": 32}}
AVERAGED = {"optimiser": {"average": 0.99}}


class Stored(Mixture):
    """A few crops in memory, as a dataset on a fast disk would give them."""

    def __init__(self, settings: TrainSettings, *, graphs: bool = False) -> None:
        super().__init__(settings, graphs=graphs)
        self._few = [super(Stored, self).crop(n)[0] for n in range(2)]

    def crop(self, number: int) -> tuple[Crop, np.random.Generator]:
        return self._few[number % 2], self.rng(number)


def bare(settings: TrainSettings, trainer: Trainer) -> Callable[[], None]:
    """The same network and arithmetic, as anyone would write it."""
    device = trainer.device
    network: nn.Module = build(**settings.network.arguments(), clip=settings.clip).to(device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    forward = Forward(network, trainer.precision)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    shape = (settings.batch, 1, *(settings.crop,) * 3)
    images, target = (torch.rand(shape, device=device) for _ in range(2))
    images = images.contiguous(memory_format=torch.channels_last_3d)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        mse(forward(images), target).backward()
        optimiser.step()

    return step


def timed(step: Callable[[], None], device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mse", "l_3d"])
def test_a_step_of_the_loop_against_a_bare_one(loss: str, benchmark: BenchmarkFixture) -> None:
    device = torch.device(os.environ.get("NEUROCONN_BENCH_DEVICE", "cpu"))
    full = GPU if device.type == "cuda" else LARGE
    window = {"window": 8 if benchmark.disabled else 32 if full is LARGE else 48, "dilation": 1}
    terms = {"mse": "mse", "l_3d": {"mse": {}, "l_conn": {"options": window}}}
    size = {**(SMALL if benchmark.disabled else full), **AVERAGED, "loss": terms[loss]}
    settings = resolve(TrainSettings, {"minimum_voxels": 1}, size)
    rounds = 1 if benchmark.disabled else 200 if device.type == "cuda" else 15
    if device.type == "cpu":
        keep_pages()

    found = benchmark.pedantic(measure, args=(settings, device, rounds), rounds=1)

    benchmark.extra_info.update(found)
    print(f"\n{loss}, {settings.batch} x {settings.crop}^3 on {device}")
    for name, value in found.items():
        print(f"  {name:5s} {value:8.2f} ms  {value / found['bare']:5.2f} times bare")
    assert all(value > 0 for value in found.values())


def measure(settings: TrainSettings, device: torch.device, rounds: int) -> dict[str, float]:
    """Medians of the three, taking turns."""
    trainer = Trainer(settings, Ranks(device=device))
    mixture = Stored(settings, graphs=trainer.objective.wants_graph)
    made = batches(
        mixture,
        settings,
        first=0,
        last=10**6,
        prepare=trainer.objective.prepare,
        ranks=trainer.ranks,
        workers=default_workers(device),
    )
    ready = next(made)
    steps: dict[str, Callable[[], None]] = {
        "bare": bare(settings, trainer),
        "step": lambda: trainer.step([ready]),
        "loop": lambda: trainer.step(islice(made, 1)),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    try:
        for turn in range(rounds + 2):
            for name, step in steps.items():
                took = timed(step, device)
                if turn >= min(2, rounds - 1):
                    times[name].append(took)
    finally:
        made.close()
    return {name: statistics.median(values) for name, values in times.items()}
