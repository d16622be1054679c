"""Crops for training, read from a dataset."""

from __future__ import annotations

import logging

import numpy as np

from neuroconn.annotation import Graph, graph_near
from neuroconn.config.crops import DatasetSource
from neuroconn.config.train import TrainSettings
from neuroconn.errors import UsageError
from neuroconn.geometry import Box
from neuroconn.training.crop import Crop, cube, phrase
from neuroconn.training.dataset.reading import Dataset, open_dataset
from neuroconn.training.dataset.squares import decode

logger = logging.getLogger(__name__)

_TRIES = 12


class DatasetCrops:
    """Random parts of the stored crops of one split.

    What is read is one stored crop at a time: memory does not depend on the size of the dataset.
    """

    def __init__(
        self,
        source: DatasetSource,
        settings: TrainSettings,
        *,
        split: str = "train",
        graphs: bool = False,
    ) -> None:
        self._dataset = open_dataset(source.path)
        _check(self._dataset, settings)
        self._graphs = graphs
        self._size, self._clip = settings.crop, settings.clip
        self._minimum = settings.minimum_voxels
        self._numbers = self._dataset.numbers(split)
        self._enough = self._numbers[self._dataset.voxels[self._numbers] >= self._minimum]

    def __len__(self) -> int:
        return len(self._numbers)

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Read a random stored crop, and cut a part of it that holds enough neurite."""
        among = self._numbers if background or not len(self._enough) else self._enough
        number = int(rng.choice(among))
        squares = self._dataset.squares(number)
        room = self._dataset.size - self._size
        for _ in range(_TRIES):
            box = cube(rng.integers(0, room + 1, 3), self._size)
            if background or np.count_nonzero(squares[box.slices] == 0) >= self._minimum:
                break
        graph = self._graph(number, box) if self._graphs else None
        brain = self._dataset.brain_of(number)
        place = box.shift(self._dataset.box(number).start)
        where = f"crop {number} of {self._dataset.path} ({brain['name']}, {phrase(place)})"
        image = self._dataset.image(number)[box.slices]
        distance = decode(squares[box.slices], self._dataset.clip)
        np.minimum(distance, np.float32(self._clip), out=distance)
        return Crop(image, distance, brain["intensity"], graph, where)

    def _graph(self, number: int, box: Box) -> Graph:
        return graph_near(self._dataset.graph(number), box, reach=self._clip)


def _check(dataset: Dataset, settings: TrainSettings) -> None:
    """Refuse a dataset whose crops, clip or voxels do not serve the settings."""
    if settings.crop > dataset.size:
        raise UsageError(
            f"{dataset.path} holds crops of {dataset.size} voxels, and crop is {settings.crop}: "
            f"set crop: {dataset.size} or less, or make a dataset with --size {settings.crop}"
        )
    if settings.clip > dataset.clip:
        raise UsageError(
            f"distances of {dataset.path} are cut off at {dataset.clip:g} voxels, and clip is "
            f"{settings.clip:g}: set clip: {dataset.clip:g} or less (a lower clip is cut down), or "
            f"make a dataset with --clip {settings.clip:g}"
        )
    for brain in dataset.brains:
        found = tuple(float(s) for s in brain["spacing_um"])
        if np.allclose(found, settings.spacing_um, rtol=0.05):
            continue
        problem = (
            f"{brain['name']} of {dataset.path} has voxels of {found} µm (z, y, x), and spacing_um "
            f"is {settings.spacing_um}: set spacing_um: {list(found)}, so that the model says "
            "what it learnt from"
        )
        if "spacing_um" in settings.model_fields_set:
            raise UsageError(problem)
        logger.warning("%s", problem)
