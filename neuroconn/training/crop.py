"""What a source of crops hands to training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.geometry import Box
from neuroconn.training.bounds import Bounds

SPLITS = ("train", "validation", "test")
"""Parts of the data that never share a voxel or a phantom."""


@dataclass(frozen=True)
class Crop:
    """One training sample before augmentation."""

    image: NDArray[np.generic]
    """Grey levels as stored, shape (z, y, x)."""
    distance: NDArray[np.float32]
    """Clipped distance to the nearest centreline, shape (z, y, x), voxels."""
    statistics: Mapping[str, Any]
    """Intensity statistics that normalise it."""
    graph: Graph | None = None
    """The annotation: every edge that comes within the clip of the crop, whole, in voxels of the
    crop; None where no loss asks for it."""
    where: str = ""
    """Where it comes from, one phrase: for messages, and to look at it again."""
    bounds: Bounds | None = None
    """What is known of the distance, where that is less than all; ``distance`` is its lower bound
    then."""


class CropSource(Protocol):
    """Anything crops can be cut from."""

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Cut one crop; with ``background``, take it as it comes."""


def summary(image: NDArray[np.generic]) -> dict[str, Any]:
    """Intensity statistics of a crop, in the form a brain's attributes have."""
    values = image.astype(np.float64).ravel()
    points = (1, 5, 25, 50, 75, 90, 99, 99.9)
    found = dict(zip(map(str, points), map(float, np.percentile(values, points)), strict=True))
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "percentiles": found,
        "mad": float(np.median(np.abs(values - found["50"]))),
    }


def cube(start: NDArray[np.integer[Any]], size: int) -> Box:
    """Return the box of ``size`` voxels a side from a corner."""
    z, y, x = map(int, start)
    return Box((z, y, x), (z + size, y + size, x + size))


def phrase(box: Box) -> str:
    """Say where a box lies.

    Examples
    --------
    >>> phrase(Box((0, 16, 32), (96, 112, 128)))
    'z 0:96, y 16:112, x 32:128'
    """
    sides = zip("zyx", box.start, box.stop, strict=True)
    return ", ".join(f"{axis} {a}:{b}" for axis, a, b in sides)
