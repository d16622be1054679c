"""Crops of real tissue without a full annotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn.annotation import distance_map
from neuroconn.config import resolve
from neuroconn.config.tissue import PlaneLabels, TissueSource
from neuroconn.config.train import TrainSettings
from neuroconn.errors import AnnotationError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.metrics.skeleton import skeleton
from neuroconn.phantom import Variety, random_phantom
from neuroconn.training.bounds import OFF_PLANE, Bounds, bounds_of_map, bounds_of_plane
from neuroconn.training.crop import SPLITS, Crop, cube, phrase
from neuroconn.training.shine import shine
from neuroconn.volume import Image, open_image, open_volume, read_region

_MOST = 2**29
"""Voxels held in memory: 10 GB with their bounds."""
_MARGIN, _INSIDE = 16, 4
_FACE = 4
"""Part of a crop that may reach beyond the part in use, mirrored at the faces of the volume."""
_EDGE = 4
"""Voxels at the faces of a map where its lines are doubtful: models take faces for neurites."""
Volume = NDArray[np.float32]


class TissueCrops:
    """Crops of a real volume, with bounds of the distance instead of an annotation.

    Parameters
    ----------
    source : TissueSource
        The volume, and what is known of it.
    settings : TrainSettings
        Size of a crop, clip, and the phantoms that shine in it.

    Raises
    ------
    VolumeError
        If the brain has no intensity statistics or is too large, or its map is of another shape.
    AnnotationError
        If labels are of another shape, or a plane holds none.
    """

    def __init__(self, source: TissueSource, settings: TrainSettings) -> None:
        brain = open_image(source.brain)
        self._source, self._size, self._clip = source, settings.crop, settings.clip
        self._variety = resolve(Variety, settings.phantoms.variety, source="phantoms.variety")
        self._statistics = _statistics(source.brain, brain)
        self._part = _part(source, brain.levels[0].shape)
        around = _around(self._part, self._size)
        self._image = read_region(brain.array(0), around, pad="reflect").astype(np.float32)
        self._bounds = self._known().padded(self._part.within(around), around.shape, self._clip)
        self._start = around.start
        labels = source.labels
        self._planes = [z - around.start[0] for z in labels.planes] if labels else []

    def crop(self, rng: np.random.Generator, *, background: bool) -> Crop:
        """Cut at random, through a labelled plane if there are any, and light up most of them.

        With ``background``, no phantom shines.
        """
        limit = np.asarray(self._image.shape) - self._size
        start = rng.integers(0, limit + 1)
        if self._planes:
            before = rng.integers(_INSIDE, self._size - _INSIDE)
            start[0] = np.clip(rng.choice(self._planes) - before, 0, limit[0])
        here = cube(start, self._size)
        image, bounds = self._image[here.slices], self._bounds[here.slices]
        if not background and rng.random() < self._source.light:
            image, bounds = self._lit(image, bounds, rng)
        where = f"{self._source.brain}, {phrase(here.shift(self._start))}"
        return Crop(image, bounds.low, self._statistics, where=where, bounds=bounds)

    def _lit(
        self, image: Volume, bounds: Bounds, rng: np.random.Generator
    ) -> tuple[Volume, Bounds]:
        edge = self._size + 2 * _MARGIN
        seed = int(rng.integers(2**60)) * len(SPLITS)
        phantom = random_phantom((edge,) * 3, seed=seed, variety=self._variety)
        box = cube(np.full(3, _MARGIN), self._size)
        lit = shine(image, phantom, box, dark=float(self._statistics["min"]), rng=rng)
        return lit, bounds.beside(phantom.distance(box, clip=self._clip))

    def _known(self) -> Bounds:
        """Bounds from the earlier model's map, if there is one, and from labelled planes."""
        source, part = self._source, self._part
        if source.distance is None:
            bounds = Bounds.exact(np.full(part.shape, self._clip, np.float32))
        else:
            bounds = bounds_of_map(
                _map(source.distance, part),
                clip=self._clip,
                sure=source.sure,
                shortest=source.shortest,
                edge=_EDGE,
            )
        return bounds if source.labels is None else _with_labels(bounds, source, part, self._clip)


def _with_labels(bounds: Bounds, source: TissueSource, part: Box, clip: float) -> Bounds:
    """Let labelled planes overrule a map, and speak for the planes above and below them."""
    labels = source.labels
    assert labels is not None
    drawn, lines = np.zeros(part.shape, bool), np.zeros(part.shape, bool)
    planes = _labelled(labels, part)
    for z, label in planes.items():
        drawn[z] = label == labels.neurite
        lines[z] = skeleton(drawn[z])
    high = np.minimum(bounds.high, distance_map(lines, clip=clip) + OFF_PLANE)
    low = np.minimum(np.minimum(bounds.low, distance_map(drawn, clip=clip)), high)
    weight = bounds.weight.copy()
    for z, label in planes.items():
        low[z], high[z] = bounds_of_plane(
            label, neurite=labels.neurite, background=labels.background, clip=clip
        )
        weight[z] = labels.weight
    return Bounds(low, high, weight)


def _statistics(name: str, brain: Image) -> Mapping[str, Any]:
    if not isinstance(found := brain.attributes.get("intensity"), Mapping):
        raise VolumeError(
            f"{name} has no intensity statistics, which normalise its crops: make it with "
            "neuroconn convert"
        )
    return found


def _part(source: TissueSource, shape: ZYX) -> Box:
    part = Box(*source.part) if source.part else Box.of_shape(shape)
    if not Box.of_shape(shape).contains(part):
        raise VolumeError(f"{source.brain} has {shape} voxels; part {source.part} leaves them")
    if part.size > _MOST:
        raise VolumeError(
            f"{source.brain}: {part.size:,} voxels are too many to hold in memory: give a part of "
            f"at most {_MOST:,}"
        )
    return part


def _map(path: str, part: Box) -> Volume:
    volume = open_volume(path)
    if any(n < stop for n, stop in zip(volume.shape, part.stop, strict=True)):
        raise VolumeError(f"{path} has {volume.shape} voxels, fewer than the brain it is to map")
    found = np.asarray(volume[part.slices], dtype=np.float32)
    if np.isnan(found).any():
        raise VolumeError(
            f"{path} holds voxels that were never looked at: map the whole part with "
            "neuroconn infer --seeds all"
        )
    return found


def _labelled(labels: PlaneLabels, part: Box) -> dict[int, NDArray[np.integer[Any]]]:
    """Labels of the planes, by their number in the part."""
    volume = tifffile.imread(labels.path)
    found = {}
    for plane in labels.planes:
        if not part.start[0] <= plane < min(part.stop[0], len(volume)):
            raise AnnotationError(f"{labels.path}: plane {plane} lies outside the part in use")
        label = volume[plane][part.slices[1:]]
        if (
            label.shape != part.shape[1:]
            or not np.isin(label, (labels.neurite, labels.background)).any()
        ):
            raise AnnotationError(
                f"{labels.path}: plane {plane} holds no label {labels.neurite} or "
                f"{labels.background}, or is smaller than the brain"
            )
        found[plane - part.start[0]] = label
    return found


def _around(part: Box, size: int) -> Box:
    """Grow a part by what inference would see around it, and to the size of a crop."""
    z, y, x = (max(size // _FACE, -(-(size - n) // 2)) for n in part.shape)
    return part.grow((z, y, x))
