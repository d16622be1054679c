"""The distance map of a graph, differentiable in its nodes.

Which edge is nearest to a voxel is found without a gradient; only the distance to that edge has
one. The result is exact: an edge is compared with every voxel it could be nearest to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroconn.loss import snake_pairs
from neuroconn.loss.compiled import compiled
from neuroconn.loss.side_by_side import each


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Edges of a batch of graphs whose nodes are numbered through."""

    pairs: NDArray[np.int64]
    """(m, 2) nodes; twice the same node is a point. Sorted by sample."""
    first: Sequence[int]
    """Of each sample the first edge, and m at the end."""


def render(positions: Tensor, edges: Edges, shape: Sequence[int], *, clip: float) -> Tensor:
    """Distance of every voxel centre to the nearest edge of its sample, up to ``clip``.

    Parameters
    ----------
    positions : Tensor, shape (n, 3)
        Nodes of all samples in (z, y, x) voxels; may lie outside the crop.
    edges : Edges
        Of b samples.
    shape : (z, y, x) ints
        Voxels of the crop.
    clip : float
        Largest distance, and the value of every voxel where there is no edge.

    Returns
    -------
    Tensor, shape (b, 1, z, y, x)
        Of the dtype of the positions; equal up to rounding with numba and without. The gradient
        is that of the distance to the nearest edge; it is 0 on the edge itself and from the clip
        on.

    Examples
    --------
    >>> nodes = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 3.0]])
    >>> one = Edges(np.array([[0, 1]]), first=[0, 1])
    >>> render(nodes, one, (1, 3, 5), clip=10.0)[0, 0, 0, 1:]
    tensor([[1.4142, 1.0000, 1.0000, 1.0000, 1.4142],
            [1.0000, 0.0000, 0.0000, 0.0000, 1.0000]])
    """
    if positions.device.type != "cpu" or not compiled():
        return snake_pairs.distance(positions, edges, tuple(shape), clip)
    maps: Tensor = _Compiled.apply(  # type: ignore[no-untyped-call]
        positions, edges, tuple(shape), clip
    )
    return maps


def _kernel() -> Any:
    from neuroconn.loss import snake_kernel  # numba may be missing

    return snake_kernel


class _Compiled(torch.autograd.Function):
    """Samples side by side in threads: the loops run without the interpreter's lock."""

    @staticmethod
    def forward(
        ctx: Any, positions: Tensor, edges: Edges, shape: tuple[int, ...], clip: float
    ) -> Tensor:
        count = len(edges.first) - 1
        maps = torch.empty((count, 1, *shape), dtype=positions.dtype)
        owner = np.empty((count, *shape), dtype=np.int32)
        nodes, views = _doubles(positions), maps.numpy()

        def one(i: int) -> None:
            mine = edges.pairs[edges.first[i] : edges.first[i + 1]]
            _kernel().nearest(nodes, mine, clip, views[i, 0], owner[i])

        each(one, count)
        ctx.save_for_backward(positions)
        ctx.edges, ctx.owner = edges, owner
        return maps

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None]:
        (positions,) = ctx.saved_tensors
        edges, owner = ctx.edges, ctx.owner
        nodes, weights = _doubles(positions), weight.contiguous().numpy()
        gradient = np.zeros(nodes.shape)

        def one(i: int) -> None:
            mine = edges.pairs[edges.first[i] : edges.first[i + 1]]
            _kernel().pull(nodes, mine, owner[i], weights[i, 0], gradient)

        each(one, len(owner))
        return torch.from_numpy(gradient).to(positions), None, None, None


def _doubles(positions: Tensor) -> NDArray[np.float64]:
    nodes: NDArray[np.float64] = positions.detach().double().contiguous().numpy()
    return nodes
