"""Where training crops come from: random phantoms and annotated brains.

Crop number ``i`` is a pure function of (settings, i): a run that resumes at iteration ``n`` sees
the crops it would have seen, with nothing to save but the number.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import (
    Forest,
    check_alignment,
    distance_block,
    read_forest,
    render,
)
from neuroconn.config import resolve
from neuroconn.config.train import BrainSource, PhantomSource, TrainSettings
from neuroconn.errors import AnnotationError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.phantom import Variety, random_phantom
from neuroconn.volume import open_image, read_region

logger = logging.getLogger(__name__)

_TRIES = 12


@dataclass(frozen=True)
class Crop:
    """One training sample before augmentation."""

    image: NDArray[np.generic]
    """Grey levels as stored, shape (z, y, x)."""
    distance: NDArray[np.float32]
    """Clipped distance to the nearest centreline, shape (z, y, x), voxels."""
    statistics: Mapping[str, Any]
    """Intensity statistics that normalise it."""


class CropSource(Protocol):
    """Anything crops can be cut from."""

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Cut one crop; with ``background``, take it as it comes."""


class PhantomCrops:
    """A new random phantom for every crop."""

    def __init__(self, source: PhantomSource, settings: TrainSettings) -> None:
        self._variety = resolve(Variety, source.variety, source="phantoms.variety")
        self._size, self._clip = settings.crop, settings.clip
        self._minimum = settings.minimum_voxels
        edge = settings.crop + 2 * source.margin
        self._shape: ZYX = (edge, edge, edge)

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Draw phantoms until one holds enough neurite, then cut the crop out of its middle."""
        margin = (self._shape[0] - self._size) // 2
        for _ in range(_TRIES):
            phantom = random_phantom(
                self._shape, seed=int(rng.integers(2**62)), variety=self._variety
            )
            start = rng.integers(0, 2 * margin + 1, 3)
            box = _box(start, self._size)
            distance = phantom.distance(box, clip=self._clip)
            count = int(np.count_nonzero(distance <= np.sqrt(3) / 2))
            if background or count >= self._minimum:
                break
        image = phantom.image(box)
        return Crop(image, distance, summary(image))


class BrainCrops:
    """Crops of an annotated brain around random nodes of its annotation."""

    def __init__(self, source: BrainSource, settings: TrainSettings) -> None:
        brain = open_image(source.brain)
        if source.units != "voxel" and not brain.spacing_known:
            raise AnnotationError(
                f"{source.brain} does not say how long a voxel is, and its annotation is in µm: "
                "convert it again with --spacing Z Y X, or give units: voxel"
            )
        self._array = brain.array(0)
        self._shape: ZYX = brain.levels[0].shape
        if not isinstance(found := brain.attributes.get("intensity"), Mapping):
            raise VolumeError(
                f"{source.brain} has no intensity statistics, which normalise its crops: make it "
                "with neuroconn convert"
            )
        self._statistics: Mapping[str, Any] = found
        self._forest: Forest = read_forest(
            source.swc,
            units=source.units,
            frame=brain.frame,
            shape=self._shape,
            y_flip=source.y_flip,
        )
        self._size, self._clip = settings.crop, settings.clip
        self._minimum = settings.minimum_voxels
        if min(self._shape) < 1 or not len(self._forest.positions):
            raise AnnotationError(f"{source.brain}: no annotation to learn from")
        # A tracing with y flipped lies inside the brain and beside every neurite of it.
        alignment = check_alignment(self._forest, self._array)
        logger.info("%s: %s", source.brain, alignment)
        for warning in alignment.warnings:
            logger.warning("%s: %s", source.brain, warning)

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Cut around a random node until the crop holds enough neurite."""
        limit = np.maximum(np.asarray(self._shape) - self._size, 0)
        for _ in range(_TRIES):
            node = self._forest.positions[rng.integers(len(self._forest.positions))]
            start = np.floor(node - rng.uniform(0, self._size, 3)).astype(int)
            if background:
                start = rng.integers(0, limit + 1)
            box = _box(np.clip(start, 0, limit), self._size)
            if background or np.count_nonzero(render(self._forest, box)) >= self._minimum:
                break
        image = read_region(self._array, box, pad="reflect")
        distance = distance_block(self._forest, box, clip=self._clip)
        return Crop(image, distance, self._statistics)


class Mixture:
    """Crops of several sources, in proportion to their weights, numbered."""

    def __init__(self, settings: TrainSettings, *, stream: int = 0) -> None:
        self._settings, self._stream = settings, stream
        self._sources: list[CropSource] = []
        weights: list[float] = []
        if settings.phantoms.weight:
            self._sources.append(PhantomCrops(settings.phantoms, settings))
            weights.append(settings.phantoms.weight)
        for brain in settings.brains:
            self._sources.append(BrainCrops(brain, settings))
            weights.append(brain.weight)
        self._shares = np.asarray(weights) / sum(weights)

    def rng(self, number: int) -> np.random.Generator:
        """Return the generator that every random choice for crop ``number`` comes from."""
        return np.random.default_rng([self._settings.seed, self._stream, number])

    def crop(self, number: int) -> tuple[Crop, np.random.Generator]:
        """Return crop ``number``, and its generator for what is done to it next."""
        rng = self.rng(number)
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        background = bool(rng.random() < self._settings.background)
        return source.crop(rng, background=background), rng


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


def _box(start: NDArray[np.integer[Any]], size: int) -> Box:
    z, y, x = map(int, start)
    return Box((z, y, x), (z + size, y + size, x + size))
