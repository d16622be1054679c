"""Grey erosion and dilation of volumes, differentiable.

The gradient of a voxel goes to the one neighbour its value came from. Max-pooling layers do the
same, and are used on a GPU; on a CPU they are slow and remember an eight-byte index for each voxel
where one byte tells.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neuroconn.loss.compiled import compiled
from neuroconn.loss.side_by_side import each


def eroded(values: Tensor) -> Tensor:
    """Least of each voxel and its 6 neighbours; beyond the faces there is nothing.

    Parameters
    ----------
    values : Tensor, shape (batch, 1, z, y, x)

    Returns
    -------
    Tensor, shape (batch, 1, z, y, x)
        The same with numba and without; of tied neighbours another may get the gradient.

    Examples
    --------
    >>> eroded(torch.tensor([3.0, 5.0, 7.0, 4.0]).reshape(1, 1, 1, 1, 4)).flatten()
    tensor([3., 3., 4., 4.])
    """
    if _quick(values):
        least: Tensor = _Erosion.apply(values)  # type: ignore[no-untyped-call]
        return least
    windows = ((3, 1, 1), (1, 3, 1), (1, 1, 3))
    lines = [_pooled(-values, window) for window in windows]
    return -torch.maximum(torch.maximum(lines[0], lines[1]), lines[2])


def dilated(values: Tensor) -> Tensor:
    """Greatest of each voxel and its 26 neighbours; the twin of `eroded`.

    Examples
    --------
    >>> dilated(torch.tensor([3.0, 5.0, 7.0, 4.0]).reshape(1, 1, 1, 1, 4)).flatten()
    tensor([5., 7., 7., 7.])
    """
    if not _quick(values):
        return _pooled(values, (3, 3, 3))
    for axis in (2, 3, 4):
        values = _Dilation.apply(values, axis)  # type: ignore[no-untyped-call]
    return values


def _quick(values: Tensor) -> bool:
    return values.device.type == "cpu" and compiled()


def _kernel() -> Any:
    from neuroconn.loss import pool_kernel  # numba may be missing

    return pool_kernel


def _pooled(values: Tensor, window: tuple[int, int, int]) -> Tensor:
    margins = [side // 2 for side in window]
    return functional.max_pool3d(values, window, stride=1, padding=margins)


class _Erosion(torch.autograd.Function):
    """Compiled, a sample to a thread."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.contiguous()
        least, origin = torch.empty_like(values), torch.empty_like(values, dtype=torch.uint8)
        volumes = [part.flatten(0, 1).numpy() for part in (values, least, origin)]
        each(lambda i: _kernel().least_of_cross(*(v[i] for v in volumes)), len(values))
        ctx.save_for_backward(origin)
        return least

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weight: Tensor) -> Tensor:
        (origin,) = ctx.saved_tensors
        weight = weight.contiguous()
        gradient = torch.zeros_like(weight)
        volumes = [part.flatten(0, 1).numpy() for part in (weight, origin, gradient)]
        each(lambda i: _kernel().back_to_cross(*(v[i] for v in volumes)), len(weight))
        return gradient


class _Dilation(torch.autograd.Function):
    """Along one axis; compiled, a sample to a thread."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, axis: int) -> Tensor:
        values = values.contiguous()
        most, origin = torch.empty_like(values), torch.empty_like(values, dtype=torch.int8)
        volumes = [_lines(part, axis) for part in (values, most, origin)]
        each(lambda i: _kernel().most_of_line(*(v[i] for v in volumes)), len(values))
        ctx.save_for_backward(origin)
        ctx.axis = axis
        return most

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:
        (origin,) = ctx.saved_tensors
        weight = weight.contiguous()
        gradient = torch.zeros_like(weight)
        volumes = [_lines(part, ctx.axis) for part in (weight, origin, gradient)]
        each(lambda i: _kernel().back_to_line(*(v[i] for v in volumes)), len(weight))
        return gradient, None


def _lines(volumes: Tensor, axis: int) -> Any:
    """(batch, outer, n, inner) view whose third axis is ``axis``."""
    shape = volumes.shape
    return volumes.view(shape[0], shape[2:axis].numel(), shape[axis], -1).numpy()
