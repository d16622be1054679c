"""Crops cut from annotated brains while the network learns."""

from __future__ import annotations

import logging

import numpy as np

from neuroconn.annotation import Forest, Graph, distance_block, graph_near, render
from neuroconn.annotation.placement import inside
from neuroconn.config.crops import BrainSource, SplitSettings
from neuroconn.config.train import TrainSettings
from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, Box
from neuroconn.training.annotated import open_annotated
from neuroconn.training.crop import Crop, cube, phrase
from neuroconn.training.dataset.regions import regions
from neuroconn.volume import read_region

logger = logging.getLogger(__name__)

_TRIES = 12


class BrainCrops:
    """Crops of an annotated brain around random nodes of its annotation.

    A slab of the brain is held out: crops of other splits than ``train`` come from there, and
    share no voxel with those the network learns from.
    """

    def __init__(
        self,
        source: BrainSource,
        settings: TrainSettings,
        *,
        split: str = "train",
        graphs: bool = False,
    ) -> None:
        self._brain = open_annotated(source)
        self._array = self._brain.image.array(0)
        self._graph = Graph.from_forest(self._brain.forest) if graphs else None
        self._size, self._clip = settings.crop, settings.clip
        self._minimum = settings.minimum_voxels
        self._region = _region(source, settings, split, self._brain.forest, self._brain.shape)
        nodes = self._brain.forest.positions
        here = inside(nodes - self._region.start, self._region.shape)
        self._nodes = nodes[here] if here.any() else nodes

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Cut around a random node until the crop holds enough neurite."""
        forest = self._brain.forest
        first, last = np.asarray(self._region.start), np.asarray(self._region.stop) - self._size
        for _ in range(_TRIES):
            node = self._nodes[rng.integers(len(self._nodes))]
            start = np.floor(node - rng.uniform(0, self._size, 3)).astype(int)
            if background:
                start = rng.integers(first, last + 1)
            box = cube(np.clip(start, first, last), self._size)
            if background or np.count_nonzero(render(forest, box)) >= self._minimum:
                break
        image = read_region(self._array, box)
        distance = distance_block(forest, box, clip=self._clip)
        graph = None if self._graph is None else graph_near(self._graph, box, reach=self._clip)
        where = f"{self._brain.name}, {phrase(box)}"
        return Crop(image, distance, self._brain.statistics, graph, where)

    def volume(self, rng: np.random.Generator, edge: int) -> Crop | None:
        """Cut up to ``edge`` voxels a side around a random node; None if nothing is held out."""
        if self._region == Box.of_shape(self._brain.shape):
            return None
        size = np.minimum(self._region.shape, edge)
        node = self._nodes[rng.integers(len(self._nodes))]
        first, last = np.asarray(self._region.start), np.asarray(self._region.stop) - size
        z, y, x = map(int, np.clip(np.floor(node - size / 2).astype(int), first, last))
        box = Box((z, y, x), (z + int(size[0]), y + int(size[1]), x + int(size[2])))
        distance = distance_block(self._brain.forest, box, clip=self._clip)
        where = f"{self._brain.name}, {phrase(box)}"
        return Crop(read_region(self._array, box), distance, self._brain.statistics, None, where)


def _region(
    source: BrainSource, settings: TrainSettings, split: str, forest: Forest, shape: ZYX
) -> Box:
    """Return where crops of a split are cut: what is held out, or the rest."""
    if settings.crop > min(shape):
        raise UsageError(
            f"crops of {settings.crop} voxels do not fit into {source.brain} of {shape} voxels "
            f"(z, y, x): set crop: {min(shape)} or less"
        )
    held = source.held_out
    shares = SplitSettings(train=1 - held, validation=held, test=0)
    name = "train" if split == "train" else "validation"
    try:
        parts = dict(
            regions(
                forest, shape, shares, size=settings.crop, clip=settings.clip, seed=settings.seed
            )
        )
    except UsageError:
        parts = {}
    if name not in parts and split != "train":
        logger.warning(
            "%s: no region is held out (%s), so validation sees what was learnt",
            source.brain,
            "held_out is 0" if not held else "the brain is too small for crops so large",
        )
    return parts.get(name, Box.of_shape(shape))
