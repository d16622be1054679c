"""How far a trained network looks in practice, which is less than it could.

The receptive field follows from the layers; how much of it matters follows from the weights. Where
99.9 % of the gradient lies within 30 voxels, a halo of 32 loses little; the seam error says how
much, on a brain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX
from neuroconn.network.allocator import keep_pages
from neuroconn.network.blackbox import BlackBox
from neuroconn.network.weights import Model

SHARES = (0.9, 0.99, 0.999)
LARGEST = 128
"""Side of the tile, at most: gradients keep every activation in memory."""


@dataclass(frozen=True, slots=True)
class Radius:
    """A cube around an output voxel, and what of its gradient lies in there."""

    share: float
    radius: int
    """Half the side of the cube, in voxels."""


def tile_side(halo: int, stride: int) -> int:
    """Side of a tile that holds what an output voxel sees, as far as memory allows."""
    return min(2 * halo + stride, LARGEST // stride * stride)


def effective_radii(model: Model, tile: NDArray[np.float32], places: int = 4) -> list[Radius]:
    """Measure within what radius the shares of the absolute gradient of output voxels lie.

    Parameters
    ----------
    model : Model
        Trained.
    tile : ndarray of float32, shape (z, y, x)
        A normalised image; a bright place of a brain says more than noise.
    places : int, optional
        Output voxels, of those near the middle whose distance is neither 0 nor cut off, since
        there the gradient is.

    Returns
    -------
    list of Radius
        One for each of :data:`SHARES`.

    Raises
    ------
    UsageError
        If torch cannot differentiate the model, or the model is flat on this tile.
    """
    network = model.network
    if isinstance(network, BlackBox) and not network.differentiable:
        raise UsageError("an ONNX model has no gradient here; its reach is measured by changes")
    keep_pages()
    image = torch.from_numpy(tile)[None, None].clone().requires_grad_()
    with torch.enable_grad():
        distance = network(image)[0, 0]
    histogram = np.zeros(max(tile.shape), np.float64)
    for voxel in _lively(distance.detach().numpy(), model.card.clip, places):
        (gradient,) = torch.autograd.grad(distance[voxel], image, retain_graph=True)
        weights = gradient[0, 0].abs().double().numpy()
        np.add.at(histogram, _distance(voxel, tile.shape), weights)
    if histogram.sum() == 0:
        raise UsageError("no change of the tile changes the answer: the model is not trained")
    reached = np.cumsum(histogram) / histogram.sum()
    return [Radius(share, int(np.searchsorted(reached, share))) for share in SHARES]


def _lively(distance: NDArray[np.float32], clip: float, places: int) -> list[ZYX]:
    """Output voxels near the middle with a distance between 0 and the clip."""
    lively = (distance > 0.05 * clip) & (distance < 0.95 * clip)
    if not lively.any():
        lively = distance > 0
    found = np.argwhere(lively)
    middle = np.array(distance.shape) // 2
    nearest = np.argsort(np.abs(found - middle).max(axis=1), kind="stable")
    # Spread over the nearest few hundred: neighbours have nearly the same gradient.
    chosen = nearest[: 100 * places : 100] if len(nearest) > 100 * places else nearest[:places]
    return [(int(z), int(y), int(x)) for z, y, x in found[chosen]]


def _distance(voxel: ZYX, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Largest of the distances along the axes to ``voxel``, for every voxel."""
    along = [np.abs(np.arange(n) - v) for n, v in zip(shape, voxel, strict=True)]
    z, y, x = np.ix_(*along)
    return np.maximum(np.maximum(z, y), x)
