"""CE-Net in three dimensions: a residual encoder, context at its bottom, a light decoder.

References
----------
.. [1] Gu et al., "CE-Net: context encoder network for 2D medical image segmentation", IEEE TMI
   2019.
"""

from __future__ import annotations

from math import lcm, prod
from typing import Any

from torch import Tensor, nn

from neuroconn.geometry import ZYX
from neuroconn.network.base import Activations, Network
from neuroconn.network.context import DilatedContext, PooledContext
from neuroconn.network.layers import (
    Head,
    check_common,
    cut,
    plan_cuts,
    start_alive,
    to_distance,
)
from neuroconn.network.receptive import Interval, back_through
from neuroconn.network.residual import ResidualEncoder, Shortcut

_SPOILT = (2, 1, 1, 1)
"""Voxels that each level of the decoder gets wrong at a face that was cut: one by the transposed
convolution, one more by the last 3x3x3 convolution."""


class CENet(Network):
    """Distance map of a volume, with context from dilated convolutions and from large cells.

    What goes up a level is added to the skip there, not joined to it. The original ends in a
    sigmoid; a distance needs a ReLU or a scaled sigmoid. Its last convolution is 1x1x1 here, for
    the head is computed apart, voxel by voxel, in float32.

    Parameters
    ----------
    depth : {10, 18, 34, 50}, optional
        Layers of the encoder.
    width : int, optional
        Channels of its stem. 64 is MedicalNet's, whose weights fit no other.
    shortcut : {"auto", "A", "B"}, optional
        See :class:`~neuroconn.network.residual.ResidualEncoder`.
    pools : tuple of int, optional
        Sides of the pooled cells, in cells of 16 voxels. Tiles equal the whole volume only on a
        grid of 16 times their least common multiple: 480 voxels for 2, 3, 5 and 6.
    head : {"relu", "sigmoid"}, optional
        How the output is kept from being negative; see :class:`~neuroconn.network.UNet`.
    clip : float, optional
        Where distances are cut off, in voxels.

    Examples
    --------
    >>> import torch
    >>> network = CENet(depth=10, width=4, pools=(2, 4)).eval()
    >>> network(torch.zeros(1, 1, 32, 16, 32)).shape, network.exact_grid
    (torch.Size([1, 1, 32, 16, 32]), 64)
    """

    def __init__(
        self,
        depth: int = 34,
        width: int = 64,
        shortcut: Shortcut = "auto",
        pools: tuple[int, ...] = (2, 3, 5, 6),
        head: Head = "relu",
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        check_common(width=width, dropout=0, head=head, clip=clip)
        if width % 2:
            raise ValueError(f"width must be even, got {width}")
        self.width, self.head_kind, self.clip = width, head, clip
        self.encoder = ResidualEncoder(depth, width, shortcut)
        first, second, third, fourth = self.encoder.channels
        self.dilated = DilatedContext(fourth)
        self.pooled = PooledContext(fourth, tuple(pools))
        self.ups = nn.ModuleList(
            [
                _up(first, width),
                _up(second, first),
                _up(third, second),
                _up(fourth + self.pooled.more, third),
            ]
        )
        self.merge = nn.Sequential(
            nn.Conv3d(width, width // 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv3d(width // 2, width // 2, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Conv3d(width // 2, 1, 1)
        start_alive(self.last, head, clip)

    @property
    def stride(self) -> int:
        """Voxels per cell of the coarsest level of the encoder."""
        return 16

    @property
    def exact_grid(self) -> int:
        """Where all pooled cells begin anew."""
        return self.stride * lcm(*self.pooled.pools)

    @property
    def output_layer(self) -> nn.Conv3d:
        """The 1x1x1 convolution before the ReLU or sigmoid."""
        return self.last

    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        """Features at full resolution, (batch, width / 2, z, y, x), without ``trim``."""
        cuts = plan_cuts(trim, _SPOILT)
        *skips, x = self.encoder(x)
        x = cut(self.pooled(self.dilated(x)), cuts[-1][1])
        for up, (before, after) in zip(reversed(self.ups), cuts[-2::-1], strict=True):
            x = up(x)
            if skips:
                x = cut(x + cut(skips.pop(), before), after)
        return cut(self.merge(x), cuts[0][1])

    def head(self, features: Tensor) -> Tensor:
        """Distance in voxels, (batch, 1, z, y, x)."""
        return to_distance(self.last, features, self.head_kind, self.clip)

    def reach(self, output: Interval) -> Interval:
        """Input voxels, along one axis, that the ``output`` voxels depend on."""
        levels = [back_through([self.merge, self.last], output)]
        for up in self.ups:
            levels.append(back_through([up], levels[-1]))
        _, *skips = levels
        skips[-1] = back_through([self.dilated, self.pooled], skips[-1])
        return self.encoder.back(skips)

    def activations(
        self, tile: ZYX, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Activations:
        """Sizes of the tensors of one tile: the stem's, or those around the last convolutions."""
        voxels = prod(tile)
        (z, y, x), _ = plan_cuts(trim, _SPOILT)[0]
        inner = prod(max(1, n - 2 * c) for n, c in zip(tile, (z, y, x), strict=True))
        largest, peak = self.encoder.activations(voxels)
        end = self.width * inner * 3 // 2
        return Activations(largest, max(peak, int(self.encoder.kept * voxels) + end))

    def architecture(self) -> dict[str, Any]:
        """Name and arguments of this network, as they go into a model card."""
        return {
            "name": "cenet",
            "depth": self.encoder.depth,
            "width": self.width,
            "shortcut": self.encoder.shortcut,
            "pools": list(self.pooled.pools),
            "head": self.head_kind,
            "clip": self.clip,
        }


def _up(before: int, after: int) -> nn.Sequential:
    """Double the resolution with a quarter of the channels in between."""
    inner = max(1, before // 4)
    return nn.Sequential(
        nn.Conv3d(before, inner, 1),
        nn.BatchNorm3d(inner),
        nn.ReLU(inplace=True),
        nn.ConvTranspose3d(inner, inner, 3, 2, padding=1, output_padding=1),
        nn.BatchNorm3d(inner),
        nn.ReLU(inplace=True),
        nn.Conv3d(inner, after, 1),
        nn.BatchNorm3d(after),
        nn.ReLU(inplace=True),
    )
