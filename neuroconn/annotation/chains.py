"""The unbranched stretches a graph is made of, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation.graph import Graph


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """The edges of a graph, grouped into paths from one end or branch node to the next.

    Every edge is in one chain. Nodes between the two ends of a chain have degree 2; a closed line
    without a branch is a chain that begins and ends at its first node. Nodes without an edge are
    in none.
    """

    nodes: NDArray[np.int64]
    """Node indices of all chains, one after the other."""
    starts: NDArray[np.int64]
    """(k + 1,) where each chain begins in ``nodes``; the last is their length."""
    edges: NDArray[np.int64]
    """(m,) edges in the order they are walked: those of chain i begin at ``starts[i] - i``."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """Nodes of a chain, in order."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} chains, not one with number {index}")
        return self.nodes[self.starts[index] : self.starts[index + 1]]

    @property
    def ends(self) -> NDArray[np.int64]:
        """(k, 2) first and last node of every chain."""
        return np.stack([self.nodes[self.starts[:-1]], self.nodes[self.starts[1:] - 1]], axis=1)

    def edges_of(self, index: int) -> NDArray[np.int64]:
        """Edges of a chain, in order."""
        first, stop = self.starts[index] - index, self.starts[index + 1] - index - 1
        return self.edges[first:stop]

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k,) sums of a value of every edge, (m,), over chains; of lengths, their lengths."""
        if not len(self):
            return np.empty(0)
        begins = self.starts[:-1] - np.arange(len(self))
        total: NDArray[np.float64] = np.add.reduceat(values[self.edges], begins)
        return total

    def owners(self) -> NDArray[np.int64]:
        """(m,) number of the chain that each edge of the graph is in."""
        owner = np.empty(len(self.edges), dtype=np.int64)
        owner[self.edges] = np.repeat(np.arange(len(self)), np.diff(self.starts) - 1)
        return owner


def chains(graph: Graph) -> Chains:
    """Find the chains of a graph, in an order that depends on node and edge order alone.

    Examples
    --------
    >>> star = Graph([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 1]], [[0, 1], [1, 2], [1, 3]])
    >>> [chain.tolist() for chain in chains(star)]
    [[0, 1], [1, 2], [1, 3]]
    """
    if not len(graph.edges):
        none = np.empty(0, dtype=np.int64)
        return Chains(none, np.zeros(1, dtype=np.int64), none)
    starts, links = incidence(graph)
    return Chains(*_walk(graph.edges, starts, links, graph.degrees))


def incidence(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group the edges by node: those of node i are ``edges[starts[i] : starts[i + 1]]``.

    Returns
    -------
    starts : ndarray of int64, shape (n + 1,)
    edges : ndarray of int64, shape (2 m,)
        Edge indices, ascending at every node; a loop is there twice.
    """
    ends = graph.edges.ravel()
    order = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[order], np.arange(len(graph) + 1))
    return starts.astype(np.int64), (order // 2).astype(np.int64)


@njit(cache=True, nogil=True)
def _walk(edges: Any, starts: Any, links: Any, degrees: Any) -> Any:
    used = np.zeros(len(edges), np.bool_)
    nodes = np.empty(2 * len(edges), np.int64)
    walked = np.empty(len(edges), np.int64)
    begins = np.empty(len(edges) + 1, np.int64)
    count, found = 0, 0
    for closed in (False, True):  # closed lines are what is left when all others are walked
        for node in range(len(degrees)):
            if degrees[node] == 2 and not closed:
                continue
            for slot in range(starts[node], starts[node + 1]):
                edge = links[slot]
                if used[edge]:
                    continue
                begins[found] = count
                here = node
                while edge >= 0:
                    used[edge] = True
                    nodes[count] = here
                    walked[count - found] = edge
                    count += 1
                    a, b = edges[edge]
                    here = b if here == a else a
                    edge = -1
                    if degrees[here] == 2 and here != node:
                        for other in range(starts[here], starts[here + 1]):
                            edge = links[other] if not used[links[other]] else edge
                nodes[count] = here
                count += 1
                found += 1
    begins[found] = count
    return nodes[:count].copy(), begins[: found + 1].copy(), walked
