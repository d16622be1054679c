"""Too long, too short: whether paths along the truth are as long in the prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neuroconn.annotation import Graph
from neuroconn.metrics.along import (
    Nearest,
    Places,
    cut_at,
    links,
    path_lengths,
    places_along,
)

_TRIES = 20
"""Drawn pairs for every one wanted; many may be too close to each other."""


@dataclass(frozen=True, slots=True)
class TLTS:
    """How many sampled paths of the truth the prediction has; counts of volumes add up.

    Examples
    --------
    >>> paths = TLTS(correct=7, infeasible=2, too_long=1)
    >>> paths.pairs, paths.share("correct")
    (10, 0.7)
    """

    correct: int = 0
    """Paths as long as in the truth, within the tolerance."""
    infeasible: int = 0
    """Pairs of points one of which the prediction lacks, or that it does not connect."""
    too_long: int = 0
    """Paths that take a detour."""
    too_short: int = 0
    """Paths that take a shortcut."""

    def __add__(self, other: TLTS) -> TLTS:
        return TLTS(
            self.correct + other.correct,
            self.infeasible + other.infeasible,
            self.too_long + other.too_long,
            self.too_short + other.too_short,
        )

    @property
    def pairs(self) -> int:
        """Paths that were compared."""
        return self.correct + self.infeasible + self.too_long + self.too_short

    def share(self, what: str) -> float:
        """Share of the paths that are ``what``; 0 if none was compared."""
        return float(getattr(self, what)) / self.pairs if self.pairs else 0.0


def tlts(
    prediction: Graph,
    truth: Graph,
    *,
    pairs: int = 100,
    tolerance: float = 0.05,
    radius: float = 5.0,
    shortest: float = 10.0,
    join: float = 2.1,
    seed: int = 0,
) -> TLTS:
    """Compare shortest paths between random points of the truth with those in the prediction.

    Parameters
    ----------
    prediction, truth : Graph
        Positions in one unit, voxels unless all lengths below are in another.
    pairs : int, optional
        How many paths to compare.
    tolerance : float, optional
        Share by which a path may differ and still be correct.
    radius : float, optional
        A point is matched to the nearest of the prediction if that is closer than this.
    shortest : float, optional
        Paths of the truth that are shorter are not sampled.
    join : float, optional
        Pieces of the prediction closer than this count as connected: one missing voxel is no
        break. 0 takes them as they are.
    seed : int, optional
        Of the sampling. Points are uniform along the truth, both of a pair in one component.

    Returns
    -------
    TLTS
        No pairs if the truth has no path that is long enough.

    References
    ----------
    .. [1] J. D. Wegner, J. A. Montoya-Zegarra, K. Schindler, "A higher-order CRF model for road
       network extraction", CVPR 2013, section 5.

    Notes
    -----
    The original counts pixels along a path; lengths here are Euclidean.

    Examples
    --------
    >>> whole = Graph([[0, 0, 0], [0, 0, 90]], edges=[[0, 1]])
    >>> halves = Graph([[0, 0, 0], [0, 0, 40], [0, 0, 50], [0, 0, 90]], edges=[[0, 1], [2, 3]])
    >>> tlts(whole, whole).share("correct")
    1.0
    >>> 0.3 < tlts(halves, whole).share("infeasible") < 0.7
    True
    """
    drawn, wanted, lengths = sample_paths(truth, pairs, shortest, seed)
    places, _ = Nearest(prediction)(drawn, np.nextafter(radius, 0))
    matched = np.flatnonzero(places.edge >= 0)
    node = np.full(len(drawn), -1)
    bridges = _bridges(prediction, join)
    bridged = cut_at(
        prediction,
        Places(
            np.concatenate([places.edge[matched], bridges.edge]),
            np.concatenate([places.at[matched], bridges.at]),
        ),
    )
    node[matched] = len(prediction) + np.arange(len(matched))
    ends = len(prediction) + len(matched) + np.arange(len(bridges)).reshape(-1, 2)
    matrix = links(Graph(bridged.positions, np.concatenate([bridged.edges, ends])))
    found = np.array(
        [
            path_lengths(matrix, node[a])[node[b]] if min(node[a], node[b]) >= 0 else np.inf
            for a, b in wanted
        ]
    ).reshape(-1)
    long, short = found > (1 + tolerance) * lengths, found < (1 - tolerance) * lengths
    missing = np.isinf(found)
    return TLTS(
        correct=int(np.count_nonzero(~long & ~short)),
        infeasible=int(np.count_nonzero(missing)),
        too_long=int(np.count_nonzero(long & ~missing)),
        too_short=int(np.count_nonzero(short)),
    )


def sample_paths(
    graph: Graph, pairs: int, shortest: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Draw pairs of points of one component, at least ``shortest`` apart along the graph.

    Returns
    -------
    points : ndarray of float, shape (k, 3)
        All that were drawn.
    chosen : ndarray of int, shape (m, 2)
        Indices of the points of each pair; m is ``pairs``, or less if too few were long enough.
    lengths : ndarray of float, shape (m,)
        Of the shortest path between the two.
    """
    if not graph.length > 0:
        return np.empty((0, 3)), np.empty((0, 2), dtype=np.int64), np.empty(0)
    drawn = _draw(graph, _TRIES * pairs, np.random.default_rng(seed))
    matrix, first = links(cut_at(graph, drawn)), len(graph)
    chosen: list[tuple[int, int]] = []
    lengths: list[float] = []
    for pair in range(_TRIES * pairs):
        if len(chosen) == pairs:
            break
        length = path_lengths(matrix, first + 2 * pair)[first + 2 * pair + 1]
        if shortest <= length < np.inf:
            chosen.append((2 * pair, 2 * pair + 1))
            lengths.append(length)
    return drawn.positions(graph), np.array(chosen, np.int64).reshape(-1, 2), np.array(lengths)


def _draw(graph: Graph, pairs: int, rng: np.random.Generator) -> Places:
    """Two places for each pair, uniform along the graph, the second in the first's component."""
    component = graph.components()[graph.edges[:, 0]]
    order = np.argsort(component, kind="stable")
    ends = np.cumsum(graph.lengths[order])
    starts = ends - graph.lengths[order]
    low = np.searchsorted(component[order], component[order], side="left")
    high = np.searchsorted(component[order], component[order], side="right") - 1
    first = rng.random(pairs) * ends[-1]
    there = np.minimum(np.searchsorted(ends, first, side="right"), len(ends) - 1)
    start, stop = starts[low[there]], ends[high[there]]
    second = start + rng.random(pairs) * (stop - start)
    along = np.stack([first, second], axis=1).ravel()
    rank = np.minimum(np.searchsorted(ends, along, side="right"), len(ends) - 1)
    length = ends[rank] - starts[rank]
    at = np.clip((along - starts[rank]) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    return Places(order[rank], at)


def _bridges(graph: Graph, join: float) -> Places:
    """Pairs of places, one after the other, by which components closer than ``join`` connect."""
    nothing = Places(np.empty(0, dtype=np.int64), np.empty(0))
    samples = places_along(graph, 1.0)
    if not join > 0 or not len(samples):
        return nothing
    component = graph.components()[graph.edges[samples.edge, 0]]
    if component.max() == component.min():
        return nothing
    tree = KDTree(samples.positions(graph))
    near: NDArray[np.int64] = tree.query_pairs(np.nextafter(join, 0), output_type="ndarray")
    apart = component[near[:, 0]] != component[near[:, 1]]
    return samples[near[apart].ravel()]
