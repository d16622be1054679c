"""Skeleton recall: how much of the annotated centreline the prediction covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.loss.nearness import Mask, check_maps, check_nearness, dilated, nearness
from neuroconn.loss.term import Term

if TYPE_CHECKING:  # annotations need numba, which may be missing
    from neuroconn.annotation import Graph


def skeleton_recall(
    prediction: Tensor,
    target: Tensor,
    *,
    clip: float = 10.0,
    radius: float = 3.0,
    softness: float = 1.0,
    centreline: float = 0.0,
    dilations: int = 2,
    smooth: float = 1.0,
) -> Tensor:
    """Minus the soft recall of a thin tube around the centreline [1]_.

    With p the probability of `neuroconn.loss.nearness` and T the annotated centreline, grown
    ``dilations`` times by all 26 neighbours, a crop costs ``-(sum(p T) + smooth) / (sum(T) +
    smooth)``. It has no word on false positives and belongs beside another loss.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels, cut off at ``clip``.
    clip : float, optional
        Where distances are cut off.
    radius, softness : float, optional
        A voxel at distance ``radius`` belongs to a neurite with probability 1/2, and
        ``softness`` voxels nearer with 0.73.
    centreline : float, optional
        Greatest target distance of a voxel on the centreline. Any number below 1 is the same on
        maps made from drawn voxels; distances to a curve need about 0.87 (half the diagonal of a
        voxel).
    dilations : int, optional
        Voxels the centreline is grown by.
    smooth : float, optional
        Added to both sums: a crop without a neurite costs -1.

    Returns
    -------
    Tensor, scalar
        A mean over the batch; -1 at best.

    Raises
    ------
    ValueError
        If the shapes differ or an option makes no sense.

    References
    ----------
    .. [1] Kirchhoff et al., "Skeleton Recall Loss for Connectivity Conserving and Resource
       Efficient Segmentation of Thin Tubular Structures", ECCV 2024, sec. 3.

    Examples
    --------
    >>> target = torch.full((1, 1, 1, 1, 9), 9.0)
    >>> target[..., 4] = 0
    >>> sure, missed = torch.full((2, 1, 1, 1, 1, 9), 90.0)
    >>> sure[..., 2:7] = -90
    >>> skeleton_recall(sure, target), skeleton_recall(missed, target)
    (tensor(-1.), tensor(-0.1667))
    """
    term = SkeletonRecall(
        clip=clip,
        radius=radius,
        softness=softness,
        centreline=centreline,
        dilations=dilations,
        smooth=smooth,
    )
    loss: Tensor = term(prediction, target)
    return loss


class SkeletonRecall(Term):
    """Module twin of `skeleton_recall`; takes the same options."""

    def __init__(
        self,
        *,
        clip: float = 10.0,
        radius: float = 3.0,
        softness: float = 1.0,
        centreline: float = 0.0,
        dilations: int = 2,
        smooth: float = 1.0,
    ) -> None:
        super().__init__()
        check_nearness(clip, radius, softness)
        if not (dilations >= 0 and centreline >= 0 and smooth > 0):
            raise ValueError(
                "dilations and centreline must be 0 or more and smooth above 0, "
                f"got {dilations}, {centreline} and {smooth}"
            )
        self.radius, self.softness = radius, softness
        self.centreline, self.dilations, self.smooth = centreline, dilations, smooth

    def prepare(self, distance: NDArray[Any], graph: Graph | None = None) -> Mask:
        """Grow the centreline to a tube.

        Parameters
        ----------
        distance : ndarray of float, shape (z, y, x)
            Clipped distance map of one crop.
        graph : Graph, optional
            Not used.

        Returns
        -------
        ndarray of bool, shape (z, y, x)
        """
        tube: Mask = distance <= self.centreline
        for _ in range(self.dilations):
            tube = dilated(tube)
        return tube

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Loss of a batch; the target is looked at only if nothing is ``prepared``."""
        check_maps(prediction, target)
        tubes = prepared or [self.prepare(t[0]) for t in target.detach().cpu().numpy()]
        tube = torch.from_numpy(np.stack(tubes)[:, None]).to(prediction.device)
        sure = nearness(prediction, radius=self.radius, softness=self.softness)
        axes = (1, 2, 3, 4)
        covered = (sure * tube).sum(dim=axes) + self.smooth
        return -(covered / (tube.sum(dim=axes) + self.smooth)).mean()
