"""Pixel pairs on maximum spanning trees without a compiler; slow, and equal to `pairs_kernel`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from neuroconn.loss.plan import Plan, ends
from neuroconn.loss.rules import Rules


def count_pairs(
    values: NDArray[np.floating], plan: Plan, rules: Rules, counts: NDArray[np.int64]
) -> None:
    """Fill ``counts`` (2, n, edges); parameters as in `pairs_kernel.count_pairs`."""
    heads, tails = ends(plan.window)
    cap = np.inf if rules.mode == "robust" else rules.thresholds[1]
    for w in range(len(plan)):
        head, tail = heads[plan.order[w]], tails[plan.order[w]]
        p, q = values[w, head], values[w, tail]
        costs = np.minimum(p, q) if rules.edge_cost == "min" else p + q
        above, _, near = plan.cuts[w]
        labels, regions = plan.labels[w], int(plan.regions[w])
        if regions > 1:
            capped = np.where(np.arange(len(costs)) < above, cap, costs)
            _join(*_tree(capped, head, tail, len(labels)), labels, counts[0, w], across=True)
        if regions > 0:
            floored = np.where(np.arange(len(costs)) < near, costs, 0)
            _join(*_tree(floored, head, tail, len(labels)), labels, counts[1, w], across=False)


def spread(
    counts: NDArray[np.int64],
    values: NDArray[np.floating],
    plan: Plan,
    rules: Rules,
    weights: NDArray[np.float64],
) -> None:
    """Add to ``weights`` (2, n, w * w), which are zeros, what the pairs of edges give to pixels."""
    _, off, near = plan.cuts.T[..., None]
    place = np.arange(counts.shape[2])
    credited = np.stack([place >= near, place < off]) & (counts > 0)
    side, window, edge = np.nonzero(credited)
    shares = counts[side, window, edge] / counts.sum(axis=2)[side, window]
    head, tail = (pixels[plan.order[window, edge]] for pixels in ends(plan.window))
    if rules.edge_cost == "min":
        lower = np.where(values[window, tail] < values[window, head], tail, head)
        np.add.at(weights, (side, window, lower), shares)
    else:
        np.add.at(weights, (side, window, head), shares)
        np.add.at(weights, (side, window, tail), shares)


def _tree(
    costs: NDArray[np.floating],
    head: NDArray[np.int32],
    tail: NDArray[np.int32],
    pixels: int,
) -> tuple[list[int], list[int], list[int]]:
    """Edges of the maximum spanning tree and their ends, strongest first; ties stay in order."""
    ranked = np.argsort(-costs, kind="stable")
    # Ranks, from 1, are costs without ties or zeros, which scipy would take for missing edges.
    ranks = np.empty(len(costs))
    ranks[ranked] = np.arange(1, len(costs) + 1)
    tree = minimum_spanning_tree(coo_array((ranks, (head, tail)), shape=(pixels, pixels)).tocsr())
    edges = ranked[np.sort(tree.data).astype(np.int64) - 1]
    return edges.tolist(), head[edges].tolist(), tail[edges].tolist()


def _join(
    edges: list[int],
    head: list[int],
    tail: list[int],
    labels: NDArray[np.int32],
    counts: NDArray[np.int64],
    *,
    across: bool,
) -> None:
    """Join components along the tree; a component holds the number of pixels of each region."""
    parent = list(range(len(labels)))
    bags: list[dict[int, int]] = [{k: 1} if k else {} for k in labels.tolist()]
    mass = [len(bag) for bag in bags]
    for edge, p, q in zip(edges, head, tail, strict=True):
        a, b = _root(parent, p), _root(parent, q)
        if len(bags[a]) < len(bags[b]) or (len(bags[a]) == len(bags[b]) and mass[a] < mass[b]):
            a, b = b, a
        parent[b] = a
        if mass[b]:
            large, small = bags[a], bags[b]
            same = sum(large.get(k, 0) * n for k, n in small.items())
            counts[edge] = mass[a] * mass[b] - same if across else same
            for k, n in small.items():
                large[k] = large.get(k, 0) + n
            mass[a] += mass[b]


def _root(parent: list[int], pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel
