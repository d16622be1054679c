"""ResUNet++ in three dimensions: residual units, squeeze-and-excitation, a pyramid, attention.

References
----------
.. [1] Jha et al., "ResUNet++: an advanced architecture for medical image segmentation", ISM 2019.
.. [2] Hu, Shen and Sun, "Squeeze-and-excitation networks", CVPR 2018.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroconn.geometry import ZYX
from neuroconn.network.base import Activations, Network
from neuroconn.network.layers import Head, check_common, cut, start_alive, to_distance
from neuroconn.network.receptive import Interval, back_through

_RATES = (1, 2, 4)
"""Dilations of the pyramid. Those of the paper, 6 to 18, are for images: at a crop of 96 voxels the
bridge has 12 cells a side, and weights that reach beyond never learn."""


class SqueezeExcite(nn.Module):
    """Weigh channels by what their means over the whole tile say together."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        # A ReLU between one or two channels may die, and with it all that is weighed.
        inner = max(4, channels // reduction)
        self.mean = nn.AdaptiveAvgPool3d(1)
        self.weigh = nn.Sequential(
            nn.Conv3d(channels, inner, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv3d(inner, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh (batch, channels, z, y, x)."""
        weighed: Tensor = x * self.weigh(self.mean(x))
        return weighed

    def back(self, output: Interval) -> Interval:
        """No bound: every output depends on the whole tile."""
        return back_through([self.mean], output)


class ResidualUnit(nn.Module):
    """Two convolutions beside one of 1x1x1; normalisation and ReLU come before, not after.

    Parameters
    ----------
    before, after : int
        Channels.
    stride : int, optional
        Of the first convolution, and of the one beside.
    bare : bool, optional
        Whether the input is an image, which is not normalised again.
    """

    def __init__(self, before: int, after: int, stride: int = 1, *, bare: bool = False) -> None:
        super().__init__()
        first = [] if bare else [nn.BatchNorm3d(before), nn.ReLU(inplace=True)]
        self.path = nn.Sequential(
            *first,
            nn.Conv3d(before, after, 3, stride, padding=1),
            nn.BatchNorm3d(after),
            nn.ReLU(inplace=True),
            nn.Conv3d(after, after, 3, padding=1),
        )
        self.beside = nn.Sequential(nn.Conv3d(before, after, 1, stride), nn.BatchNorm3d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Add path and shortcut."""
        out: Tensor = self.path(x)
        out += self.beside(x)
        return out

    def back(self, output: Interval) -> Interval:
        """Input an output depends on: that of the path."""
        return back_through([self.path], output)


class Pyramid(nn.Module):
    """Atrous spatial pyramid: convolutions of several dilations, added and mixed."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(before, after, 3, padding=rate, dilation=rate), nn.BatchNorm3d(after)
            )
            for rate in _RATES
        )
        self.mix = nn.Conv3d(after, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the views of (batch, channels, z, y, x)."""
        first, *others = self.views
        out = first(x)
        for view in others:
            out += view(x)
        mixed: Tensor = self.mix(out)
        return mixed

    def back(self, output: Interval) -> Interval:
        """Input an output depends on: that of the widest view."""
        return back_through([self.views[-1]], output)


class Attention(nn.Module):
    """Weigh coarse features by what they and the skip above them say together."""

    def __init__(self, skip: int, channels: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            nn.BatchNorm3d(skip),
            nn.ReLU(inplace=True),
            nn.Conv3d(skip, channels, 3, padding=1),
            nn.MaxPool3d(2),
        )
        self.coarse = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
        )
        self.both = nn.Sequential(
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
        )

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """Weigh ``x``, which is at half the resolution of ``skip``."""
        weighed: Tensor = self.both(self.fine(skip) + self.coarse(x)) * x
        return weighed


class ResUNetPP(Network):
    """Distance map of a volume, with channels and places weighed by what is around them.

    Squeeze-and-excitation takes means over the whole tile: the receptive field has no bound, tiles
    never equal the whole volume, and exact mode is refused. The pyramid of the paper's last layer
    is left out: at full resolution it would cost more than all the rest.

    Parameters
    ----------
    levels : int, optional
        Halvings, by convolutions of stride 2.
    width : int, optional
        Channels at full resolution, doubled with each halving, and once more in the bridge.
    head : {"relu", "sigmoid"}, optional
        How the output is kept from being negative; see :class:`~neuroconn.network.UNet`.
    clip : float, optional
        Where distances are cut off, in voxels.

    Examples
    --------
    >>> network = ResUNetPP(levels=2, width=2).eval()
    >>> network(torch.zeros(1, 1, 8, 8, 16)).shape
    torch.Size([1, 1, 8, 8, 16])
    """

    def __init__(
        self, levels: int = 3, width: int = 16, head: Head = "relu", clip: float = 10.0
    ) -> None:
        super().__init__()
        check_common(width=width, dropout=0, head=head, clip=clip)
        if not 1 <= levels <= 6:
            raise ValueError(f"levels must lie between 1 and 6, got {levels}")
        self.levels, self.width = levels, width
        self.head_kind, self.clip = head, clip
        channels = [width * 2**i for i in range(levels + 2)]
        self.encoders = nn.ModuleList([ResidualUnit(1, width, bare=True)])
        self.encoders.extend(ResidualUnit(c // 2, c, 2) for c in channels[1:-1])
        self.excites = nn.ModuleList(SqueezeExcite(c) for c in channels[:-2])
        self.bridge = Pyramid(channels[-2], channels[-1])
        # Going up leaves twice as many channels as the encoder has at that level.
        self.gates = nn.ModuleList(Attention(c, 4 * c) for c in channels[:-2])
        self.decoders = nn.ModuleList(ResidualUnit(5 * c, 2 * c) for c in channels[:-2])
        self.last = nn.Conv3d(2 * width, 1, 1)
        start_alive(self.last, head, clip)

    @property
    def stride(self) -> int:
        """Voxels per cell of the coarsest level."""
        return int(2**self.levels)

    @property
    def output_layer(self) -> nn.Conv3d:
        """The 1x1x1 convolution before the ReLU or sigmoid."""
        return self.last

    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        """Features at full resolution, (batch, 2 * width, z, y, x), without ``trim``."""
        skips = []
        for encoder, excite in zip(self.encoders, self.excites, strict=False):
            x = excite(encoder(x))
            skips.append(x)
        x = self.bridge(self.encoders[-1](x))
        for gate, decoder in zip(reversed(self.gates), reversed(self.decoders), strict=True):
            x = functional.interpolate(gate(skips[-1], x), scale_factor=2.0, mode="nearest")
            x = decoder(torch.cat([skips.pop(), x], dim=1))
        return cut(x, trim)

    def head(self, features: Tensor) -> Tensor:
        """Distance in voxels, (batch, 1, z, y, x)."""
        return to_distance(self.last, features, self.head_kind, self.clip)

    def reach(self, output: Interval) -> Interval:
        """No bound: squeeze-and-excitation looks at the whole tile.

        Raises
        ------
        HaloError
            Always.
        """
        return back_through([*self.excites], output)

    def activations(
        self, tile: ZYX, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Activations:
        """Sizes of the tensors of one tile; the joined skip at full resolution is the largest.

        It, its normalised copy, the first convolution of the last unit and the last skip are alive
        at once.
        """
        full = self.width * prod(tile)
        return Activations(largest=5 * full, peak=13 * full)

    def architecture(self) -> dict[str, Any]:
        """Name and arguments of this network, as they go into a model card."""
        return {
            "name": "resunetpp",
            "levels": self.levels,
            "width": self.width,
            "head": self.head_kind,
            "clip": self.clip,
        }
