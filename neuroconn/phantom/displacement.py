"""Annotations that stray: nobody traces a neurite to the voxel.

The image stays where it is; the centrelines move by a smooth random field, another for every
phantom, so that neighbouring places stray the same way and a chain stays a chain.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroconn.phantom.items import Centrelines
from neuroconn.phantom.tissue import value_noise

_STREAM = 110
_DEVIATION = math.sqrt((26 / 35) ** 3 / 3)
"""Standard deviation of value noise: that of a uniform number in [-1, 1], times the mean square of
the weights of two neighbours, ``w**2 + (1 - w)**2`` with ``w = f**2 (3 - 2 f)``, on three axes."""


def displaced(lines: Centrelines, rms: float, *, pitch: float, seed: int) -> Centrelines:
    """Move centrelines by a smooth random field.

    Parameters
    ----------
    lines : Centrelines
        Pieces short against the pitch, as those of a phantom are.
    rms : float
        Root mean square of how far a place moves, in voxels.
    pitch : float
        Distance between independent places of the field, in voxels.
    seed : int
        Of the phantom.
    """
    if not rms:
        return lines
    start, stop = (
        points + rms / math.sqrt(3) / _DEVIATION * _field(points, pitch, seed)
        for points in (lines.start, lines.stop)
    )
    return replace(lines, start=start, stop=stop)


def _field(points: NDArray[np.float64], pitch: float, seed: int) -> NDArray[np.float64]:
    axes = [value_noise(points, pitch, seed, _STREAM + axis) for axis in range(3)]
    return np.stack(axes, axis=1)
