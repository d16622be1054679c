"""Projections of distance maps: the least distance along each ray.

What is bright in a volume is bright in its maximum projection, and what is near in a map is near
in its minimum projection: the minimum of a map of lines is the map of their shadow.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuroconn.loss.compiled import compiled


def project(volume: Tensor, axes: tuple[int, ...] = (0, 1, 2)) -> tuple[Tensor, ...]:
    """Least distance along the rays of each axis.

    The gradient of a ray goes to one voxel, the first that holds its least value. (``amin`` would
    share it among all of them: where a map is cut off at the clip, among whole rays.)

    Parameters
    ----------
    volume : Tensor, shape (batch, 1, z, y, x)
        Distances.
    axes : tuple of int, optional
        Along which of z, y, x to look, as 0, 1, 2.

    Returns
    -------
    tuple of Tensor, shapes (batch, 1, y, x), (batch, 1, z, x) and (batch, 1, z, y)

    Examples
    --------
    >>> volume = torch.tensor([[3.0, 1.0], [2.0, 5.0]]).reshape(1, 1, 1, 2, 2)
    >>> [view.flatten().tolist() for view in project(volume)]
    [[3.0, 1.0, 2.0, 5.0], [2.0, 1.0], [1.0, 2.0]]
    """
    if volume.ndim != 5 or volume.shape[1] != 1:
        raise ValueError(f"a volume must be (batch, 1, z, y, x), got {tuple(volume.shape)}")
    check_axes(axes)
    return tuple(_Minima.apply(volume, axes))  # type: ignore[no-untyped-call]


def check_axes(axes: tuple[int, ...]) -> None:
    """Refuse axes that are none, or that come twice."""
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= {0, 1, 2}:
        raise ValueError(f"axes must be some of 0, 1, 2 (z, y, x), each once, got {axes}")


class _Minima(torch.autograd.Function):
    """Looks for the voxels that hold the minima when a gradient comes back, and all at once.

    ``min`` returns them too, but on a CPU it takes ten times as long as ``amin``, and its backward
    makes one volume of gradients an axis.
    """

    @staticmethod
    def forward(ctx: Any, volume: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, ...]:
        minima = tuple(volume.amin(dim=axis + 2) for axis in axes)
        ctx.save_for_backward(volume, *minima)
        ctx.axes = axes
        return minima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        volume, *minima = ctx.saved_tensors
        total = torch.zeros_like(volume)
        for axis, least, gradient in zip(ctx.axes, minima, gradients, strict=True):
            index = _first_minimum(volume, least, axis + 2)
            total.scatter_add_(axis + 2, index.unsqueeze(axis + 2), gradient.unsqueeze(axis + 2))
        return total, None


def _first_minimum(volume: Tensor, least: Tensor, axis: int) -> Tensor:
    if (
        volume.device.type == "cpu"
        and volume.dtype in (torch.float32, torch.float64)
        and compiled()
    ):
        from neuroconn.loss.projection_kernel import first_minimum

        return torch.from_numpy(first_minimum(volume.contiguous().numpy(), least.numpy(), axis))
    return volume.argmin(dim=axis)
