"""The snake loss as training meets it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuroconn.annotation import Graph, distance_map
from neuroconn.loss import SnakeLoss, moved, mse, snake
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.snake_render import Edges, render

LINE = Graph([[4, 0, 4], [4, 8, 4]], [[0, 1]])
SHAPE = (9, 9, 9)
NOTHING = Graph(np.empty((0, 3)), np.empty((0, 2)))


def distance_to(graph: Graph, shape: Sequence[int] = SHAPE, clip: float = 10.0) -> Tensor:
    """Exact map of one graph, (1, 1, z, y, x), float64."""
    edges = Edges(graph.edges, first=[0, len(graph.edges)])
    return render(torch.from_numpy(graph.positions.copy()), edges, shape, clip=clip)


def tree(seed: int = 0, side: float = 8.0) -> Graph:
    rng = np.random.default_rng(seed)
    parents = [[rng.integers(max(0, i - 2), i), i] for i in range(1, 6)]
    return Graph(rng.uniform(0.3, side - 1.3, (6, 3)), parents)


def rough(shape: Sequence[int], seed: int = 0, batch: int = 1) -> Tensor:
    """A map without ties."""
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.rand((batch, 1, *shape), generator=generator, dtype=torch.float64)


def slow_snake(y: Tensor, graph: Graph, *, clip: float = 10.0) -> Tensor:
    """One crop, graph inside, default options: dense matrices, a dense field, every edge."""
    nodes, edges = len(graph), graph.edges
    a = torch.zeros((nodes, nodes), dtype=torch.float64)
    for u, v in edges:
        link = torch.zeros(nodes, dtype=torch.float64)
        link[u], link[v] = 1, -1
        a += 0.01 * torch.outer(link, link)
    for node in np.flatnonzero(np.bincount(edges.ravel(), minlength=nodes) == 2):
        bend = torch.zeros(nodes, dtype=torch.float64)
        bend[[int(u + v - node) for u, v in edges if node in (u, v)]] = 1
        bend[node] = -2
        a += 0.01 * torch.outer(bend, bend)
    inverse = torch.linalg.inv(torch.eye(nodes, dtype=torch.float64) + 0.1 * a)
    field, s = dense_field(y), torch.from_numpy(graph.positions.copy())
    ends = torch.tensor(y.shape[2:]) - 1
    for _ in range(10):
        where = (2 * s / ends - 1).flip(1)[None, None, None]
        g = functional.grid_sample(field, where, align_corners=True)[0, :, 0, 0].T
        s = inverse @ (s - 0.1 * g)
    voxels = torch.stack(torch.meshgrid(*[torch.arange(n) for n in y.shape[2:]], indexing="ij"), -1)
    best = torch.full(y.shape[2:], clip, dtype=torch.float64)
    for p, q in s[torch.tensor(edges.tolist())]:
        share = ((voxels - p) @ (q - p) / (q - p).square().sum()).clamp(0, 1)
        best = torch.minimum(best, (voxels - p - share[..., None] * (q - p)).norm(dim=-1))
    return (y[0, 0] - best).square().mean()


def dense_field(y: Tensor) -> Tensor:
    """(1, 3, z, y, x): 3-tap derivative along an axis, 3-tap Gaussian along the others."""
    rise = torch.tensor([-0.5, 0, 0.5], dtype=torch.float64)
    gauss = torch.tensor([np.exp(-2.0), 1, np.exp(-2.0)], dtype=torch.float64)
    gauss /= gauss.sum()
    lines = [[rise if i == axis else gauss for i in range(3)] for axis in range(3)]
    kernel = torch.stack([torch.einsum("a,b,c->abc", *line) for line in lines])[:, None]
    return 2 * functional.conv3d(functional.pad(y, (1,) * 6, mode="replicate"), kernel)


def test_it_finds_a_line_annotated_one_voxel_aside() -> None:
    y = distance_to(LINE)
    aside = LINE.moved((0, 0, 1))

    offsets = [moved(y, [aside], steps=n)[0].positions[:, 2].mean() - 4 for n in range(11)]

    assert offsets[0] == pytest.approx(1)
    assert all(later < sooner for sooner, later in pairwise(offsets))
    assert offsets[-1] < 0.2
    target = distance_to(aside)
    assert snake(y, [aside]) < 0.1 * mse(y, target)
    assert snake(y, [aside], steps=0) == pytest.approx(float(mse(y, target)))


@pytest.mark.parametrize("gradient", [True, False])
def test_annotators_who_disagree_teach_a_line_where_mse_teaches_a_blur(gradient: bool) -> None:
    left, right = (LINE.moved((0, 0, aside)) for aside in (-1.25, 1.75))
    blur = (distance_to(left) + distance_to(right)) / 2  # least in squares
    blur += 0.1 * (rough(SHAPE) - 2)
    y = blur.clone().requires_grad_()
    descent = torch.optim.Adam([y], lr=0.1)

    for _ in range(40):
        descent.zero_grad()
        sum(snake(y, [one], gradient=gradient) for one in (left, right)).backward()
        descent.step()

    assert blur[0, 0, 4, 2:7].amin(dim=1).min() > 1
    assert y[0, 0, 4, 2:7].amin(dim=1).max() < 0.6


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_gradient_are_those_of_the_slow_twin(seed: int) -> None:
    y, graph = rough((8, 9, 10), seed).requires_grad_(), tree(seed)

    loss, slow = snake(y, [graph], longest_edge=100), slow_snake(y, graph)

    torch.testing.assert_close(loss, slow)
    [gradient], [expected] = torch.autograd.grad(loss, [y]), torch.autograd.grad(slow, [y])
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("choice", ["numba", "python"])
def test_gradcheck_of_the_whole_loss(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, choice)
    y = rough((8, 8, 8), seed=1).requires_grad_()
    leaving = Graph([[2.2, 3.3, 4.4], [5.2, 4.1, 10.7], [-2.3, 1.2, 3.1]], [[0, 1], [0, 2]])

    assert torch.autograd.gradcheck(
        lambda m: snake(m, [leaving], clip=4.0), (y,), atol=1e-6, fast_mode=choice == "python"
    )


def test_without_gradient_the_moved_annotation_is_a_constant() -> None:
    y, graph = rough((8, 8, 8), seed=2).requires_grad_(), tree(2)

    whole, sibling = snake(y, [graph]), snake(y, [graph], gradient=False)

    assert torch.equal(whole, sibling)
    [full], [plain] = torch.autograd.grad(whole, [y]), torch.autograd.grad(sibling, [y])
    goal = distance_to(moved(y.detach(), [graph])[0], (8, 8, 8))
    torch.testing.assert_close(plain, 2 * (y.detach() - goal) / y.numel())
    assert (full - plain).abs().max() > 1e-4


def test_a_frozen_coordinate_never_moves_and_what_lies_outside_never_does() -> None:
    y = 3 * rough(SHAPE, seed=3)
    leaving = Graph([[4, 4, 4], [4.5, 4, 12], [7, 12, 13]], [[0, 1], [1, 2]])

    before, after = moved(y, [leaving], steps=0)[0], moved(y, [leaving])[0]

    face = before.positions[:, 2] == 8
    outside = (before.positions > 8).any(axis=1)
    shift = np.abs(after.positions - before.positions)
    assert face.sum() == 1
    assert outside.sum() == 2
    assert (shift[face, 2] == 0).all()
    assert (shift[face, :2] > 0).all()
    assert (shift[outside] == 0).all()


def test_without_a_field_the_centroid_stays() -> None:
    graph = tree(4)

    stages = [moved(rough(SHAPE), [graph], external=0, alpha=1, steps=n)[0] for n in range(4)]

    for stage in stages[1:]:
        np.testing.assert_allclose(stage.positions.mean(0), stages[0].positions.mean(0))
        assert stage.length < stages[0].length


def test_node_numbers_do_not_matter_and_edges_stay() -> None:
    graph, y = tree(5), rough((8, 8, 8), seed=5)
    order = np.random.default_rng(0).permutation(len(graph))
    renamed = Graph(graph.positions[order], np.argsort(order)[graph.edges[::-1, ::-1]])

    assert float(snake(y, [graph])) == pytest.approx(float(snake(y, [renamed])), rel=1e-12)
    unmoved, after = (moved(y, [graph], steps=n, longest_edge=100)[0] for n in (0, 10))
    np.testing.assert_array_equal(after.edges, unmoved.edges)
    assert {frozenset(e) for e in after.edges.tolist()} == {
        frozenset(e) for e in graph.edges.tolist()
    }


def test_a_second_forward_is_equal() -> None:
    y, term = rough((8, 8, 8)), SnakeLoss()
    prepared = [term.prepare(np.zeros((8, 8, 8), np.float32), tree())]

    first, second = (term(y, y, prepared) for _ in range(2))

    assert torch.equal(first, second)
    assert torch.equal(first, snake(y, [tree()]))


def test_a_batch_costs_the_mean_of_its_crops() -> None:
    y = rough((8, 8, 8), batch=3).requires_grad_()
    graphs = [tree(1), NOTHING, tree(2)]

    together = snake(y, graphs)
    apart = torch.stack([snake(y[i : i + 1], [graphs[i]]) for i in range(3)]).mean()

    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(*(torch.autograd.grad(x, y)[0] for x in (together, apart)))


def test_what_lies_beyond_the_faces_is_in_the_target_as_in_the_distance_map() -> None:
    line = Graph([[4, -6, -3], [4, 14, -3], [4, 4, 20]], [[0, 1], [1, 2]])
    target = distance_to(line)

    assert snake(target, [line], steps=0) == pytest.approx(0, abs=1e-20)
    assert snake(target, [line], steps=0, context=False) > 1


def test_an_empty_annotation_asks_for_the_clip_everywhere() -> None:
    y = rough(SHAPE)

    torch.testing.assert_close(snake(y, [NOTHING], clip=7.0), (y - 7).square().mean())
    far = Graph([[100, 100, 100], [100, 100, 120]], [[0, 1]])
    torch.testing.assert_close(snake(y, [far], clip=7.0), (y - 7).square().mean())


def test_nodes_without_edges_and_edges_without_length_are_points() -> None:
    y = distance_to(LINE)
    point = Graph([[4, 4, 4]], np.empty((0, 2)))
    twice = Graph([[4, 4, 4], [4, 4, 4]], [[0, 1]])

    losses = [float(snake(y, [graph], steps=0)) for graph in (point, twice)]

    mask = np.zeros(SHAPE, dtype=bool)
    mask[4, 4, 4] = True
    expected = mse(y, torch.from_numpy(distance_map(mask, clip=10)).double()[None, None])
    assert losses == pytest.approx([float(expected)] * 2, rel=1e-6)
    for graph in (point, twice):
        leaf = y.clone().requires_grad_()
        snake(leaf, [graph]).backward()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_chains_of_thousands_of_nodes_go_through() -> None:
    turns = np.linspace(0, 40, 3000)
    coil = np.stack([turns / 3 + 1, 8 + 6 * np.sin(turns), 8 + 6 * np.cos(turns)], axis=1)
    graph = Graph(coil, np.stack([np.arange(2999), np.arange(1, 3000)], axis=1))
    y = distance_to(graph.moved((0, 0, 1)), (16, 16, 16)).float().requires_grad_()

    loss = snake(y, [graph])
    loss.backward()

    assert loss < 0.3 * mse(y, distance_to(graph, (16, 16, 16)))
    assert y.grad is not None
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    y = rough(SHAPE).to(dtype).requires_grad_()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = snake(y, [LINE])
    loss.backward()

    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, snake(y.detach().float(), [LINE]))
    assert y.grad is not None
    assert y.grad.dtype == dtype


@pytest.mark.parametrize("choice", ["numba", "python"])
def test_a_prediction_of_nan_costs_nan(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, choice)
    y = torch.full((1, 1, *SHAPE), torch.nan, requires_grad=True)

    loss = snake(y, [LINE])
    loss.backward()

    assert loss.isnan()


@pytest.mark.parametrize(
    "options",
    [{"tau": 0}, {"alpha": -1}, {"sigma": 0}, {"clip": float("nan")}, {"steps": -1}],
    ids=str,
)
def test_options_without_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SnakeLoss(**options)


def test_what_does_not_fit_is_refused() -> None:
    y, term = rough(SHAPE), SnakeLoss()
    snakes = term.snakes(y, [LINE])

    with pytest.raises(ValueError, match="1 crops need as many graphs, got 2"):
        snake(y, [LINE, LINE])
    with pytest.raises(ValueError, match=r"\(batch, 1, z, y, x\)"):
        snake(y[0], [LINE])
    with pytest.raises(ValueError, match="does not fit"):
        term(y[..., 1:], y[..., 1:], snakes)
    with pytest.raises(ValueError, match="prepare"):
        term(y, y)
    with pytest.raises(ValueError, match="train from SWC"):
        term.prepare(np.zeros(SHAPE, np.float32), None)
