"""How surely a voxel belongs to a neurite, by its predicted distance; binary masks and their skins.

Overlap losses want a probability, and the networks here predict distances. A neurite is taken to be
a tube around its centreline, and ``sigmoid((radius - distance) / softness)`` is the probability of
being within it. Unlike a ramp that ends at the clip, its slope is 0 nowhere: a gap in which the
prediction has run into the clip still draws.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Mask = NDArray[np.bool_]


def nearness(distance: Tensor, *, radius: float, softness: float) -> Tensor:
    """Probability of being within ``radius`` of a centreline; half precision becomes float32.

    Examples
    --------
    >>> nearness(torch.tensor([0.0, 3.0, 10.0]), radius=3.0, softness=1.0)
    tensor([9.5257e-01, 5.0000e-01, 9.1105e-04])
    """
    exact = distance if distance.dtype == torch.float64 else distance.float()
    return torch.sigmoid((radius - exact) / softness)


def check_nearness(clip: float, radius: float, softness: float) -> None:
    """Refuse a tube that a map cut off at ``clip`` does not show."""
    if not 0 < radius < clip:
        raise ValueError(
            f"radius must be above 0 and below the clip of {clip}, got {radius}: "
            "a map that ends at its clip does not say what lies within more"
        )
    if not softness > 0:
        raise ValueError(f"softness must be above 0, got {softness}")


def check_maps(prediction: Tensor, target: Tensor) -> None:
    """Refuse maps that are not two equal batches of volumes."""
    if prediction.shape != target.shape or prediction.ndim != 5 or prediction.shape[1] != 1:
        raise ValueError(
            f"prediction and target must both be (batch, 1, z, y, x), got "
            f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        )


def eroded(mask: Mask) -> Mask:
    """Voxels whose 6 neighbours are set too; outside counts as set."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        ahead, behind = _shifted(axis)
        inner[ahead] &= mask[behind]
        inner[behind] &= mask[ahead]
    return inner


def dilated(mask: Mask) -> Mask:
    """Voxels that are set or have one of 26 neighbours set."""
    for axis in range(mask.ndim):
        ahead, behind = _shifted(axis)
        grown = mask.copy()
        grown[ahead] |= mask[behind]
        grown[behind] |= mask[ahead]
        mask = grown
    return mask


def _shifted(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    before = (slice(None),) * axis
    return (*before, slice(1, None)), (*before, slice(None, -1))
