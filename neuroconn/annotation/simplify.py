"""Fewer nodes for the same lines, and smoother ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation.chains import chains
from neuroconn.annotation.graph import Graph


def smooth(graph: Graph, passes: int = 1) -> Graph:
    """Move every node with two neighbours to a quarter of each of theirs and half of its own.

    Ends, branch nodes and lone nodes stay where they are.
    """
    inner = np.flatnonzero(graph.degrees == 2)
    looped = np.zeros(len(graph), dtype=np.bool_)
    looped[graph.edges[graph.edges[:, 0] == graph.edges[:, 1], 0]] = True
    inner = inner[~looped[inner]]
    sums = np.zeros(len(graph), dtype=np.int64)
    first, second = graph.edges.T
    others = np.zeros((len(graph), 2), dtype=np.int64)
    # The two neighbours of a node, from the sum and the largest of the edge ends beside it.
    largest = np.full(len(graph), -1, dtype=np.int64)
    for here, there in ((first, second), (second, first)):
        np.add.at(sums, here, there)
        np.maximum.at(largest, here, there)
    others[:, 0], others[:, 1] = largest, sums - largest
    positions = graph.positions.copy()
    for _ in range(passes):
        around = positions[others[inner]].sum(axis=1)
        positions[inner] = positions[inner] / 2 + around / 4
    return graph.at(positions)


def simplify(graph: Graph, tolerance: float) -> Graph:
    """Leave out nodes of degree 2 from which the line without them is ``tolerance`` away at most.

    Ends, branch nodes and lone nodes stay; nodes keep their order.

    Parameters
    ----------
    graph : Graph
        Any graph.
    tolerance : float
        In the unit of the positions. 0 leaves out nodes on straight lines only.

    References
    ----------
    .. [1] D. Douglas, T. Peucker, "Algorithms for the reduction of the number of points required
       to represent a digitized line or its caricature", Cartographica 10, 1973.

    Examples
    --------
    >>> line = Graph([[0, 0, 0], [0, 0.4, 1], [0, 0, 2]], [[0, 1], [1, 2]])
    >>> len(simplify(line, 0.5)), len(simplify(line, 0.3))
    (2, 3)
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, got {tolerance}")
    parts = chains(graph)
    picked = _pick(graph.positions, parts.nodes, parts.starts, tolerance)
    kept = graph.degrees != 2
    kept[parts.nodes[picked]] = True
    number = np.cumsum(kept) - 1
    path = np.repeat(np.arange(len(parts)), np.diff(parts.starts))[picked]
    nodes = number[parts.nodes[picked]]
    same = path[1:] == path[:-1]
    edges = np.stack([nodes[:-1][same], nodes[1:][same]], axis=1)
    return Graph(graph.positions[kept], edges, graph.radii[kept])


def resample(graph: Graph, step: float) -> Graph:
    """Replace the nodes of degree 2 by others at most ``step`` apart, evenly along the lines.

    Ends, branch nodes and lone nodes stay, and come first; radii are interpolated.

    Parameters
    ----------
    graph : Graph
        Any graph; of closed lines the first node stays.
    step : float
        In the unit of the positions.

    Examples
    --------
    >>> line = Graph([[0, 0, 0], [0, 0, 7], [0, 0, 10]], [[0, 1], [1, 2]])
    >>> resample(line, 5.0).positions[:, 2]
    array([ 0., 10.,  5.])
    """
    if not step > 0:
        raise ValueError(f"step must be above 0, got {step}")
    parts = chains(graph)
    kept = graph.degrees != 2
    kept[parts.ends] = True
    number = np.cumsum(kept) - 1
    positions, radii = [graph.positions[kept]], [graph.radii[kept]]
    edges, count = [np.empty((0, 2), dtype=np.int64)], int(kept.sum())
    for index in range(len(parts)):
        nodes = parts[index]
        values = np.column_stack([graph.positions[nodes], graph.radii[nodes]])
        inner = _along(values, step)
        path = np.concatenate(
            [number[nodes[:1]], np.arange(count, count + len(inner)), number[nodes[-1:]]]
        )
        count += len(inner)
        positions.append(inner[:, :3])
        radii.append(inner[:, 3])
        edges.append(np.stack([path[:-1], path[1:]], axis=1))
    return Graph(np.concatenate(positions), np.concatenate(edges), np.concatenate(radii))


def _along(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Points strictly between the ends of a path, evenly spaced; columns z, y, x and radius."""
    lengths = np.linalg.norm(np.diff(values[:, :3], axis=0), axis=1)
    way = np.concatenate([[0.0], np.cumsum(lengths)])
    pieces = max(1, int(np.ceil(way[-1] / step - 1e-9)))
    wanted = np.arange(1, pieces) * (way[-1] / pieces)
    return np.column_stack([np.interp(wanted, way, column) for column in values.T])


@njit(cache=True, nogil=True)
def _pick(positions: Any, nodes: Any, starts: Any, tolerance: float) -> Any:
    """Mark the nodes of each chain to keep."""
    picked = np.zeros(len(nodes), np.bool_)
    stack = np.empty((len(nodes) + 1, 2), np.int64)
    for chain in range(len(starts) - 1):
        depth = 1
        stack[0] = starts[chain], starts[chain + 1] - 1
        while depth:
            depth -= 1
            first, last = stack[depth]
            picked[first] = picked[last] = True
            farthest, where = tolerance * tolerance, -1
            for slot in range(first + 1, last):
                away = _square_to(
                    positions[nodes[slot]], positions[nodes[first]], positions[nodes[last]]
                )
                if away > farthest:
                    farthest, where = away, slot
            if where >= 0:
                stack[depth] = first, where
                stack[depth + 1] = where, last
                depth += 2
    return picked


@njit(cache=True, nogil=True)
def _square_to(point: Any, first: Any, last: Any) -> float:
    """Squared distance from a point to a straight piece."""
    way, off = last - first, point - first
    length = (way * way).sum()
    share = min(max((way * off).sum() / length, 0.0), 1.0) if length > 0 else 0.0
    rest = off - share * way
    return float((rest * rest).sum())
