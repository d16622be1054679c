"""What L_TOPO needs to know of an annotation, window by window, before any prediction is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.loss.rules import Rules

_CROSS = np.zeros((3, 3, 3), dtype=bool)
_CROSS[1, 1, :] = _CROSS[1, :, 1] = True
_SQUARE = np.zeros((3, 3, 3), dtype=bool)
_SQUARE[1] = True


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Regions and edges of ``n`` windows of ``w x w`` pixels, in row-major order.

    The edges of a window are sorted by their cost in the target, farthest from the line first. A
    stable sort by the predicted cost then settles ties in favour of what is far, so that the
    weakest edge of a path lies on the line; and what the thresholds say of an edge is whether it
    comes before or after one of three ``cuts``.
    """

    labels: NDArray[np.int32]
    """(n, w * w) region of every pixel, from 1; 0 on the dilated annotation."""
    regions: NDArray[np.int64]
    """(n,) how many regions the annotation parts the window into."""
    order: NDArray[np.int32]
    """(n, 2 w (w - 1)) edges by falling target cost; each an index into `ends`."""
    cuts: NDArray[np.int64]
    """(n, 3) how many edges have a target cost > high, >= high and >= low."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def window(self) -> int:
        """Pixels along the side of a window."""
        return math.isqrt(self.labels.shape[1])

    def part(self, start: int, stop: int) -> Plan:
        """Take the windows ``start`` to ``stop``."""
        some = slice(start, stop)
        return Plan(self.labels[some], self.regions[some], self.order[some], self.cuts[some])


def plan(maps: Sequence[NDArray[np.floating]], rules: Rules) -> Plan:
    """Prepare the windows of one or more target maps.

    Parameters
    ----------
    maps : sequence of ndarray, shape (rows, columns)
        Distance maps in voxels; whole windows cover each of them.
    rules : Rules
        Size of the windows, dilation, thresholds.

    Returns
    -------
    Plan
        All windows of the first map, row by row, then those of the next.

    Raises
    ------
    ValueError
        If windows do not divide a map.
    """
    target = np.concatenate([windows(m, rules) for m in maps])
    labels, regions = _regions(target <= rules.centreline, rules.dilation)
    order, costs = _edges(target.reshape(len(target), -1))
    low, high = rules.thresholds
    cuts = np.stack([costs > high, costs >= high, costs >= low], axis=1).sum(axis=2)
    return Plan(labels, regions, order, cuts.astype(np.int64))


def windows(values: NDArray[np.floating], rules: Rules) -> NDArray[np.floating]:
    """Cut a map (rows, columns) into windows (n, w, w)."""
    rules.check(*values.shape)
    side = rules.window
    rows, columns = (size // side for size in values.shape)
    return values.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def concatenate(plans: Sequence[Plan]) -> Plan:
    """Put the windows of several plans behind each other."""
    parts = zip(*((p.labels, p.regions, p.order, p.cuts) for p in plans), strict=True)
    labels, regions, order, cuts = (np.concatenate(part) for part in parts)
    return Plan(labels, regions, order, cuts)


@cache
def ends(window: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both pixels of every edge between 4-neighbours of a window.

    Returns
    -------
    heads, tails : ndarray of int32, shape (4 w (w - 1),)
        First every edge one way round, then every edge the other way.
    """
    pixels = np.arange(window * window, dtype=np.int32).reshape(window, window)
    first = np.concatenate([pixels[:, :-1].ravel(), pixels[:-1].ravel()])
    second = np.concatenate([pixels[:, 1:].ravel(), pixels[1:].ravel()])
    return np.concatenate([first, second]), np.concatenate([second, first])


def _regions(line: NDArray[np.bool_], dilation: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label what the dilated line leaves of each window, 8-connected, from 1 in every window."""
    if dilation:
        line = ndimage.binary_dilation(line, _CROSS, iterations=dilation)
    labels = np.zeros(line.shape, dtype=np.int32)
    ndimage.label(~line, _SQUARE, output=labels)
    # Labels count on from window to window.
    last = np.maximum.accumulate(labels.max(axis=(1, 2)))
    before = np.concatenate([[0], last[:-1]])
    own = np.where(labels > 0, labels - before[:, None, None], 0).astype(np.int32)
    return own.reshape(len(line), -1), (last - before).astype(np.int64)


def _edges(
    target: NDArray[np.floating],
) -> tuple[NDArray[np.int32], NDArray[np.floating]]:
    """Edges of each window by falling target cost, turned to begin nearer to the line."""
    heads, tails = ends(math.isqrt(target.shape[1]))
    count = len(heads) // 2
    begin, end = target[:, heads[:count]], target[:, tails[:count]]
    costs = begin + end
    order = np.argsort(-costs, axis=1, kind="stable")
    turned = np.where(end < begin, count, 0) + np.arange(count)
    return np.take_along_axis(turned, order, axis=1).astype(np.int32), costs
