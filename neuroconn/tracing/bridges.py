"""Joining lines across gaps that the map left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph, chains
from neuroconn.tracing.lines import Lines, root_of

_AHEAD = 0.7
"""Cosine of the largest angle between the way a line ends and the way to the other end."""
_BACK = 5
"""Nodes over which the direction of an end is taken."""


def bridge(lines: Lines, gap: float, *, distance: float) -> tuple[Lines, int]:
    """Join free ends at most ``gap`` voxels apart that point at each other.

    The nearest pair goes first; every end is joined once at most, and no loop is made.

    Parameters
    ----------
    lines : Lines
        Without loops.
    gap : float
        In voxels; 0 joins nothing.
    distance : float
        What the map is taken to say on a bridge: where there is no line, its threshold.

    Returns
    -------
    Lines
    int
        Bridges made.
    """
    graph = lines.graph
    ends, ways = free_ends(graph)
    if not gap > 0 or len(ends) < 2:
        return lines, 0
    from scipy.spatial import cKDTree

    places = graph.positions[ends]
    pairs = cKDTree(places).query_pairs(gap, output_type="ndarray").reshape(-1, 2)
    apart = places[pairs[:, 1]] - places[pairs[:, 0]]
    lengths = np.linalg.norm(apart, axis=1)
    ahead = (apart * ways[pairs[:, 0]]).sum(axis=1) >= _AHEAD * lengths
    behind = -(apart * ways[pairs[:, 1]]).sum(axis=1) >= _AHEAD * lengths
    aligned = ahead & behind
    order = np.lexsort((pairs[aligned, 1], pairs[aligned, 0], lengths[aligned]))
    made = _greedy(graph, ends[pairs[aligned][order]])
    if not len(made):
        return lines, 0
    weak = lines.distance.copy()
    weak[made] = np.maximum(weak[made], distance)
    return Lines(graph.with_edges(np.concatenate([graph.edges, made])), weak), len(made)


def free_ends(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nodes with one edge, (e,), and the unit vectors along which they end, (e, 3)."""
    parts, degrees = chains(graph), graph.degrees
    ends, ways = [], []
    for index in range(len(parts)):
        nodes = parts[index]
        for path in (nodes, nodes[::-1]):
            if degrees[path[0]] == 1:
                way = graph.positions[path[0]] - graph.positions[path[min(_BACK, len(path) - 1)]]
                ends.append(path[0])
                ways.append(way / max(float(np.linalg.norm(way)), 1e-12))
    return np.array(ends, dtype=np.int64), np.array(ways).reshape(-1, 3)


def _greedy(graph: Graph, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take pairs in order as long as both ends are free and no loop closes."""
    parent = graph.components().copy()
    group, count = parent.copy(), int(parent.max(initial=-1)) + 1
    parent = np.arange(count)
    used: set[int] = set()
    made = []
    for first, second in pairs.tolist():
        a, b = root_of(parent, group[first]), root_of(parent, group[second])
        if a != b and first not in used and second not in used:
            parent[max(a, b)] = min(a, b)
            used |= {first, second}
            made.append((first, second))
    return np.array(made, dtype=np.int64).reshape(-1, 2)
