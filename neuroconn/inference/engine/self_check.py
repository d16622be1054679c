"""Half precision against float32, on one tile, before a worker takes its first chunk.

Some releases of torch and cuDNN compute half-precision convolutions wrongly without an error, for
large shapes only, so a GPU is checked on the tile it will be given; a CPU, whose kernels do not
depend on the size, on a small one, which takes a fraction of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX

if TYPE_CHECKING:
    from neuroconn.inference.engine.torch_engine import Engine

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


def compare(fast: Engine, exact: Engine, clip: float, tolerance: float | None = None) -> float:
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

    Returns
    -------
    float
        Largest difference, in voxels.

    Raises
    ------
    UsageError
        If the difference exceeds the tolerance: this release computes wrongly here.
    """
    limit = clip / 100 if tolerance is None else tolerance
    tile = sample_tile(fast.tile)
    error = np.abs(fast.predict(tile) - exact.predict(tile))
    common, difference = float(np.percentile(error, 99.9)), float(error.max())
    if common > limit or difference > 10 * limit:
        raise UsageError(
            f"{fast.precision} on this {fast.device} ({fast.kind}) differs from {exact.precision} "
            f"on {exact.device} by {common:.3g} voxels (at most {difference:.3g}), more than "
            f"{limit:g}: torch {torch.__version__} computes wrongly here. Set precision: float32, "
            "or install another release of torch."
        )
    return difference
