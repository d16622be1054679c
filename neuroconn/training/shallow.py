"""Convolutions that may not learn in half precision on the CPU.

The bfloat16 gradient of a kernel that is deeper than its input (2 planes under a kernel of 3, 2 to
6 under one of 7) reads memory that nothing wrote: wrong weights, at times an infinite gradient or a
crash (torch 2.13, oneDNN, AVX-512). One plane is right, and so are dilated kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def guard_shallow(network: nn.Module) -> None:
    """Let convolutions run in full precision where their input is shallower than their kernel.

    Those inputs lie below the last pooling, where there is little to compute.

    Parameters
    ----------
    network : nn.Module
        Will be run under autocast on the CPU; its values and weights stay what they are.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 2 and module.dilation[0] == 1:
            guard = _Guard(module.kernel_size[0])
            module.register_forward_pre_hook(guard.before)
            module.register_forward_hook(guard.after, always_call=True)


class _Guard:
    """Turns autocast off for one call of one module."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._off: torch.autocast | None = None

    def before(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        (x,) = inputs
        shallow = 1 < x.shape[2] < self._depth
        if not (shallow and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return None
        self._off = torch.autocast("cpu", enabled=False)
        self._off.__enter__()  # type: ignore[no-untyped-call]
        return (x.float(),)

    def after(self, *_: Any) -> None:
        if self._off is not None:
            self._off.__exit__(None, None, None)
            self._off = None
