from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.annotation import Graph, chains
from neuroconn.tracing.bridges import bridge, free_ends
from neuroconn.tracing.lines import Lines, cut_loops, drop_faint, drop_short, prune


def lines(
    *paths: list[tuple[float, float]], distance: dict[tuple[float, float], float] | None = None
) -> Lines:
    """Lines through (y, x) places; equal places are one node."""
    places = sorted({place for path in paths for place in path})
    number = {place: i for i, place in enumerate(places)}
    edges = [(number[a], number[b]) for path in paths for a, b in pairwise(path)]
    far = [(distance or {}).get(place, 0.0) for place in places]
    graph = Graph([(0, *place) for place in places], np.array(edges).reshape(-1, 2))
    return Lines(graph, np.array(far, dtype=np.float32))


def row(y: float, start: int, stop: int) -> list[tuple[float, float]]:
    step = 1 if stop > start else -1
    return [(y, float(x)) for x in range(start, stop + step, step)]


def column(x: float, start: int, stop: int) -> list[tuple[float, float]]:
    step = 1 if stop > start else -1
    return [(float(y), x) for y in range(start, stop + step, step)]


SQUARE = [*row(0, 0, 5), *column(5, 1, 5), *row(5, 4, 0), *column(0, 4, 0)]


def test_a_loop_is_cut_where_its_evidence_is_weakest() -> None:
    cut, count = cut_loops(lines(SQUARE, distance={(2.0, 5.0): 2.0, (5.0, 2.0): 1.0}))

    assert (count, cut.graph.loops, len(cut.graph.edges)) == (1, 0, 19)
    weak = cut.graph.positions[cut.graph.degrees == 1]
    assert [0, 2, 5] in weak.tolist()


@st.composite
def tangles(draw: st.DrawFn) -> Lines:
    count = draw(st.integers(2, 14))
    node = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(node, node).filter(lambda p: p[0] != p[1]), max_size=25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    far = rng.integers(0, 4, count).astype(np.float32)
    return Lines(Graph(rng.uniform(0, 9, (count, 3)), np.array(pairs)), far)


@given(tangles())
def test_cutting_leaves_a_forest_of_the_same_components(given_lines: Lines) -> None:
    before = given_lines.graph
    cut, count = cut_loops(given_lines)

    assert count == before.loops
    assert cut.graph.loops == 0
    np.testing.assert_array_equal(cut.graph.components(), before.components())


@given(tangles())
def test_no_path_is_left_weaker_than_it_need_be(given_lines: Lines) -> None:
    """Between any two nodes, the best worst distance along a path is that before cutting."""
    np.testing.assert_array_equal(bottleneck(cut_loops(given_lines)[0]), bottleneck(given_lines))


def bottleneck(given_lines: Lines) -> np.ndarray:
    count = len(given_lines.graph)
    best = np.full((count, count), np.inf)
    for a, b in given_lines.graph.edges:
        best[a, b] = best[b, a] = given_lines.distance[[a, b]].max()
    for via in range(count):
        best = np.minimum(best, np.maximum(best[:, via, None], best[None, via]))
    np.fill_diagonal(best, 0)
    return best


def test_spurs_go_and_neurites_stay() -> None:
    trunk, spur, branch = row(0, 0, 30), column(10, 0, 3), column(20, 0, 12)
    pruned, count = prune(lines(trunk, spur, branch, row(40, 0, 2)), 6.0)

    assert count == 1
    assert len(pruned.graph) == 31 + 12 + 3  # a lone line is not a branch, however short
    assert (pruned.graph.degrees == 3).sum() == 1


def test_a_fork_of_two_spurs_becomes_one_end() -> None:
    pruned, count = prune(lines(row(0, 0, 20), column(20, 0, 4), column(20, 0, -2)), 6.0)

    assert (count, len(chains(pruned.graph))) == (1, 1)
    assert pruned.graph.length == 24


def test_spurs_on_spurs_go_too() -> None:
    trunk, spur = row(0, 0, 40), column(20, 0, 4)
    pruned, count = prune(lines(trunk, spur, row(4, 20, 22), row(4, 20, 17)), 7.5)

    assert (count, pruned.graph.length) == (2, 40)


def test_a_star_of_spurs_is_not_pruned_away() -> None:
    pruned, count = prune(lines(row(0, -3, 2), column(0, -1, 0)), 99.0)

    assert (count, pruned.graph.length) == (1, 5)


@given(tangles(), st.sampled_from([0.0, 4.0, 100.0]))
def test_pruning_keeps_components_and_leaves_no_spur(given_lines: Lines, shortest: float) -> None:
    tree, _ = cut_loops(given_lines)
    pruned, count = prune(tree, shortest)
    parts = chains(pruned.graph)
    free = np.sort(pruned.graph.degrees[parts.ends], axis=1)
    spur = (free[:, 0] == 1) & (free[:, 1] > 2) & (parts.sums(pruned.graph.lengths) < shortest)

    assert not spur.any()
    assert pruned.graph.components().max() == tree.graph.components().max()
    assert (count == 0) == (len(pruned.graph) == len(tree.graph))


def test_faint_and_short_components_are_dropped() -> None:
    both = lines(row(0, 0, 9), row(5, 0, 3), distance=dict.fromkeys(row(0, 0, 9), 2.0))

    strong, faint = drop_faint(both, 1.0)
    long, short = drop_short(both, 4.0, (1, 1, 1))
    in_um, none = drop_short(both, 4.0, (1, 1, 2))

    assert (faint, strong.graph.length) == (1, 3)
    assert (short, long.graph.length) == (1, 9)
    assert (none, in_um.graph.length) == (0, 12)


def test_ends_that_point_at_each_other_are_joined() -> None:
    broken = lines(row(0, 0, 10), row(0, 14, 24), row(5, 0, 10))

    joined, count = bridge(broken, 5.0, distance=3.0)

    assert (count, joined.graph.components().max()) == (1, 1)
    assert joined.graph.length == 34
    assert sorted(joined.distance.tolist())[-2:] == [3.0, 3.0]
    assert bridge(broken, 3.0, distance=3.0)[1] == 0
    assert bridge(broken, 0.0, distance=3.0)[0] is broken


@pytest.mark.parametrize(
    "other",
    [row(4, 0, 10), column(12, 1, 10), column(11, 2, 12)],
    ids=["beside", "across", "past"],
)
def test_ends_that_do_not_are_not(other: list[tuple[float, float]]) -> None:
    assert bridge(lines(row(0, 0, 10), other), 4.5, distance=3.0)[1] == 0


def test_a_bridge_closes_no_loop_and_the_nearest_goes_first() -> None:
    ring = lines(SQUARE[:-2])  # a gap of two, in a tree that would become a loop
    three = lines(row(0, 0, 10), row(0, 13, 23), row(0.5, 15, 25))

    assert bridge(ring, 3.0, distance=3.0)[1] == 0
    joined, count = bridge(three, 6.0, distance=3.0)
    assert count == 1
    assert joined.graph.components().max() == 1


def test_free_ends_know_which_way_they_go() -> None:
    ends, ways = free_ends(lines(row(0, 0, 10)).graph)

    assert ends.tolist() == [0, 10]
    np.testing.assert_allclose(ways, [[0, 0, -1], [0, 0, 1]])
