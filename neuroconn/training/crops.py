"""Crops of several sources, mixed and numbered.

Crop number ``i`` is a pure function of (settings, i): a run that resumes at iteration ``n`` sees
the crops it would have seen, with nothing to save but the number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from neuroconn.config.train import TrainSettings
from neuroconn.errors import UsageError
from neuroconn.training.brain_crops import BrainCrops
from neuroconn.training.crop import SPLITS, Crop, CropSource, summary
from neuroconn.training.dataset.source import DatasetCrops
from neuroconn.training.phantom_crops import PhantomCrops
from neuroconn.training.tissue_crops import TissueCrops

__all__ = [
    "SPLITS",
    "BrainCrops",
    "Crop",
    "CropSource",
    "DatasetCrops",
    "Mixture",
    "PhantomCrops",
    "summary",
]

logger = logging.getLogger(__name__)


class Mixture:
    """Crops of several sources, in proportion to their weights, numbered.

    Parameters
    ----------
    settings : TrainSettings
        Sources, size, clip and seed.
    stream : int, optional
        Which split: 0 train, 1 validation, 2 test. They share no phantom.
    graphs : bool, optional
        Whether crops bring the annotation's graph, for losses that want it.
    """

    def __init__(self, settings: TrainSettings, *, stream: int = 0, graphs: bool = False) -> None:
        self._settings, self._stream = settings, stream
        found = list(_sources(settings, SPLITS[stream], graphs))
        if not found:
            raise UsageError(
                f"no source has crops for {SPLITS[stream]}: make a dataset with a share for it "
                "(split in its settings), or give phantoms a weight above 0"
            )
        self._sources = [source for source, _ in found]
        weights = np.asarray([weight for _, weight in found])
        self._shares = weights / weights.sum()

    def rng(self, number: int) -> np.random.Generator:
        """Return the generator that every random choice for crop ``number`` comes from."""
        return np.random.default_rng([self._settings.seed, self._stream, number])

    def crop(self, number: int) -> tuple[Crop, np.random.Generator]:
        """Return crop ``number``, and its generator for what is done to it next."""
        rng = self.rng(number)
        source = self._sources[rng.choice(len(self._sources), p=self._shares)]
        background = bool(rng.random() < self._settings.background)
        return source.crop(rng, background=background), rng


def _sources(
    settings: TrainSettings, split: str, graphs: bool
) -> Iterator[tuple[CropSource, float]]:
    """Open every source that has crops of a split, with its weight."""
    if settings.phantoms.weight:
        phantoms = PhantomCrops(settings.phantoms, settings, split=split, graphs=graphs)
        yield phantoms, settings.phantoms.weight
    for brain in settings.brains:
        yield BrainCrops(brain, settings, split=split, graphs=graphs), brain.weight
    for tissue in settings.tissues if split == "train" else ():  # nothing there to judge by
        yield TissueCrops(tissue, settings), tissue.weight
    for dataset in settings.datasets:
        crops = DatasetCrops(dataset, settings, split=split, graphs=graphs)
        if len(crops):
            yield crops, dataset.weight
        else:
            logger.warning("%s has no crops for %s and is left out there", dataset.path, split)
