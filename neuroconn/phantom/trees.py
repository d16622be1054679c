"""Random neurons: persistent random walks that branch."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from neuroconn.annotation import Forest
from neuroconn.config import Settings
from neuroconn.geometry import Box

_STEP = 4.0  # voxels between nodes


class Growth(Settings):
    """How a neuron grows."""

    length: float = 400.0
    """Total length in voxels."""
    persistence: float = 60.0
    """Distance over which a neurite forgets its direction."""
    branching: float = 0.01
    """Branchings per voxel of length."""
    spread: float = 0.9
    """Angle between a branch and its parent, in radians."""
    flatness: float = 1.0
    """Share of the out-of-plane component kept in the first direction; 0 grows in a plane."""
    kind: int = 2
    """SWC type of the nodes: 2 axon, 3 dendrite."""
    radius: float = 1.0
    """SWC radius; only dendrites are drawn with it."""


def grow(
    growth: Growth,
    rng: np.random.Generator,
    *,
    root: tuple[float, float, float],
    direction: tuple[float, float, float] | None = None,
    bounds: Box | None = None,
) -> Forest:
    """Grow one neuron from ``root``.

    Parameters
    ----------
    growth : Growth
        Length, persistence, branching.
    rng : numpy.random.Generator
        Source of every random choice.
    root : (z, y, x) floats
        First node, in voxels.
    direction : (z, y, x) floats, optional
        First direction; random when absent.
    bounds : Box, optional
        A tip that leaves it stops there.

    Returns
    -------
    Forest
        One tree, nodes every 4 voxels.
    """
    steps = max(1, int(growth.length / _STEP))
    if direction is None:
        vector = rng.standard_normal(3) * (growth.flatness, 1.0, 1.0)
    else:
        vector = np.asarray(direction, float)
    vector /= max(float(np.linalg.norm(vector)), 1e-9)
    low = np.array(bounds.start if bounds else (-math.inf,) * 3, float)
    high = np.array(bounds.stop if bounds else (math.inf,) * 3, float)
    positions, parents = _grow(
        np.asarray(root, float),
        vector,
        low,
        high,
        rng.standard_normal((steps, 3)),
        rng.random(steps),
        rng.standard_normal((steps, 3)),
        math.sqrt(_STEP / growth.persistence),
        growth.branching * _STEP,
        growth.spread,
    )
    n = len(positions)
    return Forest(
        positions=positions,
        parents=parents,
        radii=np.full(n, growth.radius),
        kinds=np.full(n, growth.kind, np.int64),
    )


@njit(cache=True, nogil=True)
def _grow(root, direction, low, high, turn, chance, side, bend, branching, spread):  # type: ignore[no-untyped-def]
    steps = len(turn)
    positions = np.empty((steps + 1, 3))
    parents = np.empty(steps + 1, np.int64)
    heading = np.empty((steps + 1, 3))
    positions[0], parents[0], heading[0] = root, -1, direction
    tips = [0]
    n, turnout = 1, 0
    for k in range(steps):
        if not tips or n > steps:
            break
        # Tips take turns, so every branch gets its share of the length.
        turnout = (turnout + 1) % len(tips)
        tip = tips[turnout]
        d = heading[tip] + bend * turn[k]
        d = d / math.sqrt(d[0] ** 2 + d[1] ** 2 + d[2] ** 2)
        positions[n] = positions[tip] + _STEP * d
        parents[n], heading[n] = tip, d
        if np.any(positions[n] < low) or np.any(positions[n] >= high):
            tips.pop(turnout)
            n += 1
            continue
        tips[turnout] = n
        if chance[k] < branching:
            away = side[k] - d * (side[k] * d).sum()
            away = away / max(math.sqrt((away * away).sum()), 1e-9)
            heading[n] = d * math.cos(spread / 2) - away * math.sin(spread / 2)
            # The branch starts at the same node with the opposite lean: a twin of the node, which
            # a child of zero length would make, is avoided by growing it at once.
            if k + 1 < steps and n + 1 <= steps:
                other = d * math.cos(spread / 2) + away * math.sin(spread / 2)
                positions[n + 1] = positions[n] + _STEP * other
                parents[n + 1], heading[n + 1] = n, other
                tips.append(n + 1)
                n += 1
        n += 1
    return positions[:n].copy(), parents[:n].copy()
