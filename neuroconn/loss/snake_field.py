"""The force on a snake: the smoothed gradient of a map, at the nodes and nowhere else.

The field is a correlation with separable kernels, and it is read by trilinear interpolation, which
is separable too. So the value at a point is one weighted sum over a small window of the map, and
the field itself, 96**3 vectors of which a snake reads a few hundred, is never made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class Field:
    """External field ``G`` of distance maps: how fast they rise, along each axis [1]_.

    Every component is a correlation with the derivative of a Gaussian along its axis and with the
    Gaussian along the others; beyond the faces a map continues with its outermost voxels.

    Parameters
    ----------
    volumes : Tensor, shape (batch, 1, z, y, x)
        Distance maps.
    sigma : float
        Of the Gaussian, in voxels; kernels reach ``max(1, round(2 sigma))`` voxels, and each is
        divided by the sum of its magnitudes.
    external : float
        Factor of the field. A map that rises by 1 a voxel has a field of ``external`` times 1.000
        for sigma 0.5, 1.309 for 1 and 2.325 for 2.

    References
    ----------
    .. [1] Oner et al., "Adjusting the Ground Truth Annotations for Connectivity-Based Learning to
       Delineate", arXiv:2112.02781.

    Examples
    --------
    >>> ramp = torch.arange(5.0).expand(1, 1, 5, 5, 5)
    >>> field = Field(ramp, sigma=0.5, external=2.0)
    >>> field(torch.tensor([0]), torch.tensor([[2.0, 2.0, 1.5]]))
    tensor([[0., 0., 2.]])
    """

    def __init__(self, volumes: Tensor, *, sigma: float, external: float) -> None:
        self._shape = volumes.shape[2:]
        self._values: Tensor = _Flat.apply(volumes)  # type: ignore[no-untyped-call]
        self._external = external
        self._rise, self._smooth = (taps.to(volumes) for taps in kernels(sigma))

    def __call__(self, sample: Tensor, positions: Tensor) -> Tensor:
        """Interpolate the field at points; differentiable in the maps and the points.

        Parameters
        ----------
        sample : Tensor of int64, shape (n,)
            Which volume a point belongs to.
        positions : Tensor, shape (n, 3)
            In voxels. Within one voxel beyond the faces the field falls to 0.

        Returns
        -------
        Tensor, shape (n, 3)
        """
        places, rises, smooths = [], [], []
        for coordinate, size in zip(positions.unbind(dim=1), self._shape, strict=True):
            below, corners = _corners(coordinate, size)
            places.append(_window(below, len(self._rise), size))
            rises.append(_spread(corners, self._rise))
            smooths.append(_spread(corners, self._smooth))
        # For each axis (n, 3, w): the weights along it, for every component of the field.
        z, y, x = (
            torch.stack([rises[axis] if axis == part else smooths[axis] for part in range(3)], 1)
            for axis in range(3)
        )
        values = self._gather(sample, *places)
        return self._external * torch.einsum("nabc,nia,nib,nic->ni", values, z, y, x)

    def _gather(self, sample: Tensor, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """(n, w, w, w) voxels around each point."""
        depth, height, width = self._shape
        planes = sample[:, None] * depth + z
        rows = planes[:, :, None] * height + y[:, None]
        index = rows[..., None] * width + x[:, None, None]
        return self._values.gather(0, index.flatten(), sparse_grad=True).reshape(index.shape)


def kernels(sigma: float) -> tuple[Tensor, Tensor]:
    """Taps of the derivative of a Gaussian and of the Gaussian; magnitudes sum to 1.

    Examples
    --------
    >>> kernels(0.5)[0]
    tensor([-0.5000, 0.0000, 0.5000], dtype=torch.float64)
    """
    reach = max(1, round(2 * sigma))
    n = torch.arange(-reach, reach + 1, dtype=torch.float64)
    smooth = torch.exp(-n.square() / (2 * sigma**2))
    # Scaled so that the taps beside the middle never underflow, however narrow the Gaussian.
    rise = n * torch.exp((1 - n.square().clamp(min=1)) / (2 * sigma**2))
    return rise / rise.abs().sum(), smooth / smooth.sum()


def _corners(coordinate: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(n,) voxel below each coordinate, (n, 2) weights of it and the next; 0 past the faces."""
    below = coordinate.detach().floor()
    share = coordinate - below
    corner = torch.stack([below, below + 1], dim=1)
    within = (corner >= 0) & (corner <= size - 1)
    return below.long(), torch.stack([1 - share, share], dim=1) * within


def _spread(corners: Tensor, taps: Tensor) -> Tensor:
    """(n, 2 r + 2) weights of the voxels from ``below - r`` to ``below + 1 + r``."""
    return corners @ torch.stack([functional.pad(taps, (0, 1)), functional.pad(taps, (1, 0))])


def _window(below: Tensor, taps: int, size: int) -> Tensor:
    """(n, 2 r + 2) indices of those voxels; past a face, its outermost voxel."""
    offsets = torch.arange(taps + 1, device=below.device) - taps // 2
    return (below[:, None] + offsets).clamp(0, size - 1)


class _Flat(torch.autograd.Function):
    """All voxels in a row, whose gradient is dense again.

    The steps of a snake read few voxels each; their gradients stay sparse until they are summed.
    """

    @staticmethod
    def forward(ctx: Any, volumes: Tensor) -> Tensor:
        ctx.shape = volumes.shape
        return volumes.reshape(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        dense = gradient.to_dense() if gradient.is_sparse else gradient
        return dense.reshape(ctx.shape)
