"""A skeleton as a graph: voxels are nodes, and lines of voxels are chains.

Linking every pair of 26-neighbours would make triangles wherever a skeleton bends or branches, and
every triangle a cycle that is not there. So the links are thinned: of all sets of links with the
connected components and the loops of the mask, the shortest is taken.

That set is a matroid's minimum basis. Closed voxels are boxes, boxes that meet pairwise meet in
one point, so the mask is, up to deformation, the complex of its links and triangles (the nerve
theorem). Its links modulo the boundaries of its triangles are a vector space over {0, 1} whose
bases are the link sets wanted: none holds a cycle that triangles fill, each spans the rest. Taken
from short to long, a link is left out if shorter ones and triangles express it, which is what the
column reduction of persistent homology finds.

References
----------
.. [1] H. Edelsbrunner, J. Harer, "Computational Topology", 2010, III.2 (nerves) and VII.1 (the
   reduction).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation import Graph

_FORWARD = np.array(
    [(z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)],
    dtype=np.int64,
)
"""The 13 neighbours that come after a voxel in the order of an array."""


def skeleton_graph(mask: NDArray[np.bool_]) -> Graph:
    """Turn the voxels of a skeleton into nodes and their adjacency into edges.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x) or (y, x)
        A skeleton, as `skeleton` makes it. Any mask works; thick ones take long.

    Returns
    -------
    Graph
        A node at the centre of every voxel, in the order of the array; z is 0 for a mask of two
        axes. Edges join 26-neighbours (8-neighbours in 2D) and are sorted. There are as many
        connected components and independent cycles as the mask has components and loops (the
        Betti numbers b0 and b1 of its closed voxels), and no graph of this kind is shorter. Among
        equally short ones the choice depends on positions relative to each other alone.

    See Also
    --------
    voxel_graph : the same from coordinates, for skeletons too large for an array.

    Examples
    --------
    A T of six voxels: its three arms, and no triangle where they meet.

    >>> mask = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 0]], dtype=bool)
    >>> skeleton_graph(mask).edges.tolist()
    [[0, 1], [1, 2], [1, 4], [2, 3], [4, 5]]
    """
    if mask.ndim not in (2, 3):
        raise ValueError(f"a mask is (z, y, x) or (y, x), got shape {mask.shape}")
    volume = mask if mask.ndim == 3 else mask[None]
    return voxel_graph(np.argwhere(volume))


def voxel_graph(voxels: NDArray[np.integer[Any]]) -> Graph:
    """Link voxels given by their coordinates, as `skeleton_graph` does.

    Parameters
    ----------
    voxels : ndarray of int, shape (n, 3)
        Coordinates (z, y, x), each voxel once, in any order.

    Returns
    -------
    Graph
        One node a voxel, in lexicographic order of (z, y, x).

    Raises
    ------
    ValueError
        If a voxel is given twice.
    """
    given = np.asarray(voxels, dtype=np.int64).reshape(-1, 3)
    if not len(given):
        return Graph(np.empty((0, 3)), np.empty((0, 2), dtype=np.int64))
    start = given.min(axis=0)
    _, height, width = given.max(axis=0) - start + 3  # a margin, lest rows run into the next
    strides = np.array([height * width, width, 1])
    keys = (given - start) @ strides
    order = np.argsort(keys, kind="stable")
    keys, nodes = keys[order], given[order]
    if (np.diff(keys) == 0).any():
        raise ValueError("a voxel is given twice, and can be one node only")
    first, second, kind = _links(keys, _FORWARD @ strides)
    squares = (_FORWARD**2).sum(axis=1)[kind]
    kept = _shortest_basis(len(nodes), first, second, squares)
    return Graph(nodes.astype(np.float64), np.stack([first[kept], second[kept]], axis=1))


def _links(
    keys: NDArray[np.int64], steps: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of neighbours, sorted: the earlier node, the later one, and which step it is."""
    pairs = [_matches(keys, int(step)) for step in steps]
    first = np.concatenate([pair[0] for pair in pairs])
    second = np.concatenate([pair[1] for pair in pairs])
    kind = np.repeat(np.arange(len(pairs)), [len(pair[0]) for pair in pairs])
    order = np.lexsort((second, first))
    return first[order], second[order], kind[order]


@njit(cache=True, nogil=True)
def _matches(keys: Any, step: int) -> Any:
    """Return the indices of all keys k, and of k + step, where both are there; keys ascend."""
    first = np.empty(len(keys), np.int64)
    second = np.empty(len(keys), np.int64)
    found, there = 0, 0
    for here in range(len(keys)):
        while there < len(keys) and keys[there] < keys[here] + step:
            there += 1
        if there < len(keys) and keys[there] == keys[here] + step:
            first[found], second[found] = here, there
            found += 1
    return first[:found].copy(), second[:found].copy()


def _shortest_basis(
    nodes: int,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    squares: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Mark the links to keep."""
    order = np.argsort(squares, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    starts = np.searchsorted(first, np.arange(nodes + 1))
    triangles = _triangles(first, second, starts, rank)
    triangles = triangles[np.lexsort(triangles.T[::-1])]  # short ones first keep columns short
    expressed: NDArray[np.bool_] = _pivots(triangles, len(first))
    kept: NDArray[np.bool_] = ~expressed[rank]
    return kept


@njit(cache=True, nogil=True)
def _triangles(first: Any, second: Any, starts: Any, rank: Any) -> Any:
    """Return the boundary of every triangle: ranks of its three links, the longest first."""
    found = np.empty((max(len(first), 1), 3), np.int64)
    count = 0
    for edge in range(len(first)):
        a, b = first[edge], second[edge]
        for other in range(edge + 1, starts[a + 1]):
            c = second[other]
            for third in range(starts[b], starts[b + 1]):
                if second[third] == c:
                    if count == len(found):
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count] = np.sort(np.array([rank[edge], rank[other], rank[third]]))[::-1]
                    count += 1
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _pivots(columns: Any, rows: int) -> Any:
    """Reduce columns over {0, 1} and mark the rows that lead one; their entries descend."""
    leads = np.zeros(rows, np.bool_)
    where = np.zeros((rows, 2), np.int64)  # of the reduced column that a row leads
    pool = np.empty(max(3 * len(columns), 1), np.int64)
    used = 0
    for index in range(len(columns)):
        column = columns[index].copy()
        while len(column) and leads[column[0]]:
            begin, stop = where[column[0]]
            column = _sum(column, pool[begin:stop])
        if len(column):
            while used + len(column) > len(pool):
                pool = np.concatenate((pool, np.empty_like(pool)))
            pool[used : used + len(column)] = column
            leads[column[0]] = True
            where[column[0]] = used, used + len(column)
            used += len(column)
    return leads


@njit(cache=True, nogil=True)
def _sum(a: Any, b: Any) -> Any:
    """Add two columns over {0, 1}: the entries in just one of them."""
    total = np.empty(len(a) + len(b), np.int64)
    i, j, n = 0, 0, 0
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and a[i] > b[j]):
            total[n] = a[i]
            i, n = i + 1, n + 1
        elif i == len(a) or b[j] > a[i]:
            total[n] = b[j]
            j, n = j + 1, n + 1
        else:
            i, j = i + 1, j + 1
    return total[:n].copy()
