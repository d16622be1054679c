"""How far tiles with a narrow halo are from the whole, measured on a brain.

A production halo is narrower than what the network sees. What that costs depends on the weights and
on the brain, so it is measured: bright cores are predicted in float32 with narrow halos and with
the exact one, which equals the whole volume. Where a network sees more than fits into memory, or
all of a tile, they are compared with the widest halo that fits, up to 128 voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.engine.device import check_size, choose
from neuroconn.inference.engine.memory import predict_memory, room
from neuroconn.inference.engine.torch_engine import Engine
from neuroconn.inference.seeds.bright import bright_chunks
from neuroconn.network.base import Network
from neuroconn.network.normalisation import Constants
from neuroconn.network.receptive import (
    ReceptiveField,
    check_exact,
    check_statistics,
    receptive_field,
)
from neuroconn.network.weights import Model
from neuroconn.volume.regions import Pad, read_region
from neuroconn.volume.store import Image

_CORE = 64
"""Side of a measured core, roughly: all voxels of it count, those at its faces most."""
_WIDEST = 128
"""Halo to compare with, at most, where none is exact."""


class _Reference(NamedTuple):
    """What narrow halos are compared with."""

    side: int
    halo: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Seam:
    """Difference between tiles with one halo and a wider one, in voxels of distance."""

    halo: int
    largest: float
    p999: float
    """What 99.9 % of the voxels do not exceed."""
    mean: float
    voxels: int
    """How many voxels were compared."""
    reference: int
    """Halo they were compared with."""
    exact: bool
    """Whether that one equals the whole volume."""


def seam_errors(
    image: Image,
    model: Model,
    constants: Constants,
    halos: Sequence[int] = (16, 32, 48),
    *,
    level: int = 0,
    places: int = 3,
    device: str = "auto",
    padding: Pad = "reflect",
) -> list[Seam]:
    """Measure the seam error of narrow halos on the brightest places of a brain.

    Parameters
    ----------
    image : Image
        The brain.
    model : Model
        What predicts.
    constants : Constants
        The brain's normalisation.
    halos : sequence of int, optional
        Halos to measure; those off the pooling grid, or as wide as the exact one, are left out.
    level : int, optional
        Level of the brain to look at.
    places : int, optional
        How many cores to compare.
    device : {"auto", "cpu", "cuda"}, optional
        Where the network runs.
    padding : str, optional
        What the network sees outside the brain.

    Returns
    -------
    list of Seam
        One for each halo that was measured, in increasing order.

    Raises
    ------
    HaloError
        If the network normalises over its tile, so that no halo makes tiles agree.
    UsageError
        If no halo to compare with fits into memory.
    """
    if places < 1:
        raise HaloError(f"a seam is measured at 1 place or more, got {places}")
    check_statistics(model.network)
    reference = _reference(model, device)
    side = reference.side
    grid = ChunkGrid(image.levels[level].shape, (side, side, side))
    chunks = bright_chunks(image, grid, level, limit=places)
    array = image.array(level)

    def cores(halo: int) -> list[NDArray[np.float32]]:
        tile: ZYX = (side + 2 * halo,) * 3
        engine = Engine(model, device=device, precision="float32", tile=tile, trim=halo)
        return [
            engine.predict(read_region(array, grid.tile(index, halo), pad=padding), constants)
            for index in chunks
        ]

    stride = model.network.stride
    wide = cores(reference.halo)
    measured = sorted({h for h in halos if 0 <= h < reference.halo and h % stride == 0})
    return [_compare(halo, cores(halo), wide, reference) for halo in measured]


def _reference(model: Model, device: str) -> _Reference:
    """Return the exact halo if its tile fits, else the widest that does."""
    network, place = model.network, choose(device)[0]
    stride, here = network.stride, room()
    free = here.gpu if place == "cuda" else here.available
    wanted = [
        _Reference(max(1, _CORE // stride) * stride, halo, exact=False)
        for halo in range(_WIDEST // stride * stride, 0, -stride)
    ]
    if (field := _bounded(network)) is not None:
        grid = max(field.stride, field.grid)
        wanted.insert(0, _Reference(max(1, _CORE // grid) * grid, field.halo, exact=True))
    for found in wanted:
        needed = _needed(network, found)
        if needed is not None and (free is None or needed <= free):
            return found
    raise UsageError(
        f"the seam cannot be measured here: a tile with a halo of {wanted[-1].halo} does not fit "
        f"into the {(free or 0) / 2**30:.1f} GiB that are free"
    )


def _bounded(network: Network) -> ReceptiveField | None:
    try:
        check_exact(network)
        return receptive_field(network)
    except HaloError:
        return None


def _needed(network: Network, found: _Reference) -> int | None:
    """Bytes of a tile; None if it is too large for any memory."""
    tile, trim = (found.side + 2 * found.halo,) * 3, (found.halo,) * 3
    try:
        check_size(network, tile, trim)
    except HaloError:
        return None
    return predict_memory(network, tile, "float32", trim)


def _compare(
    halo: int,
    found: list[NDArray[np.float32]],
    wide: list[NDArray[np.float32]],
    reference: _Reference,
) -> Seam:
    error = np.abs(np.stack(found) - np.stack(wide))
    return Seam(
        halo=halo,
        largest=float(error.max()),
        p999=float(np.percentile(error, 99.9)),
        mean=float(error.mean()),
        voxels=error.size,
        reference=reference.halo,
        exact=reference.exact,
    )
