"""What the connectivity losses cost: beside their uncompiled twin, and in a training step.

``pytest tests/benchmarks/test_losses.py --benchmark-enable -s`` prints

* L_conn forward and backward on a batch of 4 crops of 96^3, labels precomputed, compiled and not,
  on 1 thread and on 2, with its parts; in seconds of the clock and of the processor;
* a training step with L_3D against the same step with the mean squared error: on a GPU the report's
  network in mixed precision, elsewhere one of 3 levels and 16 channels on the CPU.

Without ``--benchmark-enable`` everything runs once, on crops of one window.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.annotation import Forest, distance_block
from neuroconn.config.loss import LossSettings
from neuroconn.geometry import Box
from neuroconn.loss import L3D, LConn, Objective, build_objective
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.projection import project
from neuroconn.network import build
from neuroconn.phantom import Growth, grow

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

BATCH = 4


def crops(side: int, clip: float = 10.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets with two neurons each, and predictions of a network halfway through its training."""
    rng = np.random.default_rng(0)
    box = Box.of_shape((side,) * 3)
    growth = Growth(length=3.0 * side, persistence=30.0, branching=0.02)
    targets = np.stack([_target(box, growth, rng, clip) for _ in range(BATCH)])
    doubt = ndimage.gaussian_filter(rng.normal(size=targets.shape), (0, 3, 3, 3))
    noise = 3 * doubt / doubt.std() + rng.normal(size=targets.shape)
    return targets, np.clip(targets + noise, 0, clip).astype(np.float32)


def _target(box: Box, growth: Growth, rng: np.random.Generator, clip: float) -> Any:
    roots = rng.uniform(0, box.shape[0], (2, 3))
    trees: list[Forest] = [grow(growth, rng, root=tuple(root), bounds=box) for root in roots]
    maps = [distance_block(tree, box, clip=clip) for tree in trees]
    return np.minimum(maps[0], maps[1])


def seconds(run: Callable[[], object], rounds: int) -> dict[str, float]:
    """Best of some rounds, by the clock and by the processor."""
    run()
    found = []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*found, strict=True)
    return {"wall": min(walls), "cpu": min(cpus)}


@pytest.mark.parametrize("threads", [1, 2])
def test_l_conn_against_its_uncompiled_twin(
    threads: int, benchmark: "BenchmarkFixture", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Baseline: the same loss with NEUROCONN_TOPOLOGY=python. Target: 10 times, 60 ms on 2."""
    side, rounds = (48, 1) if benchmark.disabled else (96, 20)
    targets, maps = crops(side)
    term = LConn()
    prepared = [term.prepare(target) for target in targets]
    target = torch.from_numpy(targets)[:, None]
    y = torch.from_numpy(maps)[:, None].requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)

    def both_ways() -> float:
        y.grad = None
        loss = term(y, target, prepared)
        loss.backward()
        return float(loss.detach())

    def measure() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for engine in ("numba", "python"):
            monkeypatch.setenv(CHOICE, engine)
            found[engine] = seconds(both_ways, rounds if engine == "numba" else 3)
            found[f"loss {engine}"] = both_ways()
        monkeypatch.setenv(CHOICE, "numba")
        found["forward"] = seconds(lambda: term(y, target, prepared), rounds)
        found["projections"] = seconds(lambda: project(y), rounds)
        found["preparing a crop"] = seconds(lambda: term.prepare(targets[0]), rounds)
        return found

    try:
        found = benchmark.pedantic(measure, rounds=1)
    finally:
        torch.set_num_threads(before)

    assert found.pop("loss numba") == pytest.approx(found.pop("loss python"), rel=1e-5)
    benchmark.extra_info.update(found)
    print(f"\nL_conn, {BATCH} x {side}^3, {threads} threads")
    for name, took in found.items():
        print(f"  {name:17s} {1e3 * took['wall']:8.1f} ms, processor {1e3 * took['cpu']:8.1f} ms")
    for clock in ("wall", "cpu"):
        print(f"  {clock}: {found['python'][clock] / found['numba'][clock]:.1f} times the twin")


def step(network: torch.nn.Module, objective: Objective, half: bool) -> Callable[..., None]:
    """One update of the weights, ready to be repeated on a batch."""
    optimiser = torch.optim.Adam(network.parameters())

    def run(images: torch.Tensor, targets: torch.Tensor, prepared: Any) -> None:
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=half):
            prediction = network(images)
        loss, _ = objective(prediction, targets, prepared, iteration=0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if images.device.type == "cuda":
            torch.cuda.synchronize()

    return run


@pytest.mark.slow
def test_l_3d_in_a_training_step(benchmark: "BenchmarkFixture") -> None:
    """Baseline: the step with the mean squared error. Target: at most 15 % more."""
    gpu = torch.cuda.is_available() and not benchmark.disabled
    side = 48 if benchmark.disabled else 96
    size = {"levels": 4, "width": 32} if gpu else {"levels": 3, "width": 16}
    rounds = 1 if benchmark.disabled else 30 if gpu else 3
    device = torch.device("cuda" if gpu else "cpu")
    torch.manual_seed(0)
    network = build("unet", clip=10.0, **size).to(device)
    network.to(memory_format=torch.channels_last_3d)
    targets, maps = crops(side)
    images = torch.from_numpy(10 - maps)[:, None].to(device)
    truth = torch.from_numpy(targets)[:, None].to(device)
    steps, prepared = {}, {}
    for name in ("mse", "l_3d"):
        objective = build_objective(LossSettings.model_validate(name), clip=10.0)
        steps[name] = step(network, objective, half=gpu)
        prepared[name] = [objective.prepare(target, None) for target in targets]

    clock = time.perf_counter if gpu else time.process_time  # processors are seldom alone

    def measure() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in steps}
        for round_ in range(rounds + 1):
            for name, run in steps.items():
                start = clock()
                run(images, truth, prepared[name])
                found[name] += [clock() - start] if round_ else []
        return found

    found = benchmark.pedantic(measure, rounds=1)

    mse, l_3d = median(found["mse"]), median(found["l_3d"])
    own = L3D()
    alone = seconds(lambda: own(truth, truth, [p[0] for p in prepared["l_3d"]]), 3)
    benchmark.extra_info.update({"mse": mse, "l_3d": l_3d, "more": l_3d / mse - 1})
    print(f"\nstep on {device}, {size}, {BATCH} x {side}^3")
    print(f"  mse {mse:.3f} s, l_3d {l_3d:.3f} s: {100 * (l_3d / mse - 1):.1f} % more")
    print(
        f"  L_3D itself, forward: {1e3 * alone['wall']:.1f} ms, processor {1e3 * alone['cpu']:.1f}"
    )
    assert mse > 0
