"""What one tile says about its chunk: does it hold neurite, and which neighbours are worth a look.

A verdict reads nothing but the tile (core and halo), so it is a pure function of image, weights
and settings. That is what makes the set of visited chunks independent of the order of the walk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import cc3d
import numpy as np
from numpy.typing import NDArray

from neuroconn.config.infer import EvidenceRules
from neuroconn.geometry import DIRECTIONS, ZYX, Box, directions
from neuroconn.inference.ends import outward_ends

ALL_DIRECTIONS = (1 << len(DIRECTIONS)) - 1
"""The mask with every one of the 26 bits set."""

_INNER = 2
"""Voxels of the core, counted from a face, that lie *at* that face."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a chunk's own tile says; bit ``k`` of a mask means ``geometry.DIRECTIONS[k]``."""

    neurite: bool
    """Whether the core holds voxels of a component that is large enough."""
    strong: int
    """Neighbours with evidence."""
    weak: int
    """Neighbours worth a step of the bridging budget; a superset of ``strong``."""
    voxels: int
    """Neurite voxels of the core."""


def assess(distance: NDArray[np.float32], core: Box, volume: Box, rules: EvidenceRules) -> Verdict:
    """Judge one tile.

    Parameters
    ----------
    distance : (z, y, x) float32 array
        Prediction for the whole tile, core and halo, in voxels.
    core : Box
        The voxels the chunk owns, in coordinates of the tile:
        ``grid.core(index).shift(minus tile.start)``. Its start is the halo.
    volume : Box
        The voxels of the brain in coordinates of the tile: ``grid.bounds`` shifted likewise. It
        may reach past the tile; voxels outside it are padding and never evidence.
    rules : EvidenceRules
        The exploration rule.

    Returns
    -------
    Verdict
        Masks over ``geometry.DIRECTIONS``; neighbours outside the grid may be set.

    Raises
    ------
    ValueError
        If the core does not lie in the tile, or a prediction of the brain is NaN: a comparison
        with NaN is false, so the walk would end there and call it success.

    Examples
    --------
    A fibre along x, seen by a chunk of 8³ with a halo of 4:

    >>> tile = np.full((16, 16, 16), 10, np.float32)
    >>> tile[8, 8, :] = 0
    >>> rules = EvidenceRules(min_component=4, core_threshold=1, threshold=1, reliable=0)
    >>> verdict = assess(tile, Box((4, 4, 4), (12, 12, 12)), Box.of_shape(tile.shape), rules)
    >>> verdict.neurite, verdict.voxels, opened(verdict.strong)
    (True, 8, [(0, 0, -1), (0, 0, 1)])
    """
    z, y, x = distance.shape
    tile = Box((0, 0, 0), (z, y, x))
    if not core.size or not tile.contains(core):
        raise ValueError(f"{core} is not inside a tile of shape {distance.shape}")
    inside = tile.clip(volume)
    lowest = float(distance[inside.slices].min())
    if np.isnan(lowest):
        raise ValueError("the prediction holds NaN; the walk would stop there without an error")
    allowed = direction_mask(directions(rules.connectivity))
    if lowest >= rules.core_threshold:
        kept = None
        voxels = 0
    else:
        kept = _kept(distance, inside, rules)
        voxels = int(np.count_nonzero(kept[core.clip(inside).slices]))
    strong = _strong(distance, kept, voxels, core, inside, rules) & allowed
    weak = allowed
    if kept is not None and voxels:
        weak = strong | (outward_ends(kept, core) & allowed)
    return Verdict(voxels > 0, strong, weak, voxels)


def direction_mask(chosen: Iterable[ZYX]) -> int:
    """Bits of the given directions.

    Examples
    --------
    >>> bin(direction_mask([(-1, -1, -1), (-1, -1, 1)]))
    '0b101'
    """
    return sum(1 << DIRECTIONS.index(d) for d in set(chosen))


def opened(mask: int) -> list[ZYX]:
    """Directions whose bit is set in ``mask``, in the order of ``geometry.DIRECTIONS``."""
    return [d for k, d in enumerate(DIRECTIONS) if mask >> k & 1]


@cache
def point_voxels(threshold: float) -> int:
    """Voxels closer than ``threshold`` to one point: what a lone false positive looks like.

    Examples
    --------
    >>> [point_voxels(t) for t in (2.5, 3, 8)]
    [81, 93, 2103]
    """
    n = int(np.ceil(threshold))
    z, y, x = np.ogrid[-n : n + 1, -n : n + 1, -n : n + 1]
    return int(np.count_nonzero(z * z + y * y + x * x < threshold * threshold))


def _kept(distance: NDArray[np.float32], inside: Box, rules: EvidenceRules) -> NDArray[np.bool_]:
    """Voxels of components below ``core_threshold`` that are large enough to be neurite."""
    near, labels, count = _components(distance, inside, rules.core_threshold)
    sizes = np.bincount(labels.reshape(-1)[near], minlength=count + 1)
    # A component cut by the tile may be a long neurite of which only the tip is in sight.
    cut = np.zeros(count + 1, dtype=bool)
    cut[_labels_on_border(labels)] = True
    limit = np.where(cut, 0, point_voxels(rules.core_threshold)) + rules.min_component
    return _chosen(near, labels, sizes >= limit)


def _components(
    distance: NDArray[np.float32], inside: Box, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.unsignedinteger], int]:
    """Flat positions of the brain's voxels below ``threshold``, labels of all, how many labels."""
    low = np.zeros(distance.shape, dtype=bool)
    np.less(distance[inside.slices], threshold, out=low[inside.slices])
    labels, count = cc3d.connected_components(low, connectivity=26, return_N=True)
    return np.flatnonzero(low), labels, count


def _chosen(
    near: NDArray[np.intp], labels: NDArray[np.unsignedinteger], keep: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Voxels whose label is kept; only the few that have one are touched."""
    chosen = np.zeros(labels.shape, dtype=bool)
    chosen.reshape(-1)[near] = keep[labels.reshape(-1)[near]]
    return chosen


def _labels_on_border(labels: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """Labels seen on the six outer planes of the tile."""
    planes = [np.take(labels, end, axis).ravel() for axis in range(3) for end in (0, -1)]
    return np.unique(np.concatenate(planes))


def _strong(
    distance: NDArray[np.float32],
    kept: NDArray[np.bool_] | None,
    voxels: int,
    core: Box,
    inside: Box,
    rules: EvidenceRules,
) -> int:
    """Neighbours the rule opens, before the choice of connectivity."""
    if rules.rule == "any":
        return ALL_DIRECTIONS if voxels else 0
    if rules.rule == "seed":
        return _near_faces(distance, core.clip(inside), rules)
    if kept is None or not kept.any():
        return 0
    return _reaching(_grown(distance, kept, inside, rules.threshold), core, inside, rules)


def _near_faces(distance: NDArray[np.float32], core: Box, rules: EvidenceRules) -> int:
    """Faces with a prediction below the threshold within ``border`` voxels, as in the report."""
    mask = 0
    for face in directions(6):
        slab = _at(core, face, rules.border)
        if (distance[slab.slices] < rules.threshold).any():
            mask |= direction_mask([face])
    return mask


def _grown(
    distance: NDArray[np.float32], kept: NDArray[np.bool_], inside: Box, threshold: float
) -> NDArray[np.bool_]:
    """Hysteresis: the voxels below ``threshold`` that are connected to a kept component."""
    near, labels, count = _components(distance, inside, threshold)
    keep = np.zeros(count + 1, dtype=bool)
    keep[labels[kept]] = True
    return _chosen(near, labels, keep)


def _reaching(evidence: NDArray[np.bool_], core: Box, inside: Box, rules: EvidenceRules) -> int:
    """Directions with enough evidence at the shared face, edge or corner, or beyond it."""
    mask = 0
    for k, direction in enumerate(DIRECTIONS):
        near = _at(core, direction, _INNER).clip(inside)
        far = _beyond(core, direction, evidence.shape, rules.reliable).clip(inside)
        found = np.count_nonzero(evidence[near.slices])
        if found < rules.min_voxels and far.size:
            found += np.count_nonzero(evidence[far.slices])
        if found >= rules.min_voxels:
            mask |= 1 << k
    return mask


def _at(core: Box, direction: ZYX, depth: int) -> Box:
    """Voxels of the core within ``depth`` of what it shares with the neighbour."""
    axes = zip(core.start, core.stop, direction, strict=True)
    pick = {-1: lambda a, b: (a, a + depth), 0: lambda a, b: (a, b), 1: lambda a, b: (b - depth, b)}
    return _box(pick[d](a, b) for a, b, d in axes).clip(core)


def _beyond(core: Box, direction: ZYX, tile: tuple[int, ...], untrusted: int) -> Box:
    """Voxels of the neighbour in the trusted part of the halo."""
    spans = []
    for a, b, n, d in zip(core.start, core.stop, tile, direction, strict=True):
        # Core and halo of the tile, not the core alone: the last core of an axis may be partial.
        band = min(a - untrusted, n - 2 * a)
        spans.append({-1: (a - band, a), 0: (a, b), 1: (b, b + band)}[d])
    return _box((a, max(a, b)) for a, b in spans)


def _box(spans: Iterable[tuple[int, int]]) -> Box:
    (az, bz), (ay, by), (ax, bx) = spans
    return Box((az, ay, ax), (bz, by, bx))
