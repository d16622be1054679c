"""Pixel pairs on maximum spanning trees, compiled; `pairs` holds the twin that needs no compiler.

Per window and pass: a stable radix sort of the edges by predicted cost, then Kruskal's algorithm
with the number of pixels of every region in every component.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.loss.plan import Plan, ends
from neuroconn.loss.rules import Rules

_UNSIGNED = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}


def count_pairs(
    values: NDArray[np.floating], plan: Plan, rules: Rules, counts: NDArray[np.int64]
) -> None:
    """Fill ``counts`` (2, n, edges) with the pairs of every edge; releases the interpreter lock.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (n, w * w)
        Predicted distances.
    plan : Plan
        The same windows of the target.
    rules : Rules
        Mode, edge cost and thresholds.
    counts : ndarray of int64, shape (2, n, edges)
        Zeros. Disconnections, then false connections; edges in the plan's order.
    """
    bits = np.zeros(plan.order.shape[1], dtype=_UNSIGNED[values.dtype])
    cap = np.inf if rules.mode == "robust" else rules.thresholds[1]
    tables = plan.labels, plan.regions, plan.order, plan.cuts, *ends(plan.window)
    costs = bits.view(values.dtype)
    _count(values, *tables, cap, rules.edge_cost == "min", bits, costs, counts)


def spread(
    counts: NDArray[np.int64],
    values: NDArray[np.floating],
    plan: Plan,
    rules: Rules,
    weights: NDArray[np.float64],
) -> None:
    """Add to ``weights`` (2, n, w * w), which are zeros, what the pairs of edges give to pixels."""
    tables = plan.order, plan.cuts, *ends(plan.window)
    _spread(counts, values, *tables, rules.edge_cost == "min", weights)


@njit(cache=True, nogil=True)
def _count(
    values: Any,
    labels: Any,
    regions: Any,
    order: Any,
    cuts: Any,
    heads: Any,
    tails: Any,
    cap: float,
    least: bool,
    bits: Any,
    costs: Any,
    counts: Any,
) -> None:
    edges = order.shape[1]
    ranks, spare = np.empty(edges, dtype=np.int32), np.empty(edges, dtype=np.int32)
    for w in range(len(values)):
        above, _, near = cuts[w]
        for edge in range(edges):
            p, q = values[w, heads[order[w, edge]]], values[w, tails[order[w, edge]]]
            # Adding 0 turns -0 into 0: the two differ in their bits alone.
            costs[edge] = (min(p, q) if least else p + q) + 0
        if regions[w] > 1:
            _sort(bits, above, edges, ranks, spare)
            _place(costs, cap, above, edges, ranks, spare)
            _join(spare, order[w], heads, tails, labels[w], regions[w], True, counts[0, w])
        if regions[w] > 0:
            _sort(bits, 0, near, ranks, spare)
            _place(costs, 0.0, 0, near, ranks, spare)
            _join(spare, order[w], heads, tails, labels[w], regions[w], False, counts[1, w])


@njit(cache=True, nogil=True)
def _sort(bits: Any, start: int, stop: int, ranks: Any, spare: Any) -> None:
    """Sort the edges ``start`` to ``stop`` by falling cost, byte by byte; ties stay in order."""
    places = np.empty(257, dtype=np.int64)
    for i in range(start, stop):
        ranks[i] = i
    source, sink = ranks, spare
    for byte in range(bits.itemsize):
        places[:] = 0
        for i in range(start, stop):
            places[_digit(bits[source[i]], byte, bits.itemsize) + 1] += 1
        if places.max() == stop - start:
            continue
        places[0] = start
        for digit in range(256):
            places[digit + 1] += places[digit]
        for i in range(start, stop):
            digit = _digit(bits[source[i]], byte, bits.itemsize)
            sink[places[digit]] = source[i]
            places[digit] += 1
        source, sink = sink, source
    if source is not ranks:
        ranks[start:stop] = source[start:stop]


@njit(cache=True, nogil=True)
def _digit(bits: Any, byte: int, size: int) -> Any:
    """Take a byte of a number that falls where the floating-point number rises."""
    top = np.uint64(1) << np.uint64(8 * size - 1)
    word = np.uint64(bits)
    if word < top:
        word = ~(word | top)
    return np.int64((word >> np.uint64(8 * byte)) & np.uint64(255))


@njit(cache=True, nogil=True)
def _place(costs: Any, cap: float, start: int, stop: int, ranks: Any, spare: Any) -> None:
    """Rank in ``spare`` the sorted edges, and among them all others, whose cost is ``cap``."""
    at = start
    while at < stop and (costs[ranks[at]] > cap or (costs[ranks[at]] == cap and start == 0)):
        at += 1
    place = at - start
    spare[:place] = ranks[start:at]
    for edge in range(len(ranks)):
        if edge < start or edge >= stop:
            spare[place] = edge
            place += 1
    spare[place:] = ranks[at:stop]


@njit(cache=True, nogil=True)
def _join(
    ranks: Any,
    order: Any,
    heads: Any,
    tails: Any,
    labels: Any,
    regions: int,
    across: bool,
    counts: Any,
) -> None:
    """Join components edge by edge; count the pairs of pixels, across regions or within."""
    pixels = len(labels)
    parent = np.arange(pixels).astype(np.int32)
    size = np.ones(pixels, dtype=np.int32)
    mass = np.zeros(pixels, dtype=np.int64)
    tally = np.zeros((pixels, regions), dtype=np.int64)
    for pixel in range(pixels):
        if labels[pixel] > 0:
            mass[pixel] = tally[pixel, labels[pixel] - 1] = 1
    joined = 1
    for edge in ranks:
        a, b = _root(parent, heads[order[edge]]), _root(parent, tails[order[edge]])
        if a == b:
            continue
        if size[a] < size[b]:
            a, b = b, a
        parent[b] = a
        size[a] += size[b]
        if mass[b] > 0:
            same = np.int64(0)
            for region in range(regions):
                same += tally[a, region] * tally[b, region]
                tally[a, region] += tally[b, region]
            counts[edge] = mass[a] * mass[b] - same if across else same
            mass[a] += mass[b]
        joined += 1
        if joined == pixels:
            break


@njit(cache=True, nogil=True)
def _root(parent: Any, pixel: int) -> Any:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(cache=True, nogil=True)
def _spread(
    counts: Any,
    values: Any,
    order: Any,
    cuts: Any,
    heads: Any,
    tails: Any,
    least: bool,
    weights: Any,
) -> None:
    for w in range(len(values)):
        _, off, near = cuts[w]
        for side in range(2):
            total = max(counts[side, w].sum(), 1)
            start, stop = (near, order.shape[1]) if side == 0 else (0, off)
            for edge in range(start, stop):
                share = counts[side, w, edge] / total
                head, tail = heads[order[w, edge]], tails[order[w, edge]]
                lower = tail if values[w, tail] < values[w, head] else head
                weights[side, w, lower if least else head] += share
                if not least:
                    weights[side, w, tail] += share
