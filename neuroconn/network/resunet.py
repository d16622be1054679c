"""The residual U-Net of the report: MedicalNet's encoder, a U-Net's decoder.

References
----------
.. [1] Chen, Ma and Zheng, "Med3D: transfer learning for 3D medical image analysis",
   arXiv:1904.00625.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from neuroconn.geometry import ZYX
from neuroconn.network.base import Activations, Network
from neuroconn.network.layers import (
    Head,
    block,
    check_common,
    cut,
    plan_cuts,
    start_alive,
    to_distance,
)
from neuroconn.network.receptive import Interval, back_through
from neuroconn.network.residual import ResidualEncoder, Shortcut


class ResUNet(Network):
    """Distance map of a volume, by a residual encoder that may have been trained elsewhere.

    The encoder's four stages, at 1/2 to 1/16, are the skips of a U-Net; below them a pooling and a
    block at 1/32 with ``16 * width`` channels. The last step up, to full resolution, has no skip.

    Parameters
    ----------
    depth : {10, 18, 34, 50}, optional
        Layers of the encoder; the report took 34.
    width : int, optional
        Channels of its stem. 64 is MedicalNet's, whose weights fit no other.
    shortcut : {"auto", "A", "B"}, optional
        See :class:`~neuroconn.network.residual.ResidualEncoder`.
    convolutions : int, optional
        Convolutions per level of the decoder.
    dropout : float, optional
        Share of channels of the decoder dropped in training.
    head : {"relu", "sigmoid"}, optional
        How the output is kept from being negative; see :class:`~neuroconn.network.UNet`.
    clip : float, optional
        Where distances are cut off, in voxels.

    Examples
    --------
    >>> network = ResUNet(depth=10, width=4).eval()
    >>> network(torch.zeros(1, 1, 32, 32, 64)).shape
    torch.Size([1, 1, 32, 32, 64])
    """

    def __init__(
        self,
        depth: int = 34,
        width: int = 64,
        shortcut: Shortcut = "auto",
        convolutions: int = 2,
        dropout: float = 0.1,
        head: Head = "relu",
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        check_common(width=width, dropout=dropout, head=head, clip=clip)
        if width % 2 or convolutions < 1:
            raise ValueError(
                f"width must be even and convolutions at least 1, got {width}, {convolutions}"
            )
        self.width, self.convolutions, self.dropout = width, convolutions, dropout
        self.head_kind, self.clip = head, clip
        self.encoder = ResidualEncoder(depth, width, shortcut)
        skips = self.encoder.channels
        # Channels of the decoder at 1/1, 1/2, ... 1/32, whatever those of the encoder.
        inner = [width // 2, *(width * 2**i for i in range(5))]
        self.pool = nn.MaxPool3d(2)
        self.bottom = block(skips[-1], inner[5], convolutions, dropout)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(inner[i + 1], inner[i], 2, 2) for i in range(5))
        self.decoders = nn.ModuleList(
            block(inner[i] + extra, inner[i], convolutions, dropout)
            for i, extra in enumerate([0, *skips])
        )
        self.last = nn.Conv3d(inner[0], 1, 1)
        start_alive(self.last, head, clip)

    @property
    def stride(self) -> int:
        """Voxels per cell of the coarsest level."""
        return 32

    @property
    def output_layer(self) -> nn.Conv3d:
        """The 1x1x1 convolution before the ReLU or sigmoid."""
        return self.last

    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        """Features at full resolution, (batch, width / 2, z, y, x), without ``trim``."""
        cuts = self.cuts(trim)
        skips = self.encoder(x)
        x = cut(self.bottom(self.pool(skips[-1])), cuts[-1][1])
        upwards = zip(reversed(self.ups), reversed(self.decoders), cuts[-2::-1], strict=True)
        for up, decoder, (before, after) in upwards:
            x = up(x)
            if skips:
                x = torch.cat([cut(skips.pop(), before), x], dim=1)
            x = cut(decoder(x), after)
        return x

    def head(self, features: Tensor) -> Tensor:
        """Distance in voxels, (batch, 1, z, y, x)."""
        return to_distance(self.last, features, self.head_kind, self.clip)

    def cuts(self, trim: ZYX) -> list[tuple[ZYX, ZYX]]:
        """Voxels to leave out at each level, before and after its decoder, level 0 first."""
        return plan_cuts(trim, [self.convolutions] * 5)

    def reach(self, output: Interval) -> Interval:
        """Input voxels, along one axis, that the ``output`` voxels depend on."""
        levels = []
        seen = back_through([self.last], output)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            levels.append(back_through([decoder], seen))
            seen = back_through([up], levels[-1])
        _, *skips = levels
        skips[-1] = skips[-1].hull(back_through([self.pool, self.bottom], seen))
        return self.encoder.back(skips)

    def activations(
        self, tile: ZYX, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Activations:
        """Sizes of the tensors of one tile: the stem's, or those of the last step up."""
        voxels = prod(tile)
        (z, y, x), _ = self.cuts(trim)[0]
        inner = prod(max(1, n - 2 * c) for n, c in zip(tile, (z, y, x), strict=True))
        largest, peak = self.encoder.activations(voxels)
        # Joined at half resolution: two parts, their concatenation, a convolution of it.
        half = inner // 8 * (3 * self.width + 2 * self.encoder.channels[0])
        kept = int(self.encoder.kept * voxels)
        return Activations(
            largest=max(largest, half // 2),
            peak=max(peak, kept + max(half, self.width * inner + self.width * inner // 8)),
        )

    def architecture(self) -> dict[str, Any]:
        """Name and arguments of this network, as they go into a model card."""
        return {
            "name": "resunet",
            "depth": self.encoder.depth,
            "width": self.width,
            "shortcut": self.encoder.shortcut,
            "convolutions": self.convolutions,
            "dropout": self.dropout,
            "head": self.head_kind,
            "clip": self.clip,
        }
