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
