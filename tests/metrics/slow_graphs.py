"""Graphs for tests, and slow ways to measure them."""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph

EMPTY = Graph(np.empty((0, 3)), np.empty((0, 2), dtype=np.int64))


def row(length: int, *missing: int) -> Graph:
    """Nodes 0 to ``length`` on the x axis, linked one by one, but for those missing."""
    kept = [x for x in range(length + 1) if x not in missing]
    pairs = [(a, a + 1) for a, x in enumerate(kept[:-1]) if kept[a + 1] == x + 1]
    return Graph([[0, 0, x] for x in kept], pairs)


def random_graph(seed: int, nodes: int = 12, edges: int = 14, extent: float = 40.0) -> Graph:
    """Nodes anywhere, linked anyhow: loops, parallel edges and lone nodes included."""
    rng = np.random.default_rng(seed)
    return Graph(rng.uniform(0, extent, (nodes, 3)), rng.integers(0, nodes, (edges, 2)))


def random_tree(seed: int, nodes: int = 40, step: float = 6.0) -> Graph:
    rng = np.random.default_rng(seed)
    parents = [int(rng.integers(max(0, n - 4), n)) for n in range(1, nodes)]
    positions = np.zeros((nodes, 3))
    for n, parent in enumerate(parents, 1):
        positions[n] = positions[parent] + rng.normal(0, step, 3)
    return Graph(positions, [(n, p) for n, p in enumerate(parents, 1)])


def networkx_of(graph: Graph) -> nx.Graph:
    slow = nx.Graph()
    slow.add_nodes_from(range(len(graph)))
    for (a, b), length in zip(graph.edges.tolist(), graph.lengths.tolist(), strict=True):
        if not slow.has_edge(a, b) or slow[a][b]["weight"] > length:
            slow.add_edge(a, b, weight=length)
    return slow


def nearest_on(graph: Graph, point: NDArray[np.float64]) -> tuple[int, float, float]:
    """The edge nearest to a point, where on it, and how far: by looking at all of them."""
    best = (-1, 0.0, np.inf)
    for edge, (a, b) in enumerate(graph.positions[graph.edges]):
        square = float((b - a) @ (b - a))
        at = float(np.clip((point - a) @ (b - a) / square, 0, 1)) if square > 0 else 0.0
        far = float(np.linalg.norm(point - a - at * (b - a)))
        if far < best[2]:
            best = (edge, at, far)
    return best


def distance_between(graph: Graph, a: tuple[int, float], b: tuple[int, float]) -> float:
    """Shortest way from a place on an edge to another, through the nodes of the graph."""
    slow, lengths = networkx_of(graph), graph.lengths
    best = abs(a[1] - b[1]) * lengths[a[0]] if a[0] == b[0] else np.inf
    for p, first in zip(graph.edges[a[0]].tolist(), (a[1], 1 - a[1]), strict=True):
        ways = nx.single_source_dijkstra_path_length(slow, p)
        for q, last in zip(graph.edges[b[0]].tolist(), (b[1], 1 - b[1]), strict=True):
            if q in ways:
                best = min(best, first * lengths[a[0]] + ways[q] + last * lengths[b[0]])
    return float(best)
