"""A new random phantom for every crop."""

from __future__ import annotations

import numpy as np

from neuroconn.config import resolve
from neuroconn.config.crops import PhantomSource
from neuroconn.config.train import TrainSettings
from neuroconn.geometry import ZYX
from neuroconn.phantom import Variety, random_phantom
from neuroconn.training.crop import SPLITS, Crop, cube, phrase, summary

_TRIES = 12


class PhantomCrops:
    """A new random phantom for every crop.

    The seed of a phantom leaves the number of its split when divided by the number of splits, so
    no phantom of one split can be a phantom of another.
    """

    def __init__(
        self,
        source: PhantomSource,
        settings: TrainSettings,
        *,
        split: str = "train",
        graphs: bool = False,
    ) -> None:
        self._variety = resolve(Variety, source.variety, source="phantoms.variety")
        self._source, self._graphs = source, graphs
        self._size, self._clip = settings.crop, settings.clip
        self._minimum = settings.minimum_voxels
        self._split = SPLITS.index(split)
        edge = settings.crop + 2 * source.margin
        self._shape: ZYX = (edge, edge, edge)

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Draw phantoms until one holds enough neurite, then cut the crop out of its middle."""
        margin = (self._shape[0] - self._size) // 2
        for _ in range(_TRIES):
            seed = int(rng.integers(2**60)) * len(SPLITS) + self._split
            phantom = random_phantom(self._shape, seed=seed, variety=self._variety)
            if self._source.displacement:
                phantom = phantom.displaced(
                    self._source.displacement, pitch=self._source.displacement_pitch
                )
            box = cube(rng.integers(0, 2 * margin + 1, 3), self._size)
            distance = phantom.distance(box, clip=self._clip)
            count = int(np.count_nonzero(distance <= np.sqrt(3) / 2))
            if background or count >= self._minimum:
                break
        image = phantom.image(box)
        graph = phantom.graph(box, reach=self._clip) if self._graphs else None
        where = f"phantom seed {seed}, {phrase(box)}"
        return Crop(image, distance, summary(image), graph, where)
