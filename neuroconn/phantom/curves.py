"""Neurites as smooth curves: tree order, resampling, wandering, walks along the path."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.annotation import Forest
from neuroconn.errors import AnnotationError
from neuroconn.phantom.tissue import value_noise

STEP = 3.0  # voxels between points of a curve
_WANDER_STREAM = 70


@dataclass(frozen=True)
class Curve:
    """A forest resampled to short links. One link per node that has a parent.

    ``n`` nodes; ``parents`` holds indices, -1 at roots, and parents may follow children.
    """

    positions: NDArray[np.float64]
    """(z, y, x) in voxels, shape (n, 3)."""
    parents: NDArray[np.int64]
    """Shape (n,)."""
    kinds: NDArray[np.int64]
    """SWC types, shape (n,)."""
    radii: NDArray[np.float64]
    """Radii in voxels as annotated, shape (n,)."""
    order: NDArray[np.int64]
    """The nodes, every parent before its children, shape (n,)."""
    path: NDArray[np.float64]
    """Length from the root along the tree in voxels, shape (n,)."""
    branch: NDArray[np.int64]
    """Number of the unbranched stretch a node lies on, shape (n,)."""
    depth: NDArray[np.int64]
    """Branchings between the root and the node, shape (n,)."""

    @property
    def links(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Parent and child of every link."""
        child = np.flatnonzero(self.parents >= 0)
        return self.parents[child], child


def curve(forest: Forest, *, tortuosity: float, seed: int, step: float = STEP) -> Curve:
    """Lay a smooth curve through the nodes of a forest.

    Catmull-Rom through the chain of nodes, then a smooth displacement of space by two octaves of
    value noise. The same curve feeds image and ground truth.

    Parameters
    ----------
    forest : Forest
        Positions in voxels.
    tortuosity : float
        Amplitude of the displacement in voxels.
    seed : int
        Seed of the phantom.
    step : float, optional
        Longest link of the curve, in voxels.
    """
    positions, parents, kinds, radii = _resample(forest, step)
    if tortuosity:
        for axis in range(3):
            for octave, (pitch, share) in enumerate(((24.0, 1.0), (9.0, 0.3))):
                stream = _WANDER_STREAM + 2 * axis + octave
                shift = value_noise(positions, pitch, seed, stream)
                positions[:, axis] += tortuosity * share * shift
    order = topological(parents)
    length = np.zeros(len(parents))
    child = np.flatnonzero(parents >= 0)
    length[child] = np.linalg.norm(positions[child] - positions[parents[child]], axis=1)
    path, branch, depth = _walk(order, parents, length)
    return Curve(positions, parents, kinds, radii, order, path, branch, depth)


def brightness_walk(
    curve: Curve, sigma: float, correlation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Log-normal brightness along every path: exp of an Ornstein-Uhlenbeck walk down the tree."""
    noise = rng.standard_normal(len(curve.parents))
    walk: NDArray[np.float64] = _ornstein(
        curve.order, curve.parents, curve.path, noise, correlation
    )
    return np.exp(sigma * walk)


def topological(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order nodes so that parents come before children; iterative, any listing order.

    Raises
    ------
    AnnotationError
        If parents run in a circle.
    """
    n = len(parents)
    counts = np.bincount(parents[parents >= 0], minlength=n)
    by_parent = np.argsort(np.where(parents < 0, n, parents), kind="stable")
    begin = np.cumsum(counts) - counts
    order: NDArray[np.int64] = _breadth_first(parents, counts, begin, by_parent)
    if len(order) < n:
        raise AnnotationError(
            f"{n - len(order)} of {n} nodes hang on no root, because their parents run in a "
            "circle: a neuron must be a tree"
        )
    return order


def _resample(
    forest: Forest, step: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    p, parent = np.asarray(forest.positions, float), np.asarray(forest.parents, np.int64)
    n = len(p)
    child = np.flatnonzero(parent >= 0)
    up = parent[child]
    first = np.full(n, -1, np.int64)
    first[up[::-1]] = child[::-1]
    before = np.where(parent[up, None] >= 0, p[parent[up]], 2 * p[up] - p[child])
    after = np.where(first[child, None] >= 0, p[first[child]], 2 * p[child] - p[up])
    pieces = np.maximum(1, np.ceil(np.linalg.norm(p[child] - p[up], axis=1) / step)).astype(int)
    inner = pieces - 1
    link = np.repeat(np.arange(len(child)), inner)
    offset = np.repeat(np.cumsum(inner) - inner, inner)
    k = np.arange(len(link)) - offset + 1
    t = (k / pieces[link])[:, None]
    new = _catmull_rom(before[link], p[up[link]], p[child[link]], after[link], t)
    number = n + np.arange(len(link))
    new_parent = np.where(k == 1, up[link], number - 1)
    parents = parent.copy()
    last = n + np.cumsum(inner) - 1
    parents[child] = np.where(inner > 0, last, up)
    kinds = np.asarray(forest.kinds, np.int64)
    radii = np.asarray(forest.radii, float)
    return (
        np.concatenate((p, new)),
        np.concatenate((parents, new_parent)),
        np.concatenate((kinds, kinds[child[link]])),
        np.concatenate((radii, radii[child[link]])),
    )


def _catmull_rom(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    d: NDArray[np.float64],
    t: NDArray[np.float64],
) -> NDArray[np.float64]:
    point: NDArray[np.float64] = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return point


@njit(cache=True, nogil=True)
def _breadth_first(parents, counts, begin, by_parent):  # type: ignore[no-untyped-def]
    n = len(parents)
    order = np.empty(n, np.int64)
    m = 0
    for i in range(n):
        if parents[i] < 0:
            order[m] = i
            m += 1
    head = 0
    while head < m:
        node = order[head]
        head += 1
        for k in range(begin[node], begin[node] + counts[node]):
            order[m] = by_parent[k]
            m += 1
    return order[:m]


@njit(cache=True, nogil=True)
def _walk(order, parents, length):  # type: ignore[no-untyped-def]
    n = len(parents)
    path = np.zeros(n)
    branch = np.zeros(n, np.int64)
    depth = np.zeros(n, np.int64)
    heir = np.full(n, -1, np.int64)
    for node in order:
        up = parents[node]
        if up < 0:
            branch[node] = node
            continue
        path[node] = path[up] + length[node]
        depth[node] = depth[up]
        if heir[up] < 0:
            heir[up] = node
            branch[node] = branch[up]
        else:
            branch[node] = node
            depth[node] += 1
    return path, branch, depth


@njit(cache=True, nogil=True)
def _ornstein(order, parents, path, noise, correlation):  # type: ignore[no-untyped-def]
    out = np.empty(len(parents))
    for node in order:
        up = parents[node]
        if up < 0:
            out[node] = noise[node]
        else:
            keep = math.exp(-(path[node] - path[up]) / correlation)
            out[node] = keep * out[up] + math.sqrt(1.0 - keep * keep) * noise[node]
    return out
