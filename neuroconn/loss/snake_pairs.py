"""The distance map of a graph from tensors only: for a GPU, and where numba is missing.

Every edge is paired with the voxels of its bounding box grown by the clip. A voxel keeps the least
of its distances and the edge it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_PAIRS = 1 << 22
"""Pairs held at once, about 300 MB of temporaries."""


def distance(positions: Tensor, edges: Any, shape: tuple[int, ...], clip: float) -> Tensor:
    """Twin of the compiled loops; see `neuroconn.loss.snake_render.render`."""
    maps: Tensor = _Distance.apply(positions, edges, shape, clip)  # type: ignore[no-untyped-call]
    return maps


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, edges: Any, shape: tuple[int, ...], clip: float
    ) -> Tensor:
        pairs = torch.from_numpy(edges.pairs).to(positions.device)
        counts = torch.tensor(edges.first).diff().to(positions.device)
        sample = torch.repeat_interleave(torch.arange(len(counts)).to(counts), counts)
        square, owner = _nearest(positions.detach(), pairs, sample, len(counts), shape, clip)
        maps = torch.where(owner < 0, clip, square.sqrt())
        ctx.save_for_backward(positions, pairs, owner)
        ctx.shape = shape
        return maps.reshape(len(counts), 1, *shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None]:
        positions, pairs, owner = ctx.saved_tensors
        voxel = (owner >= 0).nonzero().squeeze(1)
        ends = pairs[owner[voxel]]
        place = torch.stack(_split(voxel % _size(ctx.shape), ctx.shape), dim=1).to(positions)
        share, apart = _apart(positions[ends[:, 0]], positions[ends[:, 1]], place)
        far = apart.norm(dim=1, keepdim=True)
        # On the line itself the distance has no slope.
        force = -weight.reshape(-1)[voxel, None] * torch.where(far > 0, apart / far, 0)
        gradient = torch.zeros_like(positions)
        gradient.index_add_(0, ends[:, 0], (1 - share) * force)
        gradient.index_add_(0, ends[:, 1], share * force)
        return gradient, None, None, None


def _nearest(
    positions: Tensor, edges: Tensor, sample: Tensor, count: int, shape: Sequence[int], clip: float
) -> tuple[Tensor, Tensor]:
    """(v,) squared distance of all voxels of all samples, (v,) edge; -1 beyond the clip."""
    a, b = positions[edges].unbind(dim=1)
    square = positions.new_full((count * _size(shape),), clip * clip)
    owner = edges.new_full(square.shape, -1)
    for edge, place in _surroundings(a, b, shape, clip):
        _, apart = _apart(a[edge], b[edge], place.to(a))
        near = apart.square().sum(dim=1)
        voxel = _join(place, shape) + sample[edge] * _size(shape)
        closer = near < square[voxel]
        edge, near, voxel = edge[closer], near[closer], voxel[closer]
        square.scatter_reduce_(0, voxel, near, "amin")
        best = near == square[voxel]
        # Edges come in order: whoever improves on an owner has a higher number.
        owner.scatter_reduce_(0, voxel[best], edge[best], "amax")
    return square, owner


def _surroundings(
    a: Tensor, b: Tensor, shape: Sequence[int], clip: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of an edge and a voxel (z, y, x) of its grown bounding box, some at a time."""
    last = torch.tensor(shape, device=a.device) - 1
    low = (torch.minimum(a, b) - clip).floor().long().clamp(min=0)
    high = torch.minimum((torch.maximum(a, b) + clip).ceil().long(), last)
    extent = (high - low + 1).clamp(min=0)
    sizes = extent.prod(dim=1)
    ends = sizes.cumsum(0)
    begin = 0
    while begin < len(a):
        done = int(ends[begin - 1]) if begin else 0
        stop = max(begin + 1, int((ends <= done + _PAIRS).sum()))
        edge = torch.repeat_interleave(torch.arange(begin, stop).to(sizes), sizes[begin:stop])
        within = torch.arange(len(edge), device=a.device) + done - (ends - sizes)[edge]
        z, y, x = _split(within, extent[edge].unbind(dim=1))
        yield edge, low[edge] + torch.stack([z, y, x], dim=1)
        begin = stop


def _apart(a: Tensor, b: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """(k, 1) share of ``b`` in the nearest point of an edge, (k, 3) from there to the place."""
    along, out = b - a, place - a
    length = along.square().sum(dim=1, keepdim=True)
    share = (out * along).sum(dim=1, keepdim=True) / torch.where(length > 0, length, 1)
    share = share.clamp(0, 1)
    return share, out - share * along


def _size(shape: Sequence[int]) -> int:
    depth, height, width = shape
    return depth * height * width


def _join(place: Tensor, shape: Sequence[int]) -> Tensor:
    z, y, x = place.unbind(dim=1)
    return (z * shape[1] + y) * shape[2] + x


def _split(index: Tensor, shape: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    plane = index // shape[2]
    return plane // shape[1], plane % shape[1], index % shape[2]
