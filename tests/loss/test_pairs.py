"""Pairs of pixels on the edges of a window, against a sweep of thresholds that knows no trees."""

import operator
from collections import deque
from collections.abc import Iterator
from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError
from neuroconn.loss import pairs_kernel, pairs_python
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.pairs import node_weights, pair_counts
from neuroconn.loss.plan import concatenate, ends, plan
from neuroconn.loss.rules import Rules

Map = NDArray[np.floating]
ENGINES = [pairs_kernel, pairs_python]
seeds = st.integers(0, 2**32 - 1)
rules = st.builds(
    Rules,
    window=st.sampled_from([2, 3, 4, 5]),
    dilation=st.sampled_from([0, 1]),
    mode=st.sampled_from(["robust", "reference"]),
    edge_cost=st.sampled_from(["sum", "min"]),
    low=st.sampled_from([None, 3.0, 8.0]),
    centreline=st.just(0.1),
)


def maps(seed: int, options: Rules, *, lines: float = 0.3) -> tuple[Map, Map]:
    """A prediction and a target without ties, near zero on some pixels and far off on others."""
    rng = np.random.default_rng(seed)
    prediction, target = rng.uniform(0, 10, (2, options.window, options.window))
    target += np.where(rng.random(target.shape) < 0.3, 10, 0.1)
    line = rng.random(target.shape) < lines
    target[line] *= options.centreline / 20
    return prediction, target


def neighbours(pixel: tuple[int, int], side: int, diagonal: bool) -> Iterator[tuple[int, int]]:
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            steps = abs(dr) + abs(dc)
            r, c = pixel[0] + dr, pixel[1] + dc
            if 0 < steps <= 1 + diagonal and 0 <= r < side and 0 <= c < side:
                yield r, c


def flood(allowed: dict, side: int, diagonal: bool = False) -> dict[tuple[int, int], int]:  # type: ignore[type-arg]
    """Label pixels; ``allowed`` says of a pixel, or of a pair of pixels, whether one may pass."""
    labels: dict[tuple[int, int], int] = {}
    for pixel in np.ndindex(side, side):
        if pixel in labels or not allowed.get(pixel, True):
            continue
        labels[pixel] = len(set(labels.values())) + 1
        waiting = deque([pixel])
        while waiting:
            here = waiting.popleft()
            for there in neighbours(here, side, diagonal):
                passable = allowed.get(there, True) and allowed.get(frozenset((here, there)), True)
                if there not in labels and passable:
                    labels[there] = labels[pixel]
                    waiting.append(there)
    return labels


def slow_weights(y: Map, t: Map, options: Rules) -> Map:
    """Weights from the definition: a path is as weak as the threshold that cuts it."""
    side, (low, high) = len(y), options.thresholds
    pixels = list(np.ndindex(side, side))
    line = {p for p in pixels if t[p] <= options.centreline}
    near = {
        p
        for p in pixels
        if any(abs(p[0] - q[0]) + abs(p[1] - q[1]) <= options.dilation for q in line)
    }
    regions = flood({p: p not in near for p in pixels}, side, diagonal=True)
    edges = [(p, q) for p in pixels for q in neighbours(p, side, diagonal=False) if p < q]
    strength = min if options.edge_cost == "min" else lambda p, q: p + q
    cap = np.inf if options.mode == "robust" else high
    weights = np.zeros((2, side, side))
    for across in (True, False):
        cost = {}
        for p, q in edges:
            g = t[p] + t[q]
            constant = g > high if across else g < low
            cost[p, q] = ((cap if across else 0) if constant else strength(y[p], y[q])), g
        wanted = [
            (p, q)
            for p in regions
            for q in regions
            if p < q and (regions[p] != regions[q]) == across
        ]
        for p, q in edges:
            if (cost[p, q][1] < low) if across else (cost[p, q][1] >= high):
                met, cut = (
                    flood({frozenset(e): over(cost[e], cost[p, q]) for e in edges}, side)
                    for over in (operator.ge, operator.gt)
                )
                joined = sum(met[a] == met[b] and cut[a] != cut[b] for a, b in wanted)
                drawn = [p, q] if options.edge_cost == "sum" else [p if y[p] < y[q] else q]
                for pixel in drawn:
                    weights[0 if across else 1][pixel] += joined / max(len(wanted), 1)
    return weights


@pytest.mark.parametrize("engine", ["numba", "python"])
@given(seed=seeds, options=rules)
@settings(max_examples=30, deadline=None)
def test_weights_are_those_of_the_threshold_sweep(engine: str, seed: int, options: Rules) -> None:
    y, t = maps(seed, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CHOICE, engine)
        found = node_weights(y.reshape(1, -1), plan([t], options), options)

    np.testing.assert_allclose(found.reshape(2, *y.shape), slow_weights(y, t, options), atol=1e-12)


@given(seed=seeds, options=rules, steps=st.sampled_from([2, 4, 1000]))
@settings(max_examples=60, deadline=None)
def test_every_pair_is_counted_once_whatever_the_costs(
    seed: int, options: Rules, steps: int
) -> None:
    y, t = maps(seed, options, lines=0.2)
    y = np.round(y / 10 * steps).astype(np.float32)
    windows = plan([t], options)
    sizes = np.bincount(windows.labels[0])[1:].tolist()
    within = sum(comb(n, 2) for n in sizes)
    across = comb(sum(sizes), 2) - within

    for engine in ENGINES:
        counts = np.zeros((2, *windows.order.shape), dtype=np.int64)
        engine.count_pairs(y.reshape(1, -1), windows, options, counts)
        assert counts.sum(axis=(1, 2)).tolist() == [across, within]


@given(seed=seeds, dtype=st.sampled_from([np.float32, np.float64]), tied=st.booleans())
@settings(max_examples=25, deadline=None)
def test_compiled_and_not_the_same_edges_decide(seed: int, dtype: type, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    options = Rules(
        window=12,
        dilation=int(rng.integers(3)),
        mode=rng.choice(["robust", "reference"]),
        edge_cost=rng.choice(["sum", "min"]),
    )
    y = rng.normal(4, 4, (3, 12, 12))
    t = rng.uniform(0, 10, y.shape)
    t[rng.random(y.shape) < 0.1] = 0
    if tied:
        y, t = y.round(), t.round()
    windows, values = plan(list(t), options), y.reshape(3, -1).astype(dtype)
    found = []

    for engine in ENGINES:
        counts = np.zeros((2, *windows.order.shape), dtype=np.int64)
        weights = np.zeros((2, *values.shape))
        engine.count_pairs(values, windows, options, counts)
        engine.spread(counts, values, windows, options, weights)
        found.append((counts, weights))

    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-12)


def test_the_weakest_edge_of_the_tree_path_is_the_threshold_that_parts_two_pixels() -> None:
    options = Rules(window=4, dilation=0)
    rng = np.random.default_rng(3)
    for _ in range(10):
        y, t = rng.uniform(0, 10, (4, 4)), np.full((4, 4), 10.0)
        counts = pair_counts(y.reshape(1, -1), plan([t], options), options)[1, 0]
        heads, tails = (pixels[plan([t], options).order[0]] for pixels in ends(4))
        costs = y.ravel()[heads] + y.ravel()[tails]
        edges = list(zip(heads.tolist(), tails.tolist(), costs.tolist(), strict=True))

        def best(p: int, q: int, edges: list[tuple[int, int, float]]) -> float:
            for theta in sorted((c for *_, c in edges), reverse=True):
                reached = {p}
                for _ in edges:
                    for a, b, c in edges:
                        if c >= theta and (a in reached) != (b in reached):
                            reached |= {a, b}
                if q in reached:
                    return theta
            raise AssertionError

        sweep = sorted(best(p, q, edges) for p in range(16) for q in range(p))
        tree = sorted(
            c for (*_, c), n in zip(edges, counts.tolist(), strict=True) for _ in range(n)
        )
        assert tree == sweep


@given(seed=seeds, options=rules)
@settings(max_examples=20, deadline=None)
def test_edges_come_by_falling_target_cost_and_begin_nearer_to_the_line(
    seed: int, options: Rules
) -> None:
    _, t = maps(seed, options)
    t = t.round()
    windows, (low, high) = plan([t], options), options.thresholds

    head, tail = (t.ravel()[pixels[windows.order[0]]] for pixels in ends(options.window))

    costs = head + tail
    assert (head <= tail).all()
    assert (np.diff(costs) <= 0).all()
    assert windows.cuts[0].tolist() == [sum(costs > high), sum(costs >= high), sum(costs >= low)]
    assert sorted(windows.order[0] % len(costs)) == list(range(len(costs)))


def test_regions_touch_at_corners_and_the_line_does_not() -> None:
    t = np.full((3, 3), 9.0)
    t[[0, 1, 1, 2], [1, 0, 2, 1]] = 0  # a diamond, with the centre inside it

    windows = plan([t], Rules(window=3, dilation=0))

    assert windows.regions.tolist() == [1]
    assert windows.labels.reshape(3, 3).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_each_window_has_regions_of_its_own() -> None:
    t = np.full((8, 12), 9.0)
    t[:, 2] = t[6, :4] = 0

    windows = plan([t], Rules(window=4, dilation=0))

    assert windows.regions.tolist() == [2, 1, 1, 4, 1, 1]
    for labels, count in zip(windows.labels, windows.regions, strict=True):
        assert set(np.unique(labels)) - {0} == set(range(1, count + 1))


def test_dilation_is_a_diamond_and_stays_in_its_window() -> None:
    t = np.full((9, 18), 9.0)
    t[4, 4] = 0

    windows = plan([t], Rules(window=9, dilation=5))

    r, c = np.mgrid[:9, :9]
    near = abs(r - 4) + abs(c - 4) <= 5
    np.testing.assert_array_equal(windows.labels[0].reshape(9, 9) == 0, near)
    assert (windows.labels[1] == 1).all()


def test_a_window_of_one_pixel_has_no_edges() -> None:
    options = Rules(window=1, dilation=0)

    weights = node_weights(np.ones((6, 1)), plan([np.ones((2, 3))], options), options)

    assert weights.shape == (2, 6, 1)
    assert not weights.any()


def test_counts_beyond_32_bits_are_exact() -> None:
    options = Rules(window=320, dilation=0)
    y, t = np.random.default_rng(0).random((2, 320, 320))

    counts = pair_counts(y.reshape(1, -1), plan([t + 0.1], options), options)

    assert counts.sum() == comb(320 * 320, 2) > 2**32


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(threads: int) -> None:
    options = Rules(window=8, dilation=1)
    rng = np.random.default_rng(1)
    y, t = rng.uniform(0, 10, (2, 40, 16))
    t[t < 1] = 0
    values, windows = y.reshape(10, 64), plan([t], options)

    before, found = torch.get_num_threads(), []
    for number in (1, threads):
        torch.set_num_threads(number)
        found.append(node_weights(values, windows, options))
    torch.set_num_threads(before)

    np.testing.assert_array_equal(*found)


def test_plans_of_crops_join_into_the_plan_of_all() -> None:
    options = Rules(window=4, dilation=1)
    first, second = np.random.default_rng(2).integers(0, 9, (2, 8, 12)).astype(np.float32)

    joined = concatenate([plan([first], options), plan([second], options)])
    whole = plan([first, second], options)

    for name in ("labels", "regions", "order", "cuts"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_the_environment_chooses_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "fortran")

    with pytest.raises(UsageError, match="must be auto, numba or python, got 'fortran'"):
        node_weights(np.ones((1, 1)), plan([np.ones((1, 1))], Rules(window=1)), Rules(window=1))
