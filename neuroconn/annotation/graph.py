"""Lines as a graph: what skeletons, tracings and annotations have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation.forest import Forest
from neuroconn.errors import AnnotationError


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in space and straight edges between them; unlike a `Forest` it may hold cycles.

    Examples
    --------
    >>> Graph.from_forest(Forest([[0, 0, 0], [0, 3, 4]], parents=[-1, 0])).lengths
    array([5.])
    """

    positions: NDArray[np.float64]
    """(n, 3) node centres, (z, y, x), voxels unless said."""
    edges: NDArray[np.int64]
    """(m, 2) pairs of node indices."""
    radii: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(n,) radii in the unit of the positions; 1 where none are given."""

    def __post_init__(self) -> None:
        positions = np.array(self.positions, dtype=np.float64).reshape(-1, 3)
        edges = np.array(self.edges, dtype=np.int64).reshape(-1, 2)
        count = len(positions)
        radii = np.array(self.radii if len(self.radii) else np.ones(count), dtype=np.float64)
        if radii.shape != (count,):
            raise AnnotationError(
                f"a graph of {count} nodes needs as many radii, got {radii.shape}"
            )
        if len(edges) and not 0 <= edges.min() <= edges.max() < count:
            raise AnnotationError(f"edges must join nodes below {count}")
        if not np.isfinite(positions).all():
            raise AnnotationError("node positions must be finite: nan and inf have no place")
        for name, values in (("positions", positions), ("edges", edges), ("radii", radii)):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    @classmethod
    def from_forest(cls, forest: Forest) -> Graph:
        """Take the nodes and links of a forest as they are."""
        return cls(forest.positions, forest.edges, forest.radii)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def lengths(self) -> NDArray[np.float64]:
        """(m,) length of every edge, in the unit of the positions."""
        ends = self.positions[self.edges]
        lengths: NDArray[np.float64] = np.sqrt(((ends[:, 0] - ends[:, 1]) ** 2).sum(axis=1))
        return lengths

    @property
    def length(self) -> float:
        """Summed length of all edges."""
        return float(self.lengths.sum())

    @property
    def degrees(self) -> NDArray[np.int64]:
        """(n,) edge ends at every node; a loop counts twice."""
        return np.bincount(self.edges.ravel(), minlength=len(self)).astype(np.int64)

    def at(self, positions: NDArray[np.float64]) -> Graph:
        """Return the same graph with its nodes at other ``positions``, (n, 3)."""
        return Graph(positions, self.edges, self.radii)

    def moved(self, offset: Sequence[float]) -> Graph:
        """Add ``offset`` (z, y, x) to every position."""
        return self.at(self.positions + np.asarray(offset, dtype=np.float64))

    def components(self) -> NDArray[np.int64]:
        """(n,) number of every node's connected component, counted by their first nodes.

        Examples
        --------
        >>> Graph(np.zeros((4, 3)), [[0, 2]]).components()
        array([0, 1, 0, 2])
        """
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        first, second = self.edges.T
        there = np.ones(len(self.edges), dtype=np.int8)
        matrix = coo_matrix((there, (first, second)), shape=(len(self), len(self)))
        numbers = connected_components(matrix, directed=False)[1]
        _, firsts, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        labels: NDArray[np.int64] = np.argsort(np.argsort(firsts))[inverse].astype(np.int64)
        return labels

    @property
    def loops(self) -> int:
        """Independent cycles, the first Betti number: edges that no forest of it would have."""
        parts = int(self.components().max(initial=-1)) + 1
        return len(self.edges) - len(self) + parts

    def take(self, nodes: NDArray[np.bool_] | NDArray[np.int64]) -> Graph:
        """Return the subgraph of some nodes, by mask or index, and the edges between them."""
        kept = np.flatnonzero(nodes) if nodes.dtype == np.bool_ else np.asarray(nodes)
        number = np.full(len(self), -1, dtype=np.int64)
        number[kept] = np.arange(len(kept))
        edges = number[self.edges]
        return Graph(self.positions[kept], edges[(edges >= 0).all(axis=1)], self.radii[kept])

    def with_edges(self, edges: NDArray[np.int64]) -> Graph:
        """Return the same nodes with other ``edges``, (m, 2)."""
        return Graph(self.positions, edges, self.radii)
