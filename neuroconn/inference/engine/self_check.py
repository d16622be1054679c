"""Half precision against float32, on one tile, before a worker takes its first chunk.

Some releases of torch and cuDNN compute half-precision convolutions wrongly without an error, for
large shapes only, so a GPU is checked on the tile it will be given; a CPU, whose kernels do not
depend on the size, on a small one, which takes a fraction of a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX

if TYPE_CHECKING:
    from neuroconn.inference.engine.torch_engine import Engine

logger = logging.getLogger(__name__)

SIDE = 64
"""Roughly the side of the tile that a CPU is checked on."""


def sample_tile(shape: ZYX) -> NDArray[np.float32]:
    """Normalised noise crossed by bright lines: the same tile on every machine.

    Returns
    -------
    ndarray of float32, shape ``shape``
    """
    tile = np.random.default_rng(0).normal(0.0, 0.15, shape).astype(np.float32)
    z, y, x = (n // 2 for n in shape)
    tile[z, y, :] += 1.5
    tile[z, :, x] += 1.0
    tile[:, y, x] += 0.5
    return tile


def small_tile(tile: ZYX, stride: int) -> ZYX:
    """Shape of the tile that a CPU is checked on: on the pooling grid, not above ``tile``."""
    side = stride * max(1, -(-SIDE // stride))
    z, y, x = (min(n, side) for n in tile)
    return z, y, x


def compare(
    fast: Engine,
    exact: Engine,
    clip: float,
    tolerance: float | None = None,
    rounded: Callable[[], Engine] | None = None,
) -> float:
    """Compare two engines for the same tiles.

    Parameters
    ----------
    fast, exact : Engine
        The one in question, and the one to go by.
    clip : float
        Of the model, in voxels.
    tolerance : float, optional
        What 99.9 % of the voxels may differ by, in voxels; by default a hundredth of the clip.
        Single voxels may differ by ten times as much: rounding grows where the network is
        undecided, while a wrong kernel spoils whole regions.
    rounded : callable, optional
        Makes an engine like ``exact`` that rounds as ``fast`` does. What rounding alone changes is
        in the nature of the network, not the fault of a kernel: twice as much is let pass, up to a
        twentieth of the clip, with a warning.

    Returns
    -------
    float
        Largest difference, in voxels.

    Raises
    ------
    UsageError
        If the difference exceeds the tolerance: this release computes wrongly here, or the network
        does not bear half precision.
    """
    limit = clip / 100 if tolerance is None else tolerance
    tile = sample_tile(fast.tile)
    right = exact.predict(tile)
    common, most = _differences(fast.predict(tile), right)
    if common <= limit and most <= 10 * limit:
        return most
    what = (
        f"{fast.precision} on this {fast.device} ({fast.kind}) differs from {exact.precision} on "
        f"{exact.device} by {common:.3g} voxels (at most {most:.3g}), more than {limit:g}"
    )
    own = _differences(rounded().predict(tile), right)[0] if rounded is not None else 0.0
    if common > 2 * own:
        raise UsageError(
            f"{what}: torch {torch.__version__} computes wrongly here. Set precision: float32, or "
            "install another release of torch."
        )
    if common > clip / 20:
        raise UsageError(
            f"{what}: this network does not bear rounding. Set precision: float32, or train "
            "it longer."
        )
    logger.warning(
        "%s: so sensitive is this network. precision: float32 is exact, and slower", what
    )
    return most


def round_results(network: nn.Module, dtype: torch.dtype) -> None:
    """Round the weights of a float32 network, and from now on what each of its layers returns."""

    def rounded(_: nn.Module, __: object, result: Tensor) -> Tensor:
        return result.to(dtype).to(result.dtype)

    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(weights.to(dtype))
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(rounded)


def _differences(found: NDArray[np.float32], right: NDArray[np.float32]) -> tuple[float, float]:
    """Return what 99.9 % of the voxels differ by at most, and what all do."""
    error = np.abs(found - right)
    return float(np.percentile(error, 99.9)), float(error.max())
