"""The energy of a snake, and the matrix that takes one implicit step of it.

The energy [1]_ is ``alpha * sum |s_u - s_v|**2`` over edges plus ``beta * sum |s_u - 2 s_v +
s_w|**2`` over nodes of degree 2: it shortens and straightens, and lets ends and branches be. Half
its gradient is ``A s``, and a step of length tau solves ``(I + tau A) s' = s - tau G``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

_NEGLIGIBLE = 1e-15
"""Below the rounding of a float64: rows of the inverse sum to 1."""
_COLUMNS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Stepper:
    """``(I + tau A)**-1`` of all axes at once: a sparse matrix on 3 n coordinates, row by row.

    The inverse is full, but falls by a constant factor an edge, so all but a band around each node
    is less than rounding.
    """

    rows: NDArray[np.int64]
    """Index of the coordinate, 3 * node + axis, that comes out."""
    columns: NDArray[np.int64]
    """Index of the coordinate that goes in."""
    values: NDArray[np.float64]
    """Its share."""


def energy_matrix(
    edges: NDArray[np.int64], count: int, alpha: float, beta: float
) -> sparse.csr_array:
    """Matrix A of half the gradient of the energy.

    Parameters
    ----------
    edges : ndarray of int64, shape (m, 2)
        Pairs of different nodes, each once.
    count : int
        Number of nodes n.
    alpha, beta : float
        Weights of stretching and of bending.

    Returns
    -------
    sparse array of float64, shape (n, n)
        Symmetric; every row sums to 0.

    References
    ----------
    .. [1] Oner et al., "Adjusting the Ground Truth Annotations for Connectivity-Based Learning to
       Delineate", arXiv:2112.02781.

    Examples
    --------
    >>> chain = np.array([[0, 1], [1, 2]])
    >>> energy_matrix(chain, 3, 1.0, 0.0).toarray()
    array([[ 1., -1.,  0.],
           [-1.,  2., -1.],
           [ 0., -1.,  1.]])
    >>> energy_matrix(chain, 3, 0.0, 1.0).toarray()
    array([[ 1., -2.,  1.],
           [-2.,  4., -2.],
           [ 1., -2.,  1.]])
    """
    stretch = _differences(edges, np.array([1.0, -1.0]), count)
    bend = _differences(_triplets(edges, count), np.array([1.0, -2.0, 1.0]), count)
    return sparse.csr_array(alpha * (stretch.T @ stretch) + beta * (bend.T @ bend))


def _triplets(edges: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(t, 3) neighbour, node, neighbour at every node of degree 2."""
    ends, others = edges.ravel(), edges[:, ::-1].ravel()
    order = np.argsort(ends, kind="stable")
    degrees = np.bincount(ends, minlength=count)
    first = np.cumsum(degrees) - degrees
    middle = np.flatnonzero(degrees == 2)
    neighbours = others[order]
    return np.stack([neighbours[first[middle]], middle, neighbours[first[middle] + 1]], axis=1)


def _differences(
    nodes: NDArray[np.int64], factors: NDArray[np.float64], count: int
) -> sparse.csr_array:
    rows = np.repeat(np.arange(len(nodes)), len(factors))
    values = np.tile(factors, len(nodes))
    return sparse.csr_array((values, (rows, nodes.ravel())), shape=(len(nodes), count))


def stepper(
    edges: NDArray[np.int64], free: NDArray[np.bool_], *, tau: float, alpha: float, beta: float
) -> Stepper:
    """Invert ``I + tau A``; the row of a coordinate that is not free is that of the identity.

    Parameters
    ----------
    edges : ndarray of int64, shape (m, 2)
        Edges with an energy.
    free : ndarray of bool, shape (n, 3)
        Which coordinates may move.
    tau : float
        Length of a step.
    alpha, beta : float
        Weights of stretching and of bending.
    """
    matrix = energy_matrix(edges, len(free), alpha, beta)
    known: dict[bytes, _Triplets] = {}
    parts = []
    for axis in range(3):
        key = free[:, axis].tobytes()  # most crops freeze few nodes, and axes are often alike
        if key not in known:
            known[key] = _inverse(matrix, free[:, axis], tau)
        rows, columns, values = known[key]
        parts.append((3 * rows + axis, 3 * columns + axis, values))
    rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((columns, rows))
    return Stepper(rows[order], columns[order], values[order])


_Triplets = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _inverse(matrix: sparse.csr_array, free: NDArray[np.bool_], tau: float) -> _Triplets:
    """Rows, columns and values of one axis; a few columns at a time, so memory stays linear."""
    count = len(free)
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    kept = sparse.diags_array(free.astype(np.float64))
    system = splu(sparse.csc_array(sparse.eye_array(count) + tau * (kept @ matrix)))
    found = []
    for start in range(0, count, _COLUMNS):
        width = min(_COLUMNS, count - start)
        right = np.zeros((count, width))
        right[start + np.arange(width), np.arange(width)] = 1
        solved = system.solve(right)
        rows, columns = np.nonzero(np.abs(solved) > _NEGLIGIBLE)
        found.append((rows, columns + start, solved[rows, columns]))
    rows, columns, values = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, columns, values
