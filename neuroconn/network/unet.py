"""The 3-D U-Net of the report: max-pooling down, transposed convolutions up, a skip at each level.

References
----------
.. [1] Çiçek et al., "3D U-Net: learning dense volumetric segmentation from sparse annotation",
   MICCAI 2016.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    each,
    plan_cuts,
    start_alive,
    to_distance,
)
from neuroconn.network.receptive import Interval, back_through


class UNet(Network):
    """Distance map of a volume, from context that doubles with each pooling.

    Level ``i`` has ``width * 2**i`` channels. Each level is ``convolutions`` times (convolution
    3x3x3, batch normalisation, ReLU), then dropout.

    Parameters
    ----------
    levels : int, optional
        Number of poolings. 4 is the report's "5 levels" (4 encoders, bridge, 4 decoders).
    width : int, optional
        Channels at full resolution.
    convolutions : int, optional
        Convolutions per level, on the way down and again on the way up.
    dropout : float, optional
        Share of channels dropped in training.
    in_channels : int, optional
        Channels of the image.
    head : {"relu", "sigmoid"}, optional
        How the output is kept from being negative: a ReLU, or ``clip`` times a sigmoid, which also
        keeps it below ``clip``. A plain sigmoid cannot reach distances beyond 1.
    clip : float, optional
        Where distances are cut off, in voxels.

    Examples
    --------
    >>> network = UNet(levels=1, width=2).eval()
    >>> network(torch.zeros(1, 1, 4, 6, 8)).shape
    torch.Size([1, 1, 4, 6, 8])
    """

    divisible = True

    def __init__(
        self,
        levels: int = 4,
        width: int = 32,
        convolutions: int = 2,
        dropout: float = 0.1,
        in_channels: int = 1,
        head: Head = "relu",
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        _check(levels, convolutions, in_channels)
        check_common(width=width, dropout=dropout, head=head, clip=clip)
        self.levels, self.width, self.convolutions = levels, width, convolutions
        self.dropout, self.in_channels = dropout, in_channels
        self.head_kind, self.clip = head, clip

        channels = [width * 2**i for i in range(levels + 1)]
        before = [in_channels, *channels]
        blocks = [
            block(a, b, convolutions, dropout) for a, b in zip(before, channels, strict=False)
        ]
        self.encoders = nn.ModuleList(blocks[:-1])
        self.bottom = blocks[-1]
        self.pool = nn.MaxPool3d(2)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(2 * c, c, 2, 2) for c in channels[:-1])
        self.decoders = nn.ModuleList(block(2 * c, c, convolutions, dropout) for c in channels[:-1])
        self.last = nn.Conv3d(width, 1, 1)
        start_alive(self.last, head, clip)

    @property
    def stride(self) -> int:
        """Voxels per cell of the coarsest level."""
        return int(2**self.levels)

    @property
    def output_layer(self) -> nn.Conv3d:
        """The 1x1x1 convolution before the ReLU or sigmoid."""
        return self.last

    def activations(
        self, tile: ZYX, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Activations:
        """Sizes of the tensors of one tile; the concatenation at full resolution is the largest.

        It is made of a skip and an upsampled tensor, and all three are alive at once; so is the
        whole skip, if a part of it is cut out. In slabs the same holds of a slab, beside the whole
        of the level below.
        """
        cuts = self.cuts(trim)
        whole = self._level_sizes(tile, cuts[0][0], 0)
        if planes is None:
            return whole
        z, y, x = tile
        slab = self._level_sizes((min(z, planes + 4 * self.convolutions), y, x), cuts[0][0], 0)
        half = each(tile, lambda n: -(-n // 2))
        below = self._level_sizes(half, cuts[min(1, self.levels - 1)][0], 1)
        # One after the other, but what the first leaves behind is of no size the second can use.
        return Activations(max(slab.largest, below.largest), below.peak + slab.peak)

    def _level_sizes(self, sides: ZYX, cut: ZYX, level: int) -> Activations:
        width = self.width * 2**level
        whole = prod(sides)
        inner = prod(max(1, n - 2 * c) for n, c in zip(sides, cut, strict=True))
        return Activations(
            largest=width * max(whole, 2 * inner),
            peak=width * max(2 * whole + whole // 8, whole + 3 * inner),
        )

    def architecture(self) -> dict[str, Any]:
        """Name and arguments of this network, as they go into a model card."""
        return {
            "name": "unet",
            "levels": self.levels,
            "width": self.width,
            "convolutions": self.convolutions,
            "dropout": self.dropout,
            "in_channels": self.in_channels,
            "head": self.head_kind,
            "clip": self.clip,
        }

    def features(self, x: Tensor, trim: ZYX = (0, 0, 0)) -> Tensor:
        """Features at full resolution, (batch, width, z, y, x), without ``trim`` on each face."""
        cuts = self.cuts(trim)
        before, after = cuts[0]
        skip = self.encoders[0](x)
        below = self._below(self.pool(skip), cuts)
        x = torch.cat([cut(skip, before), self.ups[0](below)], dim=1)
        return cut(self.decoders[0](x), after)

    def slabs(
        self, x: Tensor, trim: ZYX = (0, 0, 0), planes: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the features in slabs; full resolution is there for one slab at a time.

        The first encoder runs twice, once on the way down and once for the skip: a quarter more
        work, for less than half the memory.
        """
        if planes is None:
            yield self.features(x, trim)
            return
        cuts = self.cuts(trim)
        before, after = cuts[0]
        below = self._below(self._pooled(x, 2 * -(-planes // 2)), cuts)
        depth = x.shape[2] - 2 * before[0]  # of the decoder's input
        for first in range(after[0], depth - after[0], planes):
            last = min(first + planes, depth - after[0])
            # As much more as the decoder spoils, to even planes, since the level below has half.
            start = max(0, first - self.convolutions) // 2 * 2
            stop = min(depth, -(-(last + self.convolutions) // 2) * 2)
            skip = self._encoded(x, start + before[0], stop + before[0])
            joined = torch.cat(
                [
                    cut(skip, (0, *before[1:])),
                    self.ups[0](below[:, :, start // 2 : stop // 2]),
                ],
                dim=1,
            )
            out = self.decoders[0](joined)[:, :, first - start : last - start]
            yield cut(out, (0, *after[1:]))

    def _below(self, x: Tensor, cuts: list[tuple[ZYX, ZYX]]) -> Tensor:
        """Go down from the first pooling and come up again to half resolution."""
        skips = []
        for encoder in self.encoders[1:]:
            x = encoder(x)
            skips.append(x)
            x = self.pool(x)
        x = cut(self.bottom(x), cuts[-1][1])
        upwards = zip(
            reversed(self.ups[1:]), reversed(self.decoders[1:]), cuts[-2:0:-1], strict=True
        )
        for up, decoder, (before, after) in upwards:
            x = torch.cat([cut(skips.pop(), before), up(x)], dim=1)
            x = cut(decoder(x), after)
        return x

    def _pooled(self, x: Tensor, planes: int) -> Tensor:
        """Pool the output of the first encoder, slab by slab."""
        depth = x.shape[2]
        parts = (
            self.pool(self._encoded(x, z, min(z + planes, depth))) for z in range(0, depth, planes)
        )
        return torch.cat(list(parts), dim=2)

    def _encoded(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Planes ``start`` to ``stop`` of the first encoder's output."""
        first = max(0, start - self.convolutions)
        last = min(x.shape[2], stop + self.convolutions)
        out: Tensor = self.encoders[0](x[:, :, first:last])
        return out[:, :, start - first : stop - first]

    def head(self, features: Tensor) -> Tensor:
        """Distance in voxels, (batch, 1, z, y, x)."""
        return to_distance(self.last, features, self.head_kind, self.clip)

    def reach(self, output: Interval) -> Interval:
        """Input voxels, along one axis, that the ``output`` voxels depend on."""
        return self._reach(0, back_through([self.last], output))

    def _reach(self, level: int, output: Interval) -> Interval:
        """Walk from the output of a level to the input of its encoder."""
        if level == self.levels:
            return back_through([self.bottom], output)
        skip = back_through([self.decoders[level]], output)
        below = self._reach(level + 1, back_through([self.ups[level]], skip))
        return back_through([self.encoders[level]], skip.hull(back_through([self.pool], below)))

    def cuts(self, trim: ZYX) -> list[tuple[ZYX, ZYX]]:
        """Voxels to leave out at each level, before and after its decoder, level 0 first.

        A decoder spoils one voxel at each face per convolution.
        """
        return plan_cuts(trim, [self.convolutions] * self.levels)


def _check(levels: int, convolutions: int, in_channels: int) -> None:
    if min(levels, convolutions, in_channels) < 1:
        raise ValueError(
            "levels, convolutions and in_channels must be at least 1, got "
            f"{levels}, {convolutions}, {in_channels}"
        )
    if levels > 8:
        raise ValueError(f"levels must be at most 8, a pooling grid of 256 voxels; got {levels}")
