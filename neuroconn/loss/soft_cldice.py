"""Soft clDice: overlap of each side's centreline with the other side's tube."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.loss.nearness import Mask, check_maps, check_nearness, dilated, eroded, nearness
from neuroconn.loss.soft_skeleton import soft_skeleton
from neuroconn.loss.term import Term

if TYPE_CHECKING:  # annotations need numba, which may be missing
    from neuroconn.annotation import Graph


def soft_cldice(
    prediction: Tensor,
    target: Tensor,
    *,
    clip: float = 10.0,
    radius: float = 3.0,
    softness: float = 1.0,
    iterations: int = 10,
    smooth: float = 1.0,
) -> Tensor:
    """One minus the soft centreline Dice [1]_.

    With p the probability of `neuroconn.loss.nearness`, M the voxels whose target is at most
    ``radius``, and S the soft skeleton, ``precision = (sum(S(p) M) + smooth) / (sum(S(p)) +
    smooth)`` and ``sensitivity = (sum(S(M) p) + smooth) / (sum(S(M)) + smooth)``; a crop costs 1
    minus their harmonic mean.

    Parameters
    ----------
    prediction, target : Tensor, shape (batch, 1, z, y, x)
        Distances in voxels, cut off at ``clip``.
    clip : float, optional
        Where distances are cut off.
    radius, softness : float, optional
        A voxel at distance ``radius`` belongs to a neurite with probability 1/2, and
        ``softness`` voxels nearer with 0.73. With the defaults a perfect map costs about 0.02.
    iterations : int, optional
        Erosions in search of the skeleton: at least the radius of the thickest tube.
    smooth : float, optional
        Added to numerators and denominators: empty crops cost a finite amount.

    Returns
    -------
    Tensor, scalar
        A mean over the batch, between 0 and 1. (The published code sums over the batch before it
        divides; here a batch costs the mean of its crops.)

    Raises
    ------
    ValueError
        If the shapes differ or an option makes no sense.

    References
    ----------
    .. [1] Shit et al., "clDice: a Novel Topology-Preserving Loss Function for Tubular Structure
       Segmentation", CVPR 2021, eq. 3 and algorithms 1 and 2.

    Examples
    --------
    >>> line = torch.full((1, 1, 5, 5, 9), 9.0)
    >>> line[0, 0, 2, 2] = 0
    >>> sharp = {"radius": 0.5, "softness": 0.02}
    >>> soft_cldice(line, line, **sharp)
    tensor(0.)
    >>> soft_cldice(torch.full_like(line, 9.0), line, **sharp)  # sensitivity 1 / (9 + 1)
    tensor(0.8182)
    """
    term = SoftClDice(
        clip=clip, radius=radius, softness=softness, iterations=iterations, smooth=smooth
    )
    loss: Tensor = term(prediction, target)
    return loss


class SoftClDice(Term):
    """Module twin of `soft_cldice`; takes the same options."""

    def __init__(
        self,
        *,
        clip: float = 10.0,
        radius: float = 3.0,
        softness: float = 1.0,
        iterations: int = 10,
        smooth: float = 1.0,
    ) -> None:
        super().__init__()
        check_nearness(clip, radius, softness)
        if not (iterations >= 0 and smooth > 0):
            raise ValueError(
                f"iterations must be 0 or more and smooth above 0, got {iterations} and {smooth}"
            )
        self.radius, self.softness = radius, softness
        self.iterations, self.smooth = iterations, smooth

    def prepare(self, distance: NDArray[Any], graph: Graph | None = None) -> tuple[Mask, Mask]:
        """Compute the tube of the annotation, and the tube's skeleton.

        Parameters
        ----------
        distance : ndarray of float, shape (z, y, x)
            Clipped distance map of one crop.
        graph : Graph, optional
            Not used.

        Returns
        -------
        tuple of two ndarrays of bool, shape (z, y, x)
        """
        tube: Mask = distance <= self.radius
        return tube, _skeleton(tube, self.iterations)

    def forward(
        self, prediction: Tensor, target: Tensor, prepared: Sequence[Any] | None = None
    ) -> Tensor:
        """Loss of a batch; the target is looked at only if nothing is ``prepared``."""
        check_maps(prediction, target)
        pairs = prepared or [self.prepare(t[0]) for t in target.detach().cpu().numpy()]
        tube, centreline = (
            torch.from_numpy(np.stack(part)[:, None]).to(prediction.device)
            for part in zip(*pairs, strict=True)
        )
        with torch.autocast(prediction.device.type, enabled=False):
            sure = nearness(prediction, radius=self.radius, softness=self.softness)
            precision = self._share(soft_skeleton(sure, self.iterations), tube)
            sensitivity = self._share(centreline.to(sure), sure)
            return 1 - (2 * precision * sensitivity / (precision + sensitivity)).mean()

    def _share(self, of: Tensor, within: Tensor) -> Tensor:
        """(batch,) how much of one lies within the other."""
        axes = (1, 2, 3, 4)
        return ((of * within).sum(dim=axes) + self.smooth) / (of.sum(dim=axes) + self.smooth)


def _skeleton(mask: Mask, iterations: int) -> Mask:
    """Soft skeleton of a mask, which is a mask; nothing is left to erode after a few rounds."""
    skeleton = mask & ~dilated(eroded(mask))
    for _ in range(iterations):
        mask = eroded(mask)
        if not mask.any():
            break
        skeleton |= mask & ~dilated(eroded(mask))
    return skeleton
