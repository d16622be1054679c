"""The part of a graph that a box can feel: what the losses on graphs get of an annotation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation.graph import Graph
from neuroconn.geometry import Box


def graph_near(graph: Graph, box: Box, *, reach: float) -> Graph:
    """Take the edges that come within ``reach`` of a box, whole, in voxels of the box.

    Parameters
    ----------
    graph : Graph
        Positions in voxels of the volume.
    box : Box
        The voxels of interest.
    reach : float
        In voxels, along each axis: an edge is taken if it meets the box of the voxel centres grown
        by so much. With the clip of a distance map, what is left out changes nothing in it.

    Returns
    -------
    Graph
        Nodes in their old order, positions against the first voxel of the box; edges are not cut,
        so nodes may lie outside. A node without any edge is taken if it lies within the reach.

    Examples
    --------
    >>> line = Graph([[0, 0, 0], [0, 0, 9], [0, 0, 40]], edges=[[0, 1], [1, 2]])
    >>> near = graph_near(line, Box((0, 0, 4), (1, 1, 6)), reach=2.0)
    >>> near.positions[:, 2], near.edges.tolist()
    (array([-4.,  5.]), [[0, 1]])
    """
    low = np.asarray(box.start, dtype=np.float64) - reach
    high = np.asarray(box.stop, dtype=np.float64) - 1 + reach
    outside = _outside(graph.positions, low, high)
    one, other = graph.edges.T
    # Most edges of a brain have both ends beyond the same face of the box.
    edges = graph.edges[outside[one] & outside[other] == 0]
    first, last = graph.positions[edges[:, 0]], graph.positions[edges[:, 1]]
    edges = edges[segments_meet(first, last, low, high)]
    kept = (outside == 0) & (graph.degrees == 0)
    kept[edges] = True
    number = np.cumsum(kept) - 1
    positions = graph.positions[kept] - np.asarray(box.start, dtype=np.float64)
    return Graph(positions, number[edges], graph.radii[kept])


def _outside(
    positions: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Faces of a box that each position lies beyond, a bit each; 0 inside."""
    faces = np.zeros(len(positions), dtype=np.uint8)
    for axis in range(3):
        along = positions[:, axis]
        faces |= (along < low[axis]).astype(np.uint8) << (2 * axis)
        faces |= (along > high[axis]).astype(np.uint8) << (2 * axis + 1)
    return faces


def segments_meet(
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Which of (n, 3) straight pieces share a point with the closed box ``low`` to ``high``.

    Each axis leaves an interval of the course, entered and left at a share of its length; the piece
    meets the box if all three intervals and [0, 1] share a point.
    """
    course = last - first
    still = course == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - first) / course, (high - first) / course
    between = (first >= low) & (first <= high)
    enter = np.where(still, 0.0, np.minimum(a, b)).max(axis=1, initial=0.0)
    leave = np.where(still, 1.0, np.maximum(a, b)).min(axis=1, initial=1.0)
    meets: NDArray[np.bool_] = (enter <= leave) & (between | ~still).all(axis=1)
    return meets


def graph_of_segments(ends: NDArray[Any]) -> Graph:
    """Join straight pieces where their ends are equal, bit for bit.

    Parameters
    ----------
    ends : ndarray, shape (n, 2, 3)
        Both ends of every piece. A piece of length 0 is a node, and no edge.

    Returns
    -------
    Graph
        Each place once; chains of pieces are chains of edges.

    Examples
    --------
    >>> chain = graph_of_segments(np.array([[[0, 0, 0], [0, 0, 3]], [[0, 0, 3], [0, 4, 3]]]))
    >>> len(chain), chain.edges.tolist()
    (3, [[0, 1], [1, 2]])
    """
    points = np.asarray(ends, dtype=np.float64).reshape(-1, 3)
    places, number = np.unique(points, axis=0, return_inverse=True)
    edges = number.reshape(-1, 2)
    return Graph(places, edges[edges[:, 0] != edges[:, 1]])
