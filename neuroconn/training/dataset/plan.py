"""Which crops a dataset will hold: a grid in every region, counted, and chosen.

The plan is a pure function of the settings and the annotations: no voxel of the image is read, and
a build that was interrupted makes the same plan again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest, neurite_voxels
from neuroconn.config.crops import DatasetBrain, DatasetSettings
from neuroconn.geometry import ZYX, Box
from neuroconn.training.crop import SPLITS, cube
from neuroconn.training.dataset.regions import Region, regions


@dataclass(frozen=True)
class Cubes:
    """The cubes of one brain: all that its grid has, and those that were chosen."""

    starts: NDArray[np.int64]
    """(n, 3) first voxels, z, y, x, of the cubes that hold neurite or were chosen."""
    voxels: NDArray[np.int64]
    """(n,) neurite voxels of each."""
    splits: NDArray[np.int64]
    """(n,) number of the split of each."""
    chosen: NDArray[np.bool_]
    """(n,) whether the cube becomes a crop."""
    total: int
    """Cubes of the grid, those without neurite among them."""
    regions: tuple[Region, ...]
    """Regions the grid was laid in."""
    minimum: int
    """Neurite voxels a cube needs."""

    @property
    def kept(self) -> int:
        """Cubes with enough neurite."""
        return int((self.voxels >= self.minimum).sum())


@dataclass(frozen=True)
class Plan:
    """All crops of a dataset, in the order they are stored."""

    size: int
    """Edge of a crop, in voxels."""
    brain: NDArray[np.int64]
    """(n,) number of the brain of each crop."""
    starts: NDArray[np.int64]
    """(n, 3) first voxel of each, z, y, x."""
    voxels: NDArray[np.int64]
    """(n,) neurite voxels of each."""
    splits: NDArray[np.int64]
    """(n,) index into ``SPLITS`` of each."""

    def __len__(self) -> int:
        return len(self.brain)

    def box(self, number: int) -> Box:
        """Where a crop lies in its brain."""
        z, y, x = self.starts[number].tolist()
        return Box((z, y, x), (z + self.size, y + self.size, x + self.size))


def cubes_of(
    forest: Forest, shape: ZYX, brain: DatasetBrain, settings: DatasetSettings, *, number: int
) -> Cubes:
    """Lay the grids of one brain, count neurite voxels, choose.

    Parameters
    ----------
    forest : Forest
        Its annotation, in voxels.
    shape : (z, y, x) ints
        Its voxels.
    brain : DatasetBrain
        Where its crops go.
    settings : DatasetSettings
        Size, stride, minimum, background, split and seed.
    number : int
        Of the brain in the dataset; random choices are keyed by it.
    """
    seed = settings.seed * 1009 + number
    parts = _parts(forest, shape, brain, settings, seed)
    rng = np.random.default_rng([seed, 32])
    found = [_in_region(forest, name, box, settings, rng) for name, box in parts]
    starts, voxels, splits, chosen = (np.concatenate(part) for part in zip(*found, strict=True))
    total = sum(math.prod(_counts(box, settings)) for _, box in parts)
    return Cubes(starts, voxels, splits, chosen, total, tuple(parts), settings.minimum_voxels)


def plan_of(cubes: Sequence[Cubes], size: int) -> Plan:
    """Line up the chosen cubes of several brains, one brain after the other."""
    return Plan(
        size,
        np.concatenate([np.full(int(c.chosen.sum()), k) for k, c in enumerate(cubes)]),
        np.concatenate([c.starts[c.chosen] for c in cubes]),
        np.concatenate([c.voxels[c.chosen] for c in cubes]),
        np.concatenate([c.splits[c.chosen] for c in cubes]),
    )


def _parts(
    forest: Forest, shape: ZYX, brain: DatasetBrain, settings: DatasetSettings, seed: int
) -> list[Region]:
    split = settings.split
    if brain.split != "regions":
        whole = {name: float(name == brain.split) for name in SPLITS}
        split = split.model_copy(update=whole)
    return regions(forest, shape, split, size=settings.size, clip=settings.clip, seed=seed)


def _counts(region: Box, settings: DatasetSettings) -> ZYX:
    """Cubes of a region along each axis; the last voxels may be left over."""
    stride = settings.stride or settings.size
    z, y, x = ((n - settings.size) // stride + 1 for n in region.shape)
    return z, y, x


def _in_region(
    forest: Forest, name: str, region: Box, settings: DatasetSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return starts, voxels, splits and choice of the cubes with neurite, or chosen without."""
    counts = _counts(region, settings)
    starts = _starts(region, counts, settings, rng)
    near = _touched(forest, region, counts, settings)
    voxels = np.zeros(len(starts), dtype=np.int64)
    for index in near.tolist():
        voxels[index] = neurite_voxels(forest, cube(starts[index], settings.size))
    enough = np.flatnonzero(voxels >= settings.minimum_voxels)
    rest = np.flatnonzero(voxels < settings.minimum_voxels)
    wanted = round(len(enough) * settings.background / (1 - settings.background))
    chosen = np.zeros(len(starts), dtype=bool)
    chosen[enough] = True
    chosen[rng.permutation(rest)[:wanted]] = True
    told = chosen | (voxels > 0)
    split = np.full(int(told.sum()), SPLITS.index(name), dtype=np.int64)
    return starts[told], voxels[told], split, chosen[told]


def _starts(
    region: Box, counts: ZYX, settings: DatasetSettings, rng: np.random.Generator
) -> NDArray[np.int64]:
    stride = settings.stride or settings.size
    grid = np.stack(np.unravel_index(np.arange(math.prod(counts)), counts), axis=1)
    starts = np.asarray(region.start) + grid * stride
    if settings.jitter:
        moved = rng.integers(-settings.jitter, settings.jitter + 1, starts.shape)
        last = np.asarray(region.stop) - settings.size
        starts = np.clip(starts + moved, region.start, last)
    return np.asarray(starts, dtype=np.int64)


def _touched(
    forest: Forest, region: Box, counts: ZYX, settings: DatasetSettings
) -> NDArray[np.int64]:
    """Numbers of the cubes that the bounding box of a segment meets: no other holds neurite."""
    stride, reach = settings.stride or settings.size, settings.jitter + 1
    ends = forest.segments - np.asarray(region.start)
    low = np.floor(ends.min(axis=1)).astype(np.int64) - reach
    high = np.ceil(ends.max(axis=1)).astype(np.int64) + reach
    first = np.maximum((low - settings.size) // stride + 1, 0)
    last = np.minimum(high // stride, np.subtract(counts, 1))
    found = [
        np.ravel_multi_index(cell, counts)
        for a, b in _pieces(first, last)
        for cell in [_cells(a, b)]
    ]
    return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *found]))


def _pieces(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Ranges of cells that are not empty, each once, some thousands at a time."""
    real = (first <= last).all(axis=1)
    ranges = np.unique(np.concatenate([first[real], last[real]], axis=1), axis=0)
    for begin in range(0, len(ranges), 4096):
        yield ranges[begin : begin + 4096, :3], ranges[begin : begin + 4096, 3:]


def _cells(
    first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All cells of (n, 3) closed ranges, as indices z, y, x."""
    span = last - first + 1
    copies = span.prod(axis=1)
    owner = np.repeat(np.arange(len(span)), copies)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(copies) - copies, copies)
    wide = span[owner]
    z, rest = np.divmod(rank, wide[:, 1] * wide[:, 2])
    y, x = np.divmod(rest, wide[:, 2])
    return first[owner, 0] + z, first[owner, 1] + y, first[owner, 2] + x
