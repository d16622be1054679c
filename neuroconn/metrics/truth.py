"""What a prediction is scored against: traced neurites, or labelled voxels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest, Units, read_forest, render
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box, Frame
from neuroconn.metrics.skeleton import skeleton
from neuroconn.volume.sources import Source, open_source

_TRACINGS = {".swc", ".eswc"}


class Truth(Protocol):
    """Lines known to be neurites, read a box at a time."""

    @property
    def thinned(self) -> bool:
        """Whether lines come from thinning a mask, which needs context around the box."""

    def lines(self, box: Box) -> NDArray[np.bool_]:
        """Return the voxels of the lines in a box inside the volume."""

    def judged(self, box: Box) -> NDArray[np.bool_] | None:
        """Where it is known whether there is a neurite; None for everywhere."""

    def planes(self) -> list[Box]:
        """Planes that somebody labelled."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """The centreline of a forest, known everywhere."""

    forest: Forest
    thinned: bool = False

    def lines(self, box: Box) -> NDArray[np.bool_]:
        """Render the forest in a box."""
        return render(self.forest, box)

    def judged(self, box: Box) -> None:
        """Return None: tracings are taken to be complete."""

    def planes(self) -> list[Box]:
        """Refuse: a tracing is not made of planes."""
        raise UsageError("planes are of labelled volumes; an SWC is scored in 3D")


@dataclass(frozen=True, slots=True)
class Labels:
    """The skeleton of the voxels with one label."""

    source: Source
    label: int | None = None
    """Value of neurites; None for every value but 0."""
    ignore: int | None = None
    """Value of voxels nobody labelled; None if all are."""
    thinned: bool = True

    def lines(self, box: Box) -> NDArray[np.bool_]:
        """Thin the neurites in a box, in 2D if it is one plane."""
        values = self.source.read(box)
        mask = values != 0 if self.label is None else values == self.label
        return skeleton(mask if self.ignore is None else mask & (values != self.ignore))

    def judged(self, box: Box) -> NDArray[np.bool_] | None:
        """Where a voxel has a label."""
        if self.ignore is None:
            return None
        known: NDArray[np.bool_] = self.source.read(box) != self.ignore
        return known

    def planes(self) -> list[Box]:
        """Planes with a label other than 0."""
        _, height, width = self.source.shape
        planes = Box.of_shape(self.source.shape).split((1, height, width))
        return [plane for plane in planes if self.source.read(plane).any()]


def open_truth(
    paths: str | Path | Iterable[str | Path],
    *,
    shape: ZYX,
    frame: Frame,
    units: Units | None = None,
    y_flip: bool = False,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: int | None = None,
    ignore: int | None = None,
) -> Truth:
    """Open SWC files, a folder of them, or one labelled volume.

    Parameters
    ----------
    paths : path or paths
        What the truth is follows from the suffix; a folder of SWC files is a tracing.
    shape, frame
        Of the volume it is the truth about.
    units, y_flip, origin
        Of a tracing, as for `neuroconn.annotation.read_forest`.
    label, ignore
        Of a labelled volume, as for `Labels`.

    Raises
    ------
    UsageError
        If an option is missing, or does not fit what the truth is.
    AnnotationError
        If a tracing is broken or lies outside the volume.
    VolumeError
        If a labelled volume cannot be read or has another shape.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if given and all(_is_tracing(Path(path)) for path in given):
        if label is not None or ignore is not None:
            raise UsageError("labels are of volumes; an SWC needs neither label nor ignore")
        if units is None:
            raise UsageError(
                "an SWC does not say what it counts in: give its units, "
                "um, voxel or the µm in one unit (--units)"
            )
        return Tracing(
            read_forest(given, units=units, frame=frame, shape=shape, y_flip=y_flip, origin=origin)
        )
    if len(given) != 1:
        raise UsageError(f"the truth is SWC files or one labelled volume, got {len(given)} paths")
    if units is not None or y_flip or any(origin):
        raise UsageError("units, y flip and origin are of SWC files; a labelled volume needs none")
    source = open_source(given[0])
    if source.shape != shape:
        raise VolumeError(
            f"{given[0]} has {source.shape} voxels (z, y, x) and the prediction {shape}: "
            "labels must cover the volume they are the truth about"
        )
    return Labels(source, label, ignore)


def _is_tracing(path: Path) -> bool:
    if path.is_dir():
        return any(p.suffix.lower() in _TRACINGS for p in path.iterdir())
    return path.suffix.lower() in _TRACINGS
