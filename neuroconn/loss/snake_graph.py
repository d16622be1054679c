"""A graph cut at the faces of a crop: what may move in it, and what holds still.

Published snakes drop whatever leaves the crop. Here it stays, and holds still: the distance map a
network learns from knows a neurite that runs past the crop, so the map of the snake has to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.annotation.nearby import segments_meet

Floats = NDArray[np.float64]
_ON_THE_FACE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class CutGraph:
    """Nodes and edges of one crop; n nodes, voxel (0, 0, 0) is the first of the crop."""

    positions: Floats
    """(n, 3) before any step."""
    radii: Floats
    """(n,) of the annotation, interpolated where a node was added."""
    inner: NDArray[np.int64]
    """(m, 2) edges within the crop: these have an energy."""
    outer: NDArray[np.int64]
    """(k, 2) edges beyond its faces: drawn, never pulled at."""
    free: NDArray[np.bool_]
    """(n, 3) False where a coordinate never moves."""

    @property
    def drawn(self) -> NDArray[np.int64]:
        """(m + k + p, 2) every edge, and the p nodes without one as edges to themselves."""
        edges = np.concatenate([self.inner, self.outer])
        alone = np.setdiff1d(np.arange(len(self.positions)), edges)
        return np.concatenate([edges, np.stack([alone, alone], axis=1)])


def cut(
    graph: Graph, shape: Sequence[int], *, clip: float, longest_edge: float, context: bool
) -> CutGraph:
    """Cut a graph at the outermost voxel centres of a crop, and split its long edges.

    Parameters
    ----------
    graph : Graph
        In voxels of the crop. Edges given twice count once, an edge from a node to itself is none.
    shape : (z, y, x) ints
        Voxels of the crop.
    clip : float
        What lies farther than this beyond the faces is dropped.
    longest_edge : float
        Edges within the crop are split into equal parts of at most this length.
    context : bool
        Keep what lies beyond the faces; otherwise it is dropped, as published.

    Returns
    -------
    CutGraph
        A node where an edge crosses a face is frozen on the axis of that face; a node beyond the
        faces is frozen altogether.

    Examples
    --------
    >>> line = Graph([[0, 0, -4], [0, 0, 6]], edges=[[0, 1]])
    >>> pieces = cut(line, (1, 1, 9), clip=10.0, longest_edge=5.0, context=True)
    >>> pieces.positions[:, 2], pieces.inner.tolist(), pieces.outer.tolist()
    (array([-4.,  6.,  0.,  3.]), [[2, 3], [3, 1]], [[0, 2]])
    >>> pieces.free[:, 2]
    array([False,  True, False,  True])
    """
    draft = _Draft(graph, shape, longest_edge)
    for a, b in _edges(graph):
        draft.add(a, b)
    return draft.finish(context, clip)


def _edges(graph: Graph) -> list[list[int]]:
    """Pairs of different nodes, each once, in order."""
    pairs = np.sort(graph.edges, axis=1)
    chosen: list[list[int]] = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0).tolist()
    return chosen


class _Draft:
    """A cut graph in the making."""

    def __init__(self, graph: Graph, shape: Sequence[int], longest: float) -> None:
        self.end = np.asarray(shape, dtype=np.float64) - 1
        self.longest = longest
        within = (graph.positions >= 0) & (graph.positions <= self.end)
        self.inside = np.asarray(within.all(axis=1))
        self.positions: list[Floats] = list(graph.positions)
        self.radii: list[float] = graph.radii.tolist()
        self.free = [np.full(3, inside) for inside in self.inside]
        self.inner: list[tuple[int, int]] = []
        self.outer: list[tuple[int, int]] = []

    def add(self, a: int, b: int) -> None:
        """Add an edge of the annotation, in as many pieces as it takes."""
        if self.inside[a] and self.inside[b]:
            self._split(a, b)
            return
        enter, leave = self._course(a, b)
        if enter < leave:
            self._split(
                a if self.inside[a] else self._cross(a, b, enter, beyond=a),
                b if self.inside[b] else self._cross(a, b, leave, beyond=b),
            )
            return
        # An edge that leaves from a node on the face is cut there already.
        for node, other in ((a, b), (b, a)):
            if self.inside[node]:
                self.free[node] = self.free[node] & ~self._beyond(other)
        self.outer.append((a, b))

    def _course(self, a: int, b: int) -> tuple[float, float]:
        """Where along the edge, in [0, 1], it enters the crop and leaves it; 1, 0 if it never does.

        The slab method: on each axis the crop takes up an interval of the course.
        """
        enter, leave = 0.0, 1.0
        for p, q, end in zip(self.positions[a], self.positions[b], self.end, strict=True):
            if p == q:
                if not 0 <= p <= end:
                    return 1.0, 0.0
                continue
            low, high = sorted(((0 - p) / (q - p), (end - p) / (q - p)))
            enter, leave = max(enter, low), min(leave, high)
        return enter, leave

    def _beyond(self, node: int) -> NDArray[np.bool_]:
        """(3,) on which axes a node lies past a face."""
        place = self.positions[node]
        return np.asarray((place < 0) | (place > self.end))

    def _cross(self, a: int, b: int, share: float, *, beyond: int) -> int:
        """Put a node on the face the edge crosses, and join it to the end beyond it."""
        node = self._between(a, b, share)
        place = np.clip(self.positions[node], 0, self.end)
        face = np.clip(self.positions[beyond], 0, self.end)
        crossed = self._beyond(beyond) & (np.abs(place - face) < _ON_THE_FACE)
        self.positions[node] = np.where(crossed, face, place)
        self.free[node] = ~crossed
        self.outer.append((beyond, node))
        return node

    def _split(self, a: int, b: int) -> None:
        """Add an edge within the crop as equal parts, none too long."""
        length = float(np.linalg.norm(self.positions[b] - self.positions[a]))
        parts = max(1, math.ceil(length / self.longest - _ON_THE_FACE))
        chain = [a, *(self._between(a, b, i / parts) for i in range(1, parts)), b]
        self.inner += pairwise(chain)

    def _between(self, a: int, b: int, share: float) -> int:
        """Add a free node on the straight line between two others."""
        places, radii = self.positions, self.radii
        self.positions.append(places[a] + share * (places[b] - places[a]))
        self.radii.append(radii[a] + share * (radii[b] - radii[a]))
        self.free.append(np.full(3, True))
        return len(self.positions) - 1

    def finish(self, context: bool, clip: float) -> CutGraph:
        """Drop what no voxel of the crop can see, and number what is left."""
        places = np.array(self.positions).reshape(-1, 3)
        inner = np.array(self.inner, dtype=np.int64).reshape(-1, 2)
        outer = np.array(self.outer, dtype=np.int64).reshape(-1, 2)
        outer = outer[self._seen(places[outer[:, 0]], places[outer[:, 1]], context, clip)]
        kept = self._seen(places, places, context, clip) & self._lone(len(places))
        kept[: len(self.inside)] |= self.inside
        kept[inner] = kept[outer] = True
        number = np.cumsum(kept) - 1
        free = np.array(self.free, dtype=np.bool_).reshape(-1, 3)
        radii = np.array(self.radii)
        return CutGraph(places[kept], radii[kept], number[inner], number[outer], free[kept])

    def _seen(self, first: Floats, last: Floats, context: bool, clip: float) -> NDArray[np.bool_]:
        if not context:
            return np.zeros(len(first), dtype=np.bool_)
        return segments_meet(first, last, np.full(3, -clip), self.end + clip)

    def _lone(self, count: int) -> NDArray[np.bool_]:
        """Nodes that no edge of the annotation ends at."""
        lone = np.ones(count, dtype=np.bool_)
        lone[[node for edge in (*self.inner, *self.outer) for node in edge]] = False
        return lone
