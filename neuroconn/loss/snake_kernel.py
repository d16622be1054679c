"""Which edge is nearest to each voxel, and how the distance to it changes: compiled loops."""

from __future__ import annotations

import math
from typing import Any

from numba import njit


@njit(cache=True, nogil=True)
def nearest(positions: Any, edges: Any, clip: float, distance: Any, owner: Any) -> None:
    """Fill in the distance to the nearest edge, and its number; ``clip`` and -1 beyond the clip.

    Every edge visits the voxels of its own surroundings and leaves its mark where it is nearest so
    far, so the work grows with the length of the edges and not with their number times the voxels.

    Parameters
    ----------
    positions : ndarray of float64, shape (n, 3)
        Nodes, in voxels.
    edges : ndarray of int64, shape (m, 2)
        Pairs of nodes; twice the same node is a point.
    clip : float
        Farthest distance that counts.
    distance : ndarray of float32 or float64, shape (z, y, x)
        Written.
    owner : ndarray of int32, shape (z, y, x)
        Written.
    """
    distance[:] = clip * clip
    owner[:] = -1
    for edge in range(len(edges)):
        _visit(positions[edges[edge, 0]], positions[edges[edge, 1]], edge, clip, distance, owner)
    for z in range(distance.shape[0]):
        for y in range(distance.shape[1]):
            for x in range(distance.shape[2]):
                mine = owner[z, y, x] >= 0
                distance[z, y, x] = math.sqrt(distance[z, y, x]) if mine else clip


@njit(cache=True, nogil=True)
def _visit(a: Any, b: Any, edge: int, clip: float, square: Any, owner: Any) -> None:
    dz, dy, dx = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    length = dz * dz + dy * dy + dx * dx
    scale = 1.0 / length if length > 0 else 0.0
    flat = dz * dz + dy * dy
    flat_scale = 1.0 / flat if flat > 0 else 0.0
    left, right = min(a[2], b[2]), max(a[2], b[2])
    for z in range(_first(a[0], b[0], clip), _last(a[0], b[0], clip, square.shape[0]) + 1):
        pz = z - a[0]
        for y in range(_first(a[1], b[1], clip), _last(a[1], b[1], clip, square.shape[1]) + 1):
            py = y - a[1]
            # How far the row keeps from the edge at least, seen along x.
            share = min(max((pz * dz + py * dy) * flat_scale, 0.0), 1.0)
            row = (pz - share * dz) ** 2 + (py - share * dy) ** 2
            if row >= clip * clip:
                continue
            reach = math.sqrt(clip * clip - row)
            first, last = _first(left, left, reach), _last(right, right, reach, square.shape[2])
            for x in range(first, last + 1):
                px = x - a[2]
                t = min(max((pz * dz + py * dy + px * dx) * scale, 0.0), 1.0)
                near = (pz - t * dz) ** 2 + (py - t * dy) ** 2 + (px - t * dx) ** 2
                if near < square[z, y, x]:
                    square[z, y, x] = near
                    owner[z, y, x] = edge


@njit(cache=True, nogil=True)
def _first(p: float, q: float, reach: float) -> int:
    return max(0, math.floor(min(p, q) - reach))


@njit(cache=True, nogil=True)
def _last(p: float, q: float, reach: float, size: int) -> int:
    return min(size - 1, math.ceil(max(p, q) + reach))


@njit(cache=True, nogil=True)
def pull(positions: Any, edges: Any, owner: Any, weight: Any, gradient: Any) -> None:
    """Add to ``gradient`` what ``weight``, the derivative by each distance, says of the nodes.

    The nearest point of an edge does not change the distance to first order as it slides along,
    so each end feels the unit vector from that point to the voxel, by its share of the point.

    Parameters
    ----------
    positions, edges, owner
        As for `nearest`.
    weight : ndarray of float32 or float64, shape (z, y, x)
    gradient : ndarray of float64, shape (n, 3)
        Added to.
    """
    for z in range(owner.shape[0]):
        for y in range(owner.shape[1]):
            for x in range(owner.shape[2]):
                if owner[z, y, x] >= 0 and weight[z, y, x] != 0:
                    edge = edges[owner[z, y, x]]
                    _pull(positions, edge, z, y, x, weight[z, y, x], gradient)


@njit(cache=True, nogil=True)
def _pull(positions: Any, edge: Any, z: int, y: int, x: int, weight: float, gradient: Any) -> None:
    a, b = positions[edge[0]], positions[edge[1]]
    dz, dy, dx = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    pz, py, px = z - a[0], y - a[1], x - a[2]
    length = dz * dz + dy * dy + dx * dx
    t = (pz * dz + py * dy + px * dx) / length if length > 0 else 0.0
    t = min(max(t, 0.0), 1.0)
    pz, py, px = pz - t * dz, py - t * dy, px - t * dx
    far = math.sqrt(pz * pz + py * py + px * px)
    if far == 0:  # on the line itself the distance has no slope
        return
    for node, share in ((edge[0], 1 - t), (edge[1], t)):
        gradient[node, 0] -= weight * share * pz / far
        gradient[node, 1] -= weight * share * py / far
        gradient[node, 2] -= weight * share * px / far
