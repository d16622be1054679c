"""The two context modules of CE-Net, in three dimensions.

References
----------
.. [1] Gu et al., "CE-Net: context encoder network for 2D medical image segmentation", IEEE TMI
   2019; sections III-B and III-C.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroconn.network.receptive import Interval, back_through


class DilatedContext(nn.Module):
    """Dense atrous convolution: four views of a neighbourhood, ever wider, added to the input.

    ``d1``, ``d3`` and ``d5`` are 3x3x3 convolutions with dilations 1, 3 and 5, and ``mix`` is one
    of 1x1x1; each is used wherever it occurs. The result is the input and a ReLU of each of
    ``d1(x)``, ``mix(d3(x))``, ``mix(d3(d1(x)))`` and ``mix(d5(d3(d1(x))))``.

    Parameters
    ----------
    channels : int
        Before and after.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.d1, self.d3, self.d5 = (
            nn.Conv3d(channels, channels, 3, padding=n, dilation=n) for n in (1, 3, 5)
        )
        self.mix = nn.Conv3d(channels, channels, 1)
        for layer in (self.d1, self.d3, self.d5, self.mix):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Add the context to (batch, channels, z, y, x)."""
        near = self.d1(x)
        wide = self.d3(near)
        out = x + torch.relu(near)
        for view in (self.d3(x), wide, self.d5(wide)):
            out = out + torch.relu(self.mix(view))
        return out

    def back(self, output: Interval) -> Interval:
        """Input an output depends on: that of the widest view."""
        return back_through([self.d1, self.d3, self.d5], output)


class PooledContext(nn.Module):
    """Residual multi-kernel pooling: maxima over ever larger cells, one channel each, beside it.

    Cells are counted from the first voxel. Where the input ends within a cell, the maximum is over
    what there is of it, and upsampling is by the side of a cell, so an input of any size works and
    a cell keeps its place. The original stretches the pooled map to the input's size instead, which
    is the same where all sides are multiples of the cell's.

    Parameters
    ----------
    channels : int
        Of the input.
    pools : sequence of int
        Sides of the cells.
    """

    def __init__(self, channels: int, pools: tuple[int, ...] = (2, 3, 5, 6)) -> None:
        super().__init__()
        if not pools or min(pools) < 2:
            raise ValueError(f"pools must be sides of 2 or more, at least one, got {pools}")
        self.pools = tuple(pools)
        self.one = nn.Conv3d(channels, 1, 1)

    @property
    def more(self) -> int:
        """Channels that are added."""
        return len(self.pools)

    def forward(self, x: Tensor) -> Tensor:
        """Put (batch, channels, z, y, x) behind the pooled maps of it."""
        return torch.cat([*(self._pooled(x, side) for side in self.pools), x], dim=1)

    def _pooled(self, x: Tensor, side: int) -> Tensor:
        missing = [-n % side for n in x.shape[2:]]
        z, y, last = missing
        whole = functional.pad(x, (0, last, 0, y, 0, z), value=float("-inf"))
        small = self.one(functional.max_pool3d(whole, side))
        large = functional.interpolate(
            small, scale_factor=float(side), mode="trilinear", align_corners=False
        )
        z, y, last = x.shape[2:]
        return large[:, :, :z, :y, :last]

    def back(self, output: Interval) -> Interval:
        """Input an output depends on: whole cells on both sides of it."""
        seen = output
        for side in self.pools:
            layers = [nn.MaxPool3d(side), nn.Upsample(scale_factor=side, mode="trilinear")]
            seen = seen.hull(back_through(layers, output))
        return seen
