import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_graphs import EMPTY, networkx_of, random_tree, row

from neuroconn.annotation import Graph
from neuroconn.metrics import ERL, erl

seeds = st.integers(0, 2**32 - 1)


def forest_of(seed: int) -> Graph:
    a, b, c = (random_tree(seed + k, nodes=15) for k in range(3))
    positions = np.concatenate([a.positions, b.positions + 100, c.positions + 200])
    return Graph(positions, np.concatenate([a.edges, b.edges + 15, c.edges + 30]))


def slow_erl(truth: Graph, segments: NDArray[np.int64]) -> dict[str, float]:
    """Walk over trees, segments and edges one by one."""
    trees = list(nx.connected_components(networkx_of(truth)))
    held = {
        s: [n for n, tree in enumerate(trees) if any(segments[v] == s for v in tree)]
        for s in set(segments.tolist()) - {0}
    }
    merging = {s for s, found in held.items() if len(found) > 1}
    total = truth.length
    expected, splits, omitted = 0.0, 0, 0
    for tree in trees:
        runs: dict[int, float] = {}
        whole = 0.0
        for (u, v), length in zip(truth.edges.tolist(), truth.lengths.tolist(), strict=True):
            if u not in tree:
                continue
            whole += length
            a, b = int(segments[u]), int(segments[v])
            omitted += 0 in (a, b)
            splits += 0 not in (a, b) and a != b
            if a == b != 0 and a not in merging:
                runs[a] = runs.get(a, 0.0) + length
        if whole:
            own = sum(run**2 for run in runs.values()) / whole
            expected += whole / total * own
    return {"erl": expected, "splits": splits, "omitted": omitted, "merges": len(merging)}


@given(seed=seeds, names=st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_the_figures_are_those_of_the_slow_twin(seed: int, names: int) -> None:
    truth = forest_of(seed)
    segments = np.random.default_rng(seed).integers(0, names, len(truth))
    segments[:30] = np.where(segments[:30] > 1, segments[:30] // 3 * 3 + 1, segments[:30])

    found, slow = erl(truth, segments), slow_erl(truth, segments)

    assert found.run_length == pytest.approx(slow["erl"])
    assert (found.splits, found.omitted_edges) == (slow["splits"], slow["omitted"])
    assert found.merges == slow["merges"]


def test_the_hand_cases() -> None:
    ten = row(10)

    assert erl(ten, np.ones(11, int)).run_length == 10
    lost = erl(ten, np.array([1] * 6 + [2] * 5))
    assert (lost.run_length, lost.splits, lost.omitted_edges) == (pytest.approx(4.1), 1, 0)
    omitted = erl(ten, np.zeros(11, int))
    assert (omitted.run_length, omitted.splits, omitted.omitted_edges) == (0, 0, 10)
    assert omitted.omitted == 1


def test_a_segment_of_two_trees_counts_for_nothing_but_says_what_it_would_have_been() -> None:
    two = Graph(
        np.concatenate([row(10).positions, row(10).moved((5, 0, 0)).positions]),
        np.concatenate([row(10).edges, row(10).edges + 11]),
    )
    merged = erl(two, np.ones(22, int))

    assert (merged.merges, merged.run_length, merged.merged_length) == (1, 0, 20)
    assert merged.run_length_with_merges == merged.perfect_run_length == 10


def test_one_node_of_another_tree_makes_a_merge() -> None:
    two = Graph([*row(10).positions.tolist(), [5, 0, 0]], row(10).edges)

    found = erl(two, np.array([1] * 12))

    assert (found.merges, found.run_length, found.splits) == (1, 0, 0)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_volumes_add_up_as_one_with_all_their_trees(seed: int) -> None:
    a, b = random_tree(seed), random_tree(seed + 1)
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 4, len(a)), rng.integers(0, 4, len(b))]
    both = Graph(
        np.concatenate([a.positions, b.positions]), np.concatenate([a.edges, b.edges + len(a)])
    )

    whole = erl(both, np.concatenate([ids[0], np.where(ids[1] > 0, ids[1] + 9, 0)]))

    parts = erl(a, ids[0]) + erl(b, ids[1])
    assert whole.run_length == pytest.approx(parts.run_length)
    assert (whole.splits, whole.omitted_edges) == (parts.splits, parts.omitted_edges)
    assert whole.perfect_run_length == pytest.approx(parts.perfect_run_length)


def test_lengths_are_in_the_unit_of_the_spacing() -> None:
    found = erl(row(10), np.array([1] * 6 + [2] * 5), spacing=(3, 2, 0.5))
    assert (found.length, found.run_length) == (5, pytest.approx(2.05))


def test_nothing_is_no_run() -> None:
    none = erl(EMPTY, np.empty(0, int))
    assert none == ERL()
    assert (none.run_length, none.omitted, none.perfect_run_length) == (0, 0, 0)


def test_every_node_needs_a_segment() -> None:
    with pytest.raises(ValueError, match="as many segments"):
        erl(row(10), np.ones(10, int))
