"""How far tiles with a narrow halo are from the whole, measured on a brain.

A production halo is narrower than what the network sees. What that costs depends on the weights and
on the brain, so it is measured: bright cores are predicted in float32 with narrow halos and with
the exact one, which equals the whole volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import HaloError, UsageError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.engine.device import choose
from neuroconn.inference.engine.memory import predict_memory, room
from neuroconn.inference.engine.torch_engine import Engine
from neuroconn.inference.seeds.bright import bright_chunks
from neuroconn.network.normalisation import Constants
from neuroconn.network.receptive import ReceptiveField, check_exact, receptive_field
from neuroconn.network.weights import Model
from neuroconn.volume.regions import Pad, read_region
from neuroconn.volume.store import Image

_CORE = 64
"""Side of a measured core, roughly: all voxels of it count, those at its faces most."""


@dataclass(frozen=True, slots=True)
class Seam:
    """Difference between tiles with one halo and the whole volume, in voxels of distance."""

    halo: int
    largest: float
    p999: float
    """What 99.9 % of the voxels do not exceed."""
    mean: float
    voxels: int
    """How many voxels were compared."""


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
        If the network sees the whole tile, so that no halo is exact.
    """
    if places < 1:
        raise HaloError(f"a seam is measured at 1 place or more, got {places}")
    check_exact(model.network)
    field = receptive_field(model.network)
    side = field.stride * max(1, _CORE // field.stride)
    grid = ChunkGrid(image.levels[level].shape, (side, side, side))
    chunks = bright_chunks(image, grid, level, limit=places)
    array = image.array(level)
    _check_room(model, (side + 2 * field.halo,) * 3, field.halo, device)

    def cores(halo: int) -> list[NDArray[np.float32]]:
        tile: ZYX = (side + 2 * halo,) * 3
        engine = Engine(model, device=device, precision="float32", tile=tile, trim=halo)
        return [
            engine.predict(read_region(array, grid.tile(index, halo), pad=padding), constants)
            for index in chunks
        ]

    exact = cores(field.halo)
    return [_compare(halo, cores(halo), exact) for halo in _measurable(halos, field)]


def _check_room(model: Model, tile: ZYX, trim: int, device: str) -> None:
    """Refuse the tile with the exact halo if it does not fit; it may be twice that of a run."""
    device, here = choose(device)[0], room()
    free = here.gpu if device == "cuda" else here.available
    needed = predict_memory(model.network, tile, "float32", (trim,) * 3)
    if free is not None and needed > free:
        raise UsageError(
            f"the seam cannot be measured here: the tile with the exact halo, {tile}, needs "
            f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free"
        )


def _measurable(halos: Sequence[int], field: ReceptiveField) -> list[int]:
    return sorted({h for h in halos if 0 <= h < field.halo and h % field.stride == 0})


def _compare(halo: int, found: list[NDArray[np.float32]], exact: list[NDArray[np.float32]]) -> Seam:
    error = np.abs(np.stack(found) - np.stack(exact))
    return Seam(
        halo=halo,
        largest=float(error.max()),
        p999=float(np.percentile(error, 99.9)),
        mean=float(error.mean()),
        voxels=error.size,
    )
