"""A distance map as the truth: one rendered from an annotation, or another model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph, Units
from neuroconn.errors import UsageError, VolumeError
from neuroconn.evaluation.lines import predicted_lines
from neuroconn.evaluation.prediction import Prediction
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.metrics import skeleton
from neuroconn.metrics.truth import Truth, open_truth
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.volume import Image, open_image

_ON_LINE = 1.0
"""Voxels nearer than this are on a line: of a rendered map, just those of distance 0."""


@dataclass(frozen=True, slots=True)
class Distances:
    """The lines of a distance map."""

    map: Prediction
    thinned: bool = True

    def lines(self, box: Box) -> NDArray[np.bool_]:
        """Thin what is on a line."""
        return skeleton(self.map.mask(self.map.read(box)))

    def judged(self, box: Box) -> NDArray[np.bool_]:
        """Where the map was explored."""
        return ~self.map.unknown(self.map.read(box))

    def planes(self) -> list[Box]:
        """Refuse: a map has no labelled planes."""
        raise UsageError("planes are of labelled volumes; a distance map is scored in 3D")

    def cells(self, grid: ChunkGrid, margin: int) -> set[ZYX]:
        """Return the cells where the map was explored, and their neighbours."""
        explored = set(self.map.explored(grid))
        return {near for cell in explored for near in (cell, *grid.neighbours(cell))}

    def graph(self, block: int) -> Graph:
        """Trace the map."""
        return predicted_lines(self.map.source, block=block)

    def refusal(self) -> None:
        """Return None: a map has lines."""


def truth_about(
    image: Image,
    prediction: Prediction,
    given: Sequence[str | Path],
    *,
    units: Units | None,
    y_flip: bool,
    origin: tuple[float, float, float],
    label: int | None,
    ignore: int | None,
) -> Distances | Truth:
    """Open whatever is given as the truth about a map.

    Parameters
    ----------
    image, prediction : Image and Prediction
        The map.
    given : sequence of path
        A distance map, SWC files or a labelled volume.
    units, y_flip, origin, label, ignore
        As for `neuroconn.metrics.truth.open_truth`.
    """
    return distance_truth(given, prediction) or open_truth(
        given,
        shape=image.shape,
        frame=image.frame,
        spacing_known=image.spacing_known,
        units=units,
        y_flip=y_flip,
        origin=origin,
        label=label,
        ignore=ignore,
    )


def distance_truth(paths: Sequence[str | Path], prediction: Prediction) -> Distances | None:
    """Open the truth if it is a distance map; None if it is something else.

    Raises
    ------
    VolumeError
        If it does not fit the prediction.
    """
    if len(paths) != 1 or not Path(paths[0]).is_dir():
        return None
    try:
        image = open_image(paths[0])
    except VolumeError:  # whatever else it is may still be read
        return None
    if image.kind != "distance":
        return None
    if image.shape != prediction.shape:
        raise VolumeError(
            f"{image.path} has {image.shape} voxels (z, y, x) and the prediction "
            f"{prediction.shape}: both maps must be of one volume"
        )
    known = Prediction(DistanceMap.of(image, _ON_LINE))
    mine, theirs = prediction.source.encoding.clip, known.source.encoding.clip
    if mine != theirs and max(mine, theirs) < np.finfo(np.float32).max:
        raise VolumeError(
            f"{image.path} goes flat at {theirs:g} voxels and the prediction at {mine:g}: maps of "
            "different clips are not comparable; render the truth with the clip of the model"
        )
    return Distances(known)
