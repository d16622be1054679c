"""Which edges of a predicted map decide whether pixels are joined, and for how many pairs.

Between any two pixels of a window runs a path whose weakest edge is as strong as it can be: the
one on the maximum spanning tree of the edges. Kruskal's algorithm meets the edges of that tree
from strong to weak, so the pairs it joins with an edge are those whose path is weakest there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroconn.loss.compiled import compiled
from neuroconn.loss.plan import Plan
from neuroconn.loss.rules import Rules
from neuroconn.loss.side_by_side import each


def node_weights(values: NDArray[np.floating], plan: Plan, rules: Rules) -> NDArray[np.float64]:
    """How much every pixel counts in the loss; compiled, in as many threads as torch has.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (n, w * w)
        Predicted distances, window by window.
    plan : Plan
        The same windows of the target.
    rules : Rules
        Mode, edge cost and thresholds.

    Returns
    -------
    ndarray of float64, shape (2, n, w * w)
        Weights of disconnections and of false connections. An edge gives its share of all pairs
        to its pixels if the target has it on the line (below ``low``), or off it (from ``high``).
    """
    weights = np.zeros((2, *values.shape))

    def part(start: int, stop: int) -> None:
        some, mine = values[start:stop], plan.part(start, stop)
        counts = pair_counts(some, mine, rules)
        _engine().spread(counts, some, mine, rules, weights[:, start:stop])

    shares = max(1, min(torch.get_num_threads(), len(plan))) if compiled() else 1
    bounds = [len(plan) * i // shares for i in range(shares + 1)]
    each(lambda i: part(bounds[i], bounds[i + 1]), shares)
    return weights


def pair_counts(values: NDArray[np.floating], plan: Plan, rules: Rules) -> NDArray[np.int64]:
    """Count, for every edge in the plan's order, the pairs of pixels that it joins at last.

    Returns
    -------
    ndarray of int64, shape (2, n, edges)
        Pairs in different regions, which a disconnection parts, and pairs in one region, which a
        false line parts. Float32 would lose count above 2**24.
    """
    counts = np.zeros((2, *plan.order.shape), dtype=np.int64)
    _engine().count_pairs(values, plan, rules, counts)
    return counts


def _engine() -> Any:
    if compiled():
        from neuroconn.loss import pairs_kernel

        return pairs_kernel
    from neuroconn.loss import pairs_python

    return pairs_python
