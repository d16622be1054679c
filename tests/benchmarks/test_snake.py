"""The snake loss against the obvious ways to compute it, in one process and one run.

``pytest tests/benchmarks/test_snake.py --benchmark-enable -s`` prints, on one thread,

* render: forward and backward of the distance map of a moved graph, 96**3 voxels and 120 edges:
  the compiled loops, tensors only, and the baseline that measures every edge from every voxel
  (which also checks that all three agree);
* field: ten evaluations at the nodes of 4 crops and the gradient, against the dense field;
* step: the whole loss of 4 crops of 96**3, forward and backward, in ms and in shares of the mean
  squared error's, with and without the movement's gradient; and soft clDice and skeleton recall.

Without ``--benchmark-enable`` everything runs once at 24**3.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional

from neuroconn.annotation import Graph
from neuroconn.loss import SkeletonRecall, SnakeLoss, SoftClDice, mse
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.snake_body import Snakes
from neuroconn.loss.snake_field import Field, kernels
from neuroconn.loss.snake_render import Edges, render


def chains(side: int, edges: int, seed: int = 0) -> Graph:
    """Six smooth chains, steps of 4.5 voxels, as long as ``edges`` asks for."""
    rng = np.random.default_rng(seed)
    positions, pairs = [], []
    for _ in range(6):
        place, course = rng.uniform(0.2 * side, 0.8 * side, 3), rng.normal(size=3)
        for i in range(edges // 6 + 1):
            positions.append(place)
            pairs += [[len(positions) - 2, len(positions) - 1]] if i else []
            course = course / np.linalg.norm(course) + 0.3 * rng.normal(size=3)
            place = place + 4.5 * course / np.linalg.norm(course)
    return Graph(np.array(positions), np.array(pairs))


def brute(positions: Tensor, pairs: Any, side: int, clip: float) -> Tensor:
    """Every edge, every voxel; the nearest is found first and differentiated alone."""
    axis = torch.arange(float(side))
    voxels = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    pairs = torch.from_numpy(pairs)

    def apart(edge: Tensor) -> Tensor:
        a, b = positions[edge].unbind(dim=-2)
        along = b - a
        share = ((voxels - a) * along).sum(-1) / along.square().sum(-1)
        return (voxels - a - share.clamp(0, 1)[..., None] * along).square().sum(-1)

    with torch.no_grad():
        best, owner = torch.full((len(voxels),), torch.inf), torch.zeros(len(voxels)).long()
        for i in range(len(pairs)):
            square = apart(pairs[i])
            closer = square < best
            best, owner = torch.where(closer, square, best), torch.where(closer, i, owner)
    near = apart(pairs[owner])
    distance = torch.where(near > 0, torch.where(near > 0, near, 1).sqrt(), 0)
    return distance.clamp(max=clip).reshape(1, 1, side, side, side)


def best(run: Callable[[], Any], rounds: int) -> float:
    """Milliseconds of the fastest round after one to warm up."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:])


@pytest.fixture
def size(benchmark: BenchmarkFixture) -> tuple[int, int]:
    """Side of the crops and rounds; small unless benchmarks are asked for."""
    torch.set_num_threads(1)
    return (24, 1) if benchmark.disabled else (96, 5)


def report(name: str, numbers: dict[str, float]) -> None:
    print(f"\n{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in numbers.items()))


def test_rendering(
    benchmark: BenchmarkFixture, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    side, rounds = size
    graph = chains(side, 120)
    edges = Edges(graph.edges.copy(), first=[0, len(graph.edges)])
    leaf = torch.tensor(graph.positions, dtype=torch.float32, requires_grad=True)
    weight = torch.rand(1, 1, side, side, side)
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def run(name: str) -> None:
        if name == "brute":
            maps = brute(leaf, graph.edges.copy(), side, 10.0)
        else:
            monkeypatch.setenv(CHOICE, name)
            maps = render(leaf, edges, (side,) * 3, clip=10.0)
        [gradient] = torch.autograd.grad((maps * weight).sum(), [leaf])
        found[name] = (maps.detach(), gradient)

    times = {name: best(lambda n=name: run(n), rounds) for name in ("numba", "python")}
    times["brute"] = best(lambda: run("brute"), min(rounds, 2))
    for name in ("numba", "python"):
        for ours, theirs in zip(found[name], found["brute"], strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)
    report("render, ms", times)
    report("render, times faster than brute", {k: times["brute"] / v for k, v in times.items()})
    benchmark.pedantic(run, args=("numba",), rounds=rounds)


def test_field(benchmark: BenchmarkFixture, size: tuple[int, int]) -> None:
    side, rounds = size
    term, graph = SnakeLoss(), chains(side, 120)
    y = (10 * torch.rand(4, 1, side, side, side)).requires_grad_()
    nodes = Snakes(term.snakes(y, [graph] * 4), y).positions
    sample = torch.arange(4).repeat_interleave(len(nodes) // 4)

    def windows() -> None:
        field = Field(y, sigma=0.5, external=2.0)
        sum(field(sample, nodes + 0.1 * i).sum() for i in range(10)).backward()

    def dense() -> None:
        rise, smooth = (taps.float() for taps in kernels(0.5))
        lines = [[rise if i == axis else smooth for i in range(3)] for axis in range(3)]
        weights = torch.stack([torch.einsum("a,b,c->abc", *line) for line in lines])[:, None]
        field = 2 * functional.conv3d(functional.pad(y, (1,) * 6, mode="replicate"), weights)
        where = (2 * nodes / (side - 1) - 1).flip(1).reshape(4, 1, 1, -1, 3)
        reads = [
            functional.grid_sample(field, where + 0.002 * i, align_corners=True) for i in range(10)
        ]
        torch.stack(reads).sum().backward()

    times = {"windows": best(windows, rounds), "dense": best(dense, min(rounds, 2))}
    report("field, ms", times)
    benchmark.pedantic(windows, rounds=rounds)


def test_a_whole_step(benchmark: BenchmarkFixture, size: tuple[int, int]) -> None:
    side, rounds = size
    graphs = [chains(side, 120, seed) for seed in range(4)]
    maps = [chains_map(graph, side) for graph in graphs]
    target = torch.cat(maps)
    y = (target + 0.5 * torch.randn_like(target)).clamp(0, 10).requires_grad_()
    terms = {
        "snake": SnakeLoss(),
        "snake, no gradient": SnakeLoss(gradient=False),
        "clDice": SoftClDice(),
        "recall": SkeletonRecall(centreline=0.87),
    }
    times = {"mse": best(lambda: mse(y, target).backward(), rounds)}
    for name, term in terms.items():
        start = time.perf_counter()
        pairs = zip(target[:, 0].numpy(), graphs, strict=True)
        prepared = [term.prepare(distance, graph) for distance, graph in pairs]
        times[f"{name}, prepare a crop"] = 250 * (time.perf_counter() - start)
        times[name] = best(lambda t=term, p=prepared: t(y, target, p).backward(), rounds)
    report("step of 4 crops, ms", times)
    report("times the MSE", {k: times[k] / times["mse"] for k in terms})
    snakes = terms["snake"].snakes(y, graphs)  # type: ignore[operator]
    benchmark.pedantic(lambda: terms["snake"](y, target, snakes).backward(), rounds=rounds)


def chains_map(graph: Graph, side: int) -> Tensor:
    edges = Edges(graph.edges.copy(), first=[0, len(graph.edges)])
    return render(torch.tensor(graph.positions, dtype=torch.float32), edges, (side,) * 3, clip=10.0)
