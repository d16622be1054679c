"""Brains, models and a network that costs nothing, for the benchmarks; workers import it too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn import Phantom, convert
from neuroconn.geometry import ZYX
from neuroconn.inference.plan import Plan
from neuroconn.network.normalisation import Constants
from neuroconn.phantom import Growth, grow

CORES = len(os.sched_getaffinity(0))


def phantom(shape: ZYX, axons: int, length: float = 600.0) -> Phantom:
    """Grow axons through default tissue."""
    rng = np.random.default_rng(0)
    growth = Growth(length=length, persistence=150.0)
    roots = rng.uniform(0.2, 0.8, (axons, 3)) * shape
    return Phantom(shape, [grow(growth, rng, root=tuple(root)) for root in roots], seed=1)


def phantom_brain(folder: Path, side: int, axons: int) -> Path:
    """Draw a cube with axons and convert it."""
    folder.mkdir(parents=True, exist_ok=True)
    source, brain = folder / "phantom.tif", folder / "brain.ome.zarr"
    tifffile.imwrite(source, phantom((side,) * 3, axons).image())
    convert(source, brain, spacing=(1.0, 1.0, 1.0))
    return brain


def untrained(folder: Path, levels: int = 1, width: int = 2) -> Path:
    """Save a UNet with random weights; speed does not depend on them."""
    import torch

    from neuroconn.network import ModelCard, Normalisation, UNet, save_model

    torch.manual_seed(0)
    network = UNet(levels=levels, width=width).eval()
    card = ModelCard(name="untrained", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    save_model(folder, network, card)
    return folder


def shipped_or(folder: Path, levels: int = 3, width: int = 16) -> str:
    """Return the shipped model, or one of its size without training where there is none."""
    from neuroconn.errors import ModelError
    from neuroconn.network import load_card

    try:
        load_card("default")
    except ModelError:
        return str(untrained(folder, levels, width))
    return "default"


class NoNetwork:
    """Answers "far from everything" at once: what remains is reading, writing and scheduling."""

    def __init__(self, trim: int) -> None:
        self._trim = trim

    def predict(self, raw: NDArray[Any], constants: Constants) -> NDArray[np.float32]:
        z, y, x = (n - 2 * self._trim for n in raw.shape)
        return np.full((z, y, x), 10, np.float32)


def no_network(plan: Plan, threads: int, exact: bool) -> NoNetwork:
    """The factory that a run sends to its workers."""
    return NoNetwork(plan.trim)
