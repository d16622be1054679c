"""Points along the edges of a graph: to sample it, to cut it, to find where it is nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from neuroconn.annotation import Graph


@dataclass(frozen=True, slots=True)
class Places:
    """Points on the edges of a graph."""

    edge: NDArray[np.int64]
    """(k,) which edge; -1 for a point that has none."""
    at: NDArray[np.float64]
    """(k,) where on it, from 0 at its first node to 1 at its second."""

    def __len__(self) -> int:
        return len(self.edge)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Places:
        return Places(self.edge[chosen], self.at[chosen])

    def positions(self, graph: Graph) -> NDArray[np.float64]:
        """(k, 3) of points that have an edge."""
        first, second = graph.edges[self.edge].T
        return _between(graph.positions[first], graph.positions[second], self.at[:, None])


def places_along(graph: Graph, step: float) -> Places:
    """Mark the ends of every edge, and points between them at most ``step`` apart.

    Examples
    --------
    >>> line = Graph([[0, 0, 0], [0, 0, 5]], edges=[[0, 1]])
    >>> places_along(line, 2.0).positions(line)[:, 2].round(2)
    array([0.  , 1.67, 3.33, 5.  ])
    """
    pieces = _pieces(graph, step)
    edge = np.repeat(np.arange(len(pieces)), pieces + 1)
    rank = np.arange(len(edge)) - np.repeat(np.cumsum(pieces + 1) - pieces - 1, pieces + 1)
    return Places(edge, rank / pieces[edge])


def cut_at(graph: Graph, places: Places) -> Graph:
    """Make nodes of points on edges.

    Parameters
    ----------
    graph : Graph
        Any graph.
    places : Places
        Points of edges; at an end of its edge, one becomes a node of its own at no distance.

    Returns
    -------
    Graph
        The nodes of the graph, then one for each place, in its order. Lengths are as before.
    """
    count, first = len(graph), len(graph) + np.arange(len(places))
    order = np.lexsort((places.at, places.edge))
    cuts = np.bincount(places.edge, minlength=len(graph.edges)).astype(np.int64)
    chain = np.empty(len(places) + 2 * len(graph.edges), dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(cuts + 2)[:-1]]) if len(cuts) else cuts
    stop = start + cuts + 1
    between = np.ones(len(chain), dtype=bool)
    between[start] = between[stop] = False
    chain[start], chain[stop] = graph.edges[:, 0], graph.edges[:, 1]
    chain[between] = first[order]
    links = np.stack([chain[:-1], chain[1:]], axis=1)
    links = np.delete(links, stop[:-1], axis=0)
    ends = graph.edges[places.edge]
    radii = _between(graph.radii[ends[:, 0]], graph.radii[ends[:, 1]], places.at)
    return Graph(
        np.concatenate([graph.positions[:count], places.positions(graph)]),
        links,
        np.concatenate([graph.radii, radii]),
    )


def subdivide(graph: Graph, step: float) -> Graph:
    """Cut every edge into equal pieces no longer than ``step``; nodes keep their numbers.

    Examples
    --------
    >>> line = Graph([[0, 0, 0], [0, 0, 5]], edges=[[0, 1]])
    >>> subdivide(line, 2.0).lengths.round(2)
    array([1.67, 1.67, 1.67])
    """
    places = places_along(graph, step)
    return cut_at(graph, places[(places.at > 0) & (places.at < 1)])


class Nearest:
    """Finds the point of a graph's edges that is nearest to a given one.

    Parameters
    ----------
    graph : Graph
        Nodes without an edge are not found.
    step : float, optional
        Spacing of the samples that narrow the search down. The answer does not depend on it.
    """

    def __init__(self, graph: Graph, step: float = 1.0) -> None:
        self._graph, self._samples = graph, places_along(graph, step)
        # Half a step beyond the nearest sample's distance there is the nearest edge's own sample.
        self._slack = step / 2
        self._tree = KDTree(self._samples.positions(graph)) if len(self._samples) else None

    def __call__(
        self, points: NDArray[np.float64], reach: float
    ) -> tuple[Places, NDArray[np.float64]]:
        """Return the nearest place to each of (n, 3) points, and its distance.

        Points with nothing within ``reach`` get edge -1 and an infinite distance. Of equally near
        edges, the one with the lower number is taken.
        """
        edge = np.full(len(points), -1, dtype=np.int64)
        at, far = np.zeros(len(points)), np.full(len(points), np.inf)
        if self._tree is None or not len(points):
            return Places(edge, at), far
        apart, _ = self._tree.query(points, distance_upper_bound=reach + self._slack)
        near = np.flatnonzero(np.isfinite(apart))
        if not len(near):
            return Places(edge, at), far
        found = self._tree.query_ball_point(points[near], apart[near] + self._slack)
        asked = np.repeat(near, [len(some) for some in found])
        tried = self._samples.edge[np.concatenate([np.asarray(s, dtype=np.int64) for s in found])]
        along, distance = _project(self._graph, tried, points[asked])
        order = np.lexsort((tried, distance, asked))
        best = order[np.unique(asked[order], return_index=True)[1]]
        best = best[distance[best] <= reach]
        edge[asked[best]], at[asked[best]] = tried[best], along[best]
        far[asked[best]] = distance[best]
        return Places(edge, at), far


def links(graph: Graph) -> csr_array:
    """Return the symmetric (n, n) matrix of edge lengths; of parallel edges, the shortest."""
    first = np.concatenate([graph.edges[:, 0], graph.edges[:, 1]])
    second = np.concatenate([graph.edges[:, 1], graph.edges[:, 0]])
    length = np.concatenate([graph.lengths, graph.lengths])
    order = np.lexsort((length, second, first))
    first, second, length = first[order], second[order], length[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    # Built row by row, since a length of 0 is an edge and must stay.
    rows = np.searchsorted(first[new], np.arange(len(graph) + 1))
    return csr_array((length[new], second[new], rows), shape=(len(graph), len(graph)))


def path_lengths(matrix: csr_array, source: int) -> NDArray[np.float64]:
    """Length of the shortest path from a node to every other; infinite where there is none."""
    lengths: NDArray[np.float64] = dijkstra(matrix, directed=True, indices=source)
    return lengths


def _pieces(graph: Graph, step: float) -> NDArray[np.int64]:
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    # Rounding must not make two pieces of an edge that is just one step long.
    return np.maximum(np.ceil(graph.lengths / step - 1e-9), 1).astype(np.int64)


def _project(
    graph: Graph, edge: NDArray[np.int64], points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where on its edge each point is nearest to it, and how near."""
    first, second = graph.edges[edge].T
    start, course = graph.positions[first], graph.positions[second] - graph.positions[first]
    square = (course**2).sum(axis=1)
    share = ((points - start) * course).sum(axis=1) / np.where(square > 0, square, 1.0)
    share = np.clip(share, 0.0, 1.0)
    foot = start + share[:, None] * course
    return share, np.sqrt(((points - foot) ** 2).sum(axis=1))


def _between(
    a: NDArray[np.float64], b: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    mixed: NDArray[np.float64] = a + share * (b - a)
    return mixed
