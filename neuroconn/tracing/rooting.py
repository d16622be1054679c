"""From lines without loops to trees with roots."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation import Forest, Graph
from neuroconn.annotation.chains import incidence
from neuroconn.errors import AnnotationError


def rooted(
    graph: Graph, *, roots: NDArray[np.int64] | None = None, kind: int = 0, root_kind: int = 1
) -> tuple[Forest, NDArray[np.int64]]:
    """Turn a graph without loops into a forest: longest tree first, parents before children.

    Parameters
    ----------
    graph : Graph
        Without loops.
    roots : ndarray of int, optional
        Nodes to begin trees at, such as those in a soma; of several in one tree the first. Other
        trees begin at an end of their longest path: which of the two ends of a neurite is its
        beginning, a distance map does not say.
    kind, root_kind : int, optional
        SWC types of the nodes, and of the given roots.

    Returns
    -------
    Forest
    ndarray of int64
        The node of the graph that each node of the forest was.

    Raises
    ------
    AnnotationError
        If the graph holds a loop.
    """
    label = graph.components()
    count = int(label.max(initial=-1)) + 1
    if len(graph.edges) - len(graph) + count:
        raise AnnotationError("a graph with loops is no forest: cut them first")
    starts, links = incidence(graph)
    lengths = graph.lengths
    begin = _first_nodes(label, count)
    for _ in range(2):  # from anywhere to the farthest node, and on to the one farthest from that
        begin = _farthest(begin, graph.edges, lengths, starts, links, label)
    kinds = np.full(len(graph), kind, dtype=np.int64)
    if roots is not None and len(roots):
        given = np.asarray(roots)[::-1]  # the first one stays
        begin[label[given]] = given
        kinds[begin[label[given]]] = root_kind
    cable = np.bincount(label[graph.edges[:, 0]], lengths, minlength=count)
    order = begin[np.argsort(-cable, kind="stable")]
    nodes, parents = _preorder(order, graph.edges, starts, links, len(graph))
    return Forest(graph.positions[nodes], parents, graph.radii[nodes], kinds[nodes]), nodes


def _first_nodes(label: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    first = np.empty(count, dtype=np.int64)
    first[label[::-1]] = np.arange(len(label))[::-1]
    return first


@njit(cache=True, nogil=True)
def _farthest(begin: Any, edges: Any, lengths: Any, starts: Any, links: Any, label: Any) -> Any:
    """Return, for each start, the node of its tree that is farthest along the edges."""
    way = np.full(len(label), -1.0)
    stack = np.empty(len(label), np.int64)
    ends = begin.copy()
    for tree in range(len(begin)):
        stack[0], depth = begin[tree], 1
        way[begin[tree]] = 0.0
        while depth:
            depth -= 1
            node = stack[depth]
            if way[node] > way[ends[tree]]:
                ends[tree] = node
            for slot in range(starts[node], starts[node + 1]):
                edge = links[slot]
                other = edges[edge, 0] + edges[edge, 1] - node
                if way[other] < 0:
                    way[other] = way[node] + lengths[edge]
                    stack[depth] = other
                    depth += 1
    return ends


@njit(cache=True, nogil=True)
def _preorder(roots: Any, edges: Any, starts: Any, links: Any, count: int) -> Any:
    """List nodes so that each comes after its parent, one branch after the other."""
    nodes = np.empty(count, np.int64)
    parents = np.empty(count, np.int64)
    place = np.full(count, -1, np.int64)
    stack = np.empty((count, 2), np.int64)
    found = 0
    for root in roots:
        stack[0] = root, -1
        depth = 1
        while depth:
            depth -= 1
            node, parent = stack[depth]
            nodes[found], parents[found], place[node] = node, parent, found
            found += 1
            for slot in range(starts[node + 1] - 1, starts[node] - 1, -1):
                edge = links[slot]
                other = edges[edge, 0] + edges[edge, 1] - node
                if place[other] < 0:
                    stack[depth] = other, place[node]
                    depth += 1
    return nodes, parents
