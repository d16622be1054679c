"""Losses on distances of which only bounds are known.

Where a neurite may or may not run, a distance has two bounds instead of a value. A prediction
between them is right; beyond, the nearer bound is its target. So every loss on distance maps works
on bounds unchanged, and voxels that nobody looked at (0 to the clip) take no part.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def admissible(prediction: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the distance within the bounds that is nearest to the prediction.

    Parameters
    ----------
    prediction, low, high : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels, ``low <= high``.

    Returns
    -------
    Tensor, same shape, without gradient

    Examples
    --------
    >>> prediction = torch.tensor([1.0, 5.0, 9.0])
    >>> admissible(prediction, torch.full((3,), 3.0), torch.full((3,), 6.0))
    tensor([3., 5., 6.])
    """
    return torch.minimum(torch.maximum(prediction.detach(), low), high)


def emphasis(prediction: Tensor, target: Tensor, extra: Tensor, *, delta: float = 1.0) -> Tensor:
    """Huber loss with a weight for every voxel, to be added to a loss without.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels.
    extra : Tensor, same shape
        How much more each voxel weighs than 1; may be 0.
    delta : float, optional
        Where squared turns into absolute, in voxels.

    Returns
    -------
    Tensor, scalar
        The mean over all voxels: one voxel in a thousand with ``extra = 1000`` counts as much as
        all without.
    """
    error = functional.huber_loss(prediction, target, reduction="none", delta=delta)
    return (extra * error).mean()
