"""Batch normalisation over the crops of all processes, so that their number changes nothing.

On GPUs torch has it (``SyncBatchNorm``); on CPUs it does not, so it is written out here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """Sum over processes; what one of them does with it concerns all of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Return the sum of the values of all processes."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Every process's value is part of every process's sum."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm3d(nn.BatchNorm3d):
    """Mean and variance of a batch whose parts lie in several processes, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the statistics of all parts; parts are of one size."""
        if not self.training:
            return super().forward(x)
        axes = (0, 2, 3, 4)
        values = x.float()
        local = torch.stack([values.mean(axes), values.square().mean(axes)])
        mean, square = _Sum.apply(local) / dist.get_world_size()  # type: ignore[no-untyped-call]
        variance = (square - mean.square()).clamp_min(0)
        self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        scale = (variance + self.eps).rsqrt() * self.weight
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None, None], values, scale[:, None, None, None]).to(
            x.dtype
        )

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, own: int) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        count = own * dist.get_world_size()
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), share)


def share_norms(network: nn.Module, device: torch.device) -> None:
    """Let every batch normalisation of a network see the crops of all processes, in place.

    Weights and running statistics stay the tensors they were.
    """
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm3d:
                setattr(parent, name, _shared(child))


def _shared(norm: nn.BatchNorm3d) -> SharedBatchNorm3d:
    twin = SharedBatchNorm3d(norm.num_features, norm.eps, norm.momentum)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(twin, name, getattr(norm, name))
    return twin.train(norm.training)
