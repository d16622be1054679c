"""Average path length similarity, in 3D: what a gap costs is the paths that run through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.annotation.chains import Chains, chains
from neuroconn.metrics.along import Nearest, Places, cut_at, links, path_lengths


@dataclass(frozen=True, slots=True)
class APLS:
    """How alike the path lengths of two graphs are, both ways.

    Examples
    --------
    >>> round(APLS(forward=0.9, backward=10 / 11).score, 4)
    0.9045
    """

    forward: float = 0.0
    """Of the truth's paths, in the prediction: falls with gaps."""
    backward: float = 0.0
    """Of the prediction's paths, in the truth: falls with false connections and false lines."""
    forward_pairs: int = 0
    """Paths of the truth that were compared."""
    backward_pairs: int = 0
    """Paths of the prediction that were compared."""

    @property
    def score(self) -> float:
        """Harmonic mean of both directions; 0 if either is 0."""
        both = self.forward + self.backward
        return 2 * self.forward * self.backward / both if both > 0 else 0.0


def apls(
    prediction: Graph,
    truth: Graph,
    *,
    spacing: float = 50.0,
    max_snap: float = 5.0,
    shortest: float = 10.0,
    sources: int | None = 200,
    seed: int = 0,
) -> APLS:
    """Compare the lengths of shortest paths between control nodes of either graph.

    Parameters
    ----------
    prediction, truth : Graph
        Positions in one unit, voxels unless all lengths below are in another.
    spacing : float, optional
        Control nodes are the ends and branch points of a graph, and points on its edges at most so
        far apart.
    max_snap : float, optional
        A control node has a counterpart if the other graph comes so near; the paths of one without
        are missing.
    shortest : float, optional
        Pairs closer than this along their graph are left out.
    sources : int, optional
        Compare the paths from so many control nodes, drawn at random, to all others; None takes
        all nodes, whose paths grow as the square of their number.
    seed : int, optional
        Of the draw.

    Returns
    -------
    APLS
        A direction without a pair to compare scores 0.

    References
    ----------
    .. [1] A. Van Etten, D. Lindenbaum, T. Bacastow, "SpaceNet: a remote sensing dataset and
       challenge series", 2018, arXiv 1807.01232, equations 1 and 2.

    Examples
    --------
    A path of 100 voxels, and the detour of 110 that was predicted.

    >>> straight = Graph([[0, 0, 0], [0, 0, 100]], edges=[[0, 1]])
    >>> bent = Graph([[0, 0, 0], [0, 22.9129, 50], [0, 0, 100]], edges=[[0, 1], [1, 2]])
    >>> score = apls(bent, straight, spacing=1000)
    >>> round(score.forward, 3)
    0.9
    """
    forward = _one_way(truth, prediction, spacing, max_snap, shortest, sources, seed)
    backward = _one_way(prediction, truth, spacing, max_snap, shortest, sources, seed)
    return APLS(forward[0], backward[0], forward[1], backward[1])


def control_places(graph: Graph, spacing: float) -> Places:
    """Mark the ends and branch points of a graph, then points between them ``spacing`` apart.

    Along a run of edges between two such nodes, points are laid out evenly whatever the nodes in
    between: a tracing with many nodes gets as many as one with few.
    """
    if not spacing > 0:
        raise ValueError(f"spacing must be positive, got {spacing}")
    parts = chains(graph)
    corners, between = _incident(graph, np.unique(parts.ends)), _even(graph, parts, spacing)
    return Places(
        np.concatenate([corners.edge, between.edge]), np.concatenate([corners.at, between.at])
    )


def _one_way(
    source: Graph,
    target: Graph,
    spacing: float,
    max_snap: float,
    shortest: float,
    sources: int | None,
    seed: int,
) -> tuple[float, int]:
    """Score the paths of one graph in the other, and count them."""
    places = control_places(source, spacing)
    if not len(places):
        return 0.0, 0
    snapped, _ = Nearest(target)(places.positions(source), max_snap)
    known = snapped.edge >= 0
    mine, theirs = links(cut_at(source, places)), links(cut_at(target, snapped[known]))
    counterpart = np.where(known, len(target) + np.cumsum(known) - 1, -1)
    chosen = np.arange(len(places))
    if sources is not None and sources < len(chosen):
        chosen = np.random.default_rng(seed).choice(len(chosen), sources, replace=False)
    lost, count = 0.0, 0
    for node in chosen:
        true = path_lengths(mine, len(source) + int(node))[len(source) :]
        pairs = (true >= shortest) & np.isfinite(true)
        found = np.full(len(places), np.inf)
        if counterpart[node] >= 0:
            found[known] = path_lengths(theirs, int(counterpart[node]))[counterpart[known]]
        count += int(np.count_nonzero(pairs))
        lost += float(np.minimum(np.abs(true[pairs] - found[pairs]) / true[pairs], 1.0).sum())
    return (1 - lost / count, count) if count else (0.0, 0)


def _incident(graph: Graph, nodes: NDArray[np.int64]) -> Places:
    """Give each node as the end of one of its edges."""
    ends = graph.edges.ravel()
    order = np.argsort(ends, kind="stable")
    first = order[np.searchsorted(ends[order], nodes)]
    return Places(first // 2, (first % 2).astype(float))


def _even(graph: Graph, parts: Chains, spacing: float) -> Places:
    """Points that cut every chain into equal parts no longer than ``spacing``."""
    links = np.diff(parts.starts) - 1
    chain = np.repeat(np.arange(len(parts)), links)
    length = graph.lengths[parts.edges]
    total = np.bincount(chain, length, minlength=len(parts))
    pieces = np.maximum(np.ceil(total / spacing - 1e-9), 1).astype(np.int64)
    owner = np.repeat(np.arange(len(parts)), pieces - 1)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(pieces - 1) - pieces + 1, pieces - 1) + 1
    wanted = (np.cumsum(total) - total)[owner] + rank * (total / pieces)[owner]
    ends = np.cumsum(length)
    found = np.minimum(np.searchsorted(ends, wanted), max(len(ends) - 1, 0))
    share = (wanted - (ends - length)[found]) / np.where(length > 0, length, 1.0)[found]
    share = np.clip(share, 0.0, 1.0)
    edge = parts.edges[found]
    # nodes of a chain but its last are where its edges are entered
    entered = np.delete(parts.nodes, parts.starts[1:] - 1)[found]
    return Places(edge, np.where(graph.edges[edge, 0] == entered, share, 1 - share))
