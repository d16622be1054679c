"""The lines of a thinned map, and how wrong ones among them are taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation import Graph, chains
from neuroconn.metrics.skeleton_graph import voxel_graph


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """A graph whose nodes know how far the map says the centreline is."""

    graph: Graph
    """Positions in voxels."""
    distance: NDArray[np.float32]
    """(n,) predicted distance at every node, in voxels: small is strong evidence."""

    @classmethod
    def of_voxels(
        cls,
        voxels: NDArray[np.int64],
        distance: NDArray[np.float32],
        offsets: NDArray[np.floating[Any]],
    ) -> Lines:
        """Link voxels, (n, 3) and each once, in any order; nodes lie at voxel + offset."""
        order = np.lexsort(voxels.T[::-1])
        graph = voxel_graph(voxels)
        return cls(graph.at(graph.positions + offsets[order]), distance[order])

    def take(self, nodes: NDArray[np.bool_]) -> Lines:
        """Keep some nodes, (n,), and the edges between them."""
        return Lines(self.graph.take(nodes), self.distance[nodes])


def cut_loops(lines: Lines) -> tuple[Lines, int]:
    """Cut every loop where its evidence is weakest.

    A minimum spanning forest does it: of each cycle it leaves out the edge with the largest
    distance, of equal ones the longest. What is connected stays so.

    Returns
    -------
    Lines
        Without cycles.
    int
        Edges taken out.
    """
    graph = lines.graph
    weakness = lines.distance[graph.edges].max(axis=1, initial=0)
    order = np.lexsort((graph.lengths, weakness))
    kept = _forest_edges(len(graph), graph.edges, order)
    return Lines(graph.with_edges(graph.edges[kept]), lines.distance), int((~kept).sum())


def prune(lines: Lines, shortest: float) -> tuple[Lines, int]:
    """Take out branches that end freely before they are ``shortest`` voxels long.

    At each branch node the shortest goes first, and then what is left is looked at again: a fork
    of two short ends becomes one end, and a line without branches is never touched.

    Returns
    -------
    Lines
    int
        Branches taken out.
    """
    total = 0
    while True:
        spurs = _spurs(lines.graph, shortest)
        if not len(spurs):
            return lines, total
        kept = np.ones(len(lines.graph), dtype=np.bool_)
        degrees = lines.graph.degrees
        for nodes in spurs:
            kept[nodes[degrees[nodes] < 3]] = False
        lines, total = lines.take(kept), total + len(spurs)


def _spurs(graph: Graph, shortest: float) -> list[NDArray[np.int64]]:
    """Nodes of the shortest too short free branch of every branch node."""
    parts = chains(graph)
    if not len(parts):
        return []
    degrees = graph.degrees[parts.ends]
    lengths = parts.sums(graph.lengths)
    free = (degrees.min(axis=1) == 1) & (degrees.max(axis=1) > 2) & (lengths < shortest)
    found = np.flatnonzero(free)
    base = parts.ends[found, degrees[found].argmax(axis=1)]
    order = np.lexsort((found, lengths[found], base))
    _, first = np.unique(base[order], return_index=True)
    return [parts[int(index)] for index in found[order][first]]


def drop_faint(lines: Lines, core: float) -> tuple[Lines, int]:
    """Drop the components that come nowhere nearer to a centreline than ``core`` voxels.

    Returns
    -------
    Lines
    int
        Components dropped.
    """
    label = lines.graph.components()
    best = np.full(label.max(initial=-1) + 1, np.inf)
    np.minimum.at(best, label, lines.distance)
    return lines.take((best < core)[label]), int((best >= core).sum())


def drop_short(lines: Lines, shortest: float, spacing: tuple[float, ...]) -> tuple[Lines, int]:
    """Drop the components of less than ``shortest`` cable, in the unit of ``spacing``.

    Returns
    -------
    Lines
    int
        Components dropped.
    """
    graph = lines.graph
    label = graph.components()
    scaled = graph.at(graph.positions * spacing)
    owner = label[graph.edges[:, 0]]
    length = np.bincount(owner, scaled.lengths, minlength=label.max(initial=-1) + 1)
    return lines.take((length >= shortest)[label]), int((length < shortest).sum())


@njit(cache=True, nogil=True)
def root_of(parent: Any, node: int) -> int:
    """Find the representative of a node, halving the way there for the next time."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def _forest_edges(nodes: int, edges: Any, order: Any) -> Any:
    """Mark the edges that join two components, taken in order."""
    parent = np.arange(nodes)
    kept = np.zeros(len(edges), np.bool_)
    for edge in order:
        first, second = root_of(parent, edges[edge, 0]), root_of(parent, edges[edge, 1])
        if first != second:
            parent[max(first, second)] = min(first, second)
            kept[edge] = True
    return kept
