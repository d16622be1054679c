"""From what is known of a batch to what its prediction should be."""

from __future__ import annotations

import torch
from torch import Tensor

from neuroconn.loss.bounds import admissible
from neuroconn.training.sample import Batch

_NEAR = 3.0


def targets(prediction: Tensor, batch: Batch, *, near: float) -> tuple[Tensor, Tensor | None]:
    """Return the target of every voxel, and how much more than 1 each weighs.

    Parameters
    ----------
    prediction : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels.
    batch : Batch
        Distances, or bounds of them.
    near : float
        Extra weight of voxels that are surely less than 3 voxels from a neurite.

    Returns
    -------
    target : Tensor, same shape
    extra : Tensor, same shape, or None
        None where every voxel weighs 1.
    """
    low = batch.distances
    if batch.bounds is None:
        target, high, weight = low, low, None
    else:
        high, weight = batch.bounds[:, :1], batch.bounds[:, 1:]
        target = admissible(prediction, low, high)
    if near:
        close = torch.where(high < _NEAR, 1 + near, 1.0)
        weight = close if weight is None else weight * close
    return target, None if weight is None else weight - 1
