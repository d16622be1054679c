"""A skeleton that can be differentiated: what erosion takes away and dilation does not bring back.

Erosion is the least of a voxel and its 6 neighbours, dilation the greatest of it and its 26.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuroconn.loss.pool import dilated, eroded


def soft_skeleton(sure: Tensor, iterations: int) -> Tensor:
    """Ridges of a probability map [1]_.

    Parameters
    ----------
    sure : Tensor, shape (batch, 1, z, y, x)
        Between 0 and 1. Beyond the faces there is nothing to erode from or to dilate.
    iterations : int
        Erosions; a ridge deeper in a tube than this is not found.

    Returns
    -------
    Tensor, shape (batch, 1, z, y, x)
        Between 0 and 1.

    References
    ----------
    .. [1] Shit et al., "clDice: a Novel Topology-Preserving Loss Function for Tubular Structure
       Segmentation", CVPR 2021, algorithm 1.

    Examples
    --------
    >>> bar = torch.zeros(1, 1, 1, 5, 7)
    >>> bar[..., 1:4, :] = 1
    >>> soft_skeleton(bar[:, :, [0, 0, 0]], 3)[0, 0, 1].int()
    tensor([[0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    missing = torch.ones_like(sure)  # one minus the skeleton so far
    for _ in range(iterations + 1):
        thinner = eroded(sure)
        missing = missing * (1 - (sure - dilated(thinner)).relu())
        sure = thinner
    return 1 - missing
