"""A whole sub-volume through the engine of ``neuroconn infer``, tile by tile."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.validation import VolumeSettings
from neuroconn.geometry import Box
from neuroconn.inference.engine.torch_engine import Engine
from neuroconn.network.normalisation import Constants
from neuroconn.network.weights import Model


def tile_engine(
    model: Model, settings: VolumeSettings, *, device: str, precision: str = "auto"
) -> Engine:
    """Return an engine whose tiles lie on the network's pooling grid.

    Parameters
    ----------
    model : Model
        Network and card; the network is copied.
    settings : VolumeSettings
        Core and halo, both rounded up to the grid.
    device : {"cpu", "cuda"}
        Where it runs.
    precision : str, optional
        Arithmetic of the body.
    """
    stride = model.network.stride
    core = ceil(min(settings.core, settings.edge) / stride) * stride
    halo = ceil(settings.halo / stride) * stride
    side = core + 2 * halo
    return Engine(
        model,
        device=device,
        precision=precision,
        tile=(side, side, side),
        trim=halo,
        slots=1,
        check=False,
    )


def predict_volume(
    engine: Engine, image: NDArray[Any], constants: Constants
) -> NDArray[np.float32]:
    """Distances of a volume of any shape.

    Parameters
    ----------
    engine : Engine
        Its trim is the halo.
    image : ndarray, shape (z, y, x)
        Grey values; reflected at the faces, as ``infer`` does it.
    constants : Constants
        Their normalisation.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
    """
    beyond = [
        (t, t + -n % c) for n, c, t in zip(image.shape, engine.shape, engine.trim, strict=True)
    ]
    padded = np.pad(image, beyond, mode="reflect")
    found = np.empty(image.shape, np.float32)
    for core in Box.of_shape(_shape(image)).split(engine.shape):
        tile = tuple(slice(a, a + n) for a, n in zip(core.start, engine.tile, strict=True))
        answer = engine.predict(np.ascontiguousarray(padded[tile]), constants)
        found[core.slices] = answer[tuple(slice(n) for n in core.shape)]
    return found


def _shape(image: NDArray[Any]) -> tuple[int, int, int]:
    z, y, x = image.shape
    return z, y, x
