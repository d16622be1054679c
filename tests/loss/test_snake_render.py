"""The distance map of moving edges, against every edge measured from every voxel."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.loss import snake_pairs
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.snake_render import Edges, render

BOTH = pytest.mark.parametrize("choice", ["numba", "python"], indirect=True)


@pytest.fixture
def choice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, request.param)


def one(pairs: list[list[int]]) -> Edges:
    return Edges(np.array(pairs, dtype=np.int64).reshape(-1, 2), first=[0, len(pairs)])


def brute(
    positions: Tensor, pairs: NDArray[np.int64], shape: tuple[int, ...], clip: float
) -> Tensor:
    """(z, y, x): all edges, all voxels, plain autograd."""
    axes = [torch.arange(size, dtype=positions.dtype) for size in shape]
    voxels = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    best = torch.full(tuple(shape), clip, dtype=positions.dtype)
    for a, b in positions[pairs]:
        along = b - a
        length = along.square().sum()
        share = ((voxels - a) @ along / length).clamp(0, 1) if length > 0 else torch.zeros(shape)
        square = (voxels - a - share[..., None] * along).square().sum(dim=-1)
        distance = torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0)
        best = torch.minimum(best, distance)
    return best


def scene(seed: int, samples: int = 2, *, whole: bool = True) -> tuple[Tensor, Edges]:
    """Random edges in and around the crop, points among them, nodes shared, some on voxels."""
    rng = np.random.default_rng(seed)
    positions = torch.from_numpy(rng.uniform(-4, 14, (6 * samples, 3)))
    if whole:
        positions[::5] = positions[::5].round()
    counts = rng.integers(0, 6, samples)
    pairs = [rng.integers(0, 6, (n, 2)) + 6 * i for i, n in enumerate(counts)]
    return positions, Edges(np.concatenate(pairs), first=[0, *np.cumsum(counts).tolist()])


@BOTH
@pytest.mark.usefixtures("choice")
def test_a_segment_on_paper() -> None:
    nodes = torch.tensor([[0, 2, 1], [0, 2, 3]], dtype=torch.float64)

    plane = render(nodes, one([[0, 1]]), (1, 5, 5), clip=10.0)[0, 0, 0]

    rows = [[5**0.5, 2, 2, 2, 5**0.5], [2**0.5, 1, 1, 1, 2**0.5], [1, 0, 0, 0, 1]]
    torch.testing.assert_close(plane[:3], torch.tensor(rows, dtype=torch.float64))
    torch.testing.assert_close(plane, plane.flip(0))


@BOTH
@pytest.mark.usefixtures("choice")
@pytest.mark.parametrize("clip", [3.0, 2.7])
def test_points_and_nothing(clip: float) -> None:
    nodes = torch.tensor([[1.0, 1, 1]])

    point = render(nodes, one([[0, 0]]), (3, 3, 9), clip=clip)[0, 0]
    nothing = render(torch.empty(0, 3), one([]), (3, 3, 9), clip=clip)

    distances = torch.tensor([1, 0, 1, 2, 3, 4, 5, 6, 7]).clamp(max=clip)
    torch.testing.assert_close(point[1, 1], distances)
    assert (nothing == clip).all()


@BOTH
@pytest.mark.usefixtures("choice")
@given(seed=st.integers(0, 2**32 - 1), clip=st.sampled_from([1.5, 4.0, 30.0]))
@settings(max_examples=40, deadline=None)
def test_it_is_exact(seed: int, clip: float) -> None:
    positions, edges = scene(seed)
    shape = (8, 10, 9)

    maps = render(positions, edges, shape, clip=clip)

    for i, (first, stop) in enumerate(zip(edges.first, edges.first[1:], strict=False)):
        expected = brute(positions, edges.pairs[first:stop], shape, clip)
        torch.testing.assert_close(maps[i, 0], expected, rtol=0, atol=1e-12)


@BOTH
@pytest.mark.usefixtures("choice")
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_so_is_its_gradient(seed: int) -> None:
    positions, edges = scene(seed, samples=1, whole=False)  # on voxels it has kinks
    assume(len(edges.pairs))
    weight = torch.rand((7, 8, 9), generator=torch.Generator().manual_seed(seed)).double()

    grads = []
    for draw in (render, brute):
        leaf = positions.clone().requires_grad_()
        if draw is render:
            total = (render(leaf, edges, (7, 8, 9), clip=5.0)[0, 0] * weight).sum()
        else:
            total = (brute(leaf, edges.pairs, (7, 8, 9), 5.0) * weight).sum()
        grads.append(torch.autograd.grad(total, leaf)[0])

    torch.testing.assert_close(*grads, rtol=0, atol=1e-9)


@BOTH
@pytest.mark.usefixtures("choice")
def test_gradcheck_away_from_ties() -> None:
    torch.manual_seed(1)
    nodes = (8 * torch.rand(6, 3, dtype=torch.float64)).requires_grad_()
    edges = Edges(np.array([[0, 1], [1, 2], [3, 4], [5, 5]]), first=[0, 2, 4])

    assert torch.autograd.gradcheck(
        lambda p: render(p, edges, (5, 6, 7), clip=4.0), (nodes,), atol=1e-6
    )


@BOTH
@pytest.mark.usefixtures("choice")
@given(seed=st.integers(0, 2**32 - 1), side=st.integers(2, 9))
@settings(max_examples=15, deadline=None)
def test_blocks_are_cut_from_the_whole(seed: int, side: int) -> None:
    positions, edges = scene(seed, samples=1)
    whole = render(positions, edges, (9, 9, 9), clip=6.0)

    for z in range(0, 9, side):
        for x in range(0, 9, side):
            start = torch.tensor([z, 0, x], dtype=torch.float64)
            shape = (min(side, 9 - z), 9, min(side, 9 - x))
            block = render(positions - start, edges, shape, clip=6.0)
            part = whole[:, :, z : z + side, :, x : x + side]
            torch.testing.assert_close(block, part, rtol=0, atol=1e-12)


def test_few_pairs_at_a_time_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "python")
    positions, edges = scene(3, samples=4)
    at_once = render(positions, edges, (8, 10, 9), clip=4.0)

    monkeypatch.setattr(snake_pairs, "_PAIRS", 100)

    assert torch.equal(render(positions, edges, (8, 10, 9), clip=4.0), at_once)


@BOTH
@pytest.mark.usefixtures("choice")
def test_single_precision_stays_single() -> None:
    positions, edges = scene(4)

    leaf = positions.float().requires_grad_()
    maps = render(leaf, edges, (8, 10, 9), clip=4.0)
    maps.sum().backward()

    assert maps.dtype == leaf.grad.dtype == torch.float32
    double = render(positions, edges, (8, 10, 9), clip=4.0)
    torch.testing.assert_close(maps.double(), double, rtol=0, atol=1e-5)


def test_threads_change_nothing() -> None:
    positions, edges = scene(6, samples=5)
    before = torch.get_num_threads()
    maps = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        leaf = positions.clone().requires_grad_()
        drawn = render(leaf, edges, (8, 10, 9), clip=4.0)
        drawn.square().sum().backward()
        maps.append((drawn, leaf.grad))
    torch.set_num_threads(before)

    assert all(torch.equal(a, b) for a, b in zip(*maps, strict=True))
