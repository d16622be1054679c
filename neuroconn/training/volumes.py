"""Held-out sub-volumes, larger than a crop where their source allows it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from neuroconn.config.train import TrainSettings
from neuroconn.training.brain_crops import BrainCrops
from neuroconn.training.crop import Crop
from neuroconn.training.dataset.reading import open_dataset
from neuroconn.training.dataset.source import DatasetCrops
from neuroconn.training.phantom_crops import PhantomCrops

_STREAM = 3
"""Of random numbers; those below it belong to crops."""
_SPLIT = "validation"

logger = logging.getLogger(__name__)


def held_out_volumes(settings: TrainSettings) -> list[Crop]:
    """Draw or cut the volumes that the settings ask for; the same at every call.

    Returns
    -------
    list of Crop
        Up to ``volumes.edge`` voxels a side: what is held out of a brain may be thinner, and what
        a dataset stores smaller.
    """
    return [*_phantoms(settings), *_brains(settings), *_datasets(settings)]


def _phantoms(settings: TrainSettings) -> Iterator[Crop]:
    if not settings.phantoms.weight:
        return
    # An annotation that strays is for learning; what is judged is where the neurites are.
    source = settings.phantoms.model_copy(update={"displacement": 0.0})
    larger = settings.model_copy(update={"crop": settings.volumes.edge})
    crops = PhantomCrops(source, larger, split=_SPLIT)
    for number in range(settings.volumes.phantoms):
        yield crops.crop(_rng(settings, 0, number), background=False)


def _brains(settings: TrainSettings) -> Iterator[Crop]:
    if not settings.volumes.brains:
        return
    for number, brain in enumerate(settings.brains):
        crops = BrainCrops(brain, settings, split=_SPLIT)
        volume = crops.volume(_rng(settings, 1, number), settings.volumes.edge)
        if volume is not None:
            yield volume


def _datasets(settings: TrainSettings) -> Iterator[Crop]:
    for number, source in enumerate(settings.datasets):
        edge = min(settings.volumes.edge, open_dataset(source.path).size)
        larger = settings.model_copy(update={"crop": edge})
        crops = DatasetCrops(source, larger, split=_SPLIT)
        rng = _rng(settings, 2, number)
        for _ in range(settings.volumes.stored if len(crops) else 0):
            yield crops.crop(rng, background=False)


def _rng(settings: TrainSettings, kind: int, number: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, _STREAM, kind, number])
