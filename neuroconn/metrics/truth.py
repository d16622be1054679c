"""What a prediction is scored against: traced neurites, or labelled voxels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest, Graph, Units, read_forest, render
from neuroconn.annotation.placement import TRACINGS
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid, Frame
from neuroconn.metrics.along import subdivide
from neuroconn.metrics.skeleton import skeleton
from neuroconn.metrics.skeleton_graph import voxel_graph
from neuroconn.volume.sources import Source, open_source

_STRIDE = 4.0
_CONTEXT = 32
"""Voxels around a block for thinning: a mask cut at its face loses about its radius there."""


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

    def cells(self, grid: ChunkGrid, margin: int) -> set[ZYX]:
        """Return the cells of a grid that may have a line in them, or so many voxels away."""

    def graph(self, block: int) -> Graph:
        """Return the lines in voxels of the volume, read in blocks of this edge."""

    def refusal(self) -> str | None:
        """Why the lines make no graph of the whole volume; None if they do."""


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

    def cells(self, grid: ChunkGrid, margin: int) -> set[ZYX]:
        """Return the cells within ``margin`` of a link."""
        points = np.concatenate(
            [self.forest.positions, subdivide(self.graph(0), _STRIDE).positions]
        )
        reach = margin + _STRIDE / 2  # the next point of a link is no farther than a stride
        first, last = (
            np.clip(np.floor((points + side + 0.5) / grid.chunk), 0, np.subtract(grid.counts, 1))
            for side in (-reach, reach)
        )
        span = int((last - first).max(initial=-1)) + 1
        found = [np.minimum(first + step, last) for step in product(range(span), repeat=3)]
        cells = np.unique(np.concatenate([np.empty((0, 3)), *found]).astype(int), axis=0)
        return {(z, y, x) for z, y, x in cells.tolist()}

    def graph(self, block: int) -> Graph:
        """Return the forest as it is."""
        return Graph.from_forest(self.forest)

    def refusal(self) -> None:
        """Return None: a tracing is a graph."""


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

    def cells(self, grid: ChunkGrid, margin: int) -> set[ZYX]:
        """Return all cells: labels are not looked at beforehand."""
        return set(grid)

    def graph(self, block: int) -> Graph:
        """Link the voxels of the skeleton; thinned block by block, with context."""
        volume, found = Box.of_shape(self.source.shape), [np.empty((0, 3), dtype=np.int64)]
        for core in volume.split((block, block, block)):
            around = core.grow(_CONTEXT).clip(volume)
            lines = self.lines(around)[core.within(around)]
            found.append(np.argwhere(lines) + np.asarray(core.start))
        return voxel_graph(np.concatenate(found))

    def refusal(self) -> str | None:
        """Why not: where nobody labelled, lines end that may go on."""
        return None if self.ignore is None else "the labels are not known everywhere (ignore)"


def open_truth(
    paths: str | Path | Iterable[str | Path],
    *,
    shape: ZYX,
    frame: Frame,
    spacing_known: bool = True,
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
    spacing_known : bool, optional
        Whether the frame is in µm. If it is, and a labelled volume says how large its voxels are,
        they must be as large.
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
        If a labelled volume cannot be read or has another shape or voxel size.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if given and all(is_tracing(Path(path)) for path in given):
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
    if spacing_known and source.spacing_um is not None:
        _check_spacing(given[0], source.spacing_um, frame.spacing_um)
    return Labels(source, label, ignore)


def _check_spacing(
    path: str | Path, theirs: tuple[float, float, float], ours: tuple[float, float, float]
) -> None:
    if not np.allclose(theirs, ours, rtol=0.05):
        raise VolumeError(
            f"voxels of {path} are {_um(theirs)} µm (z, y, x) and those of the prediction "
            f"{_um(ours)}: they are not of one volume, or one of the two is labelled wrongly"
        )


def _um(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{s:g}" for s in spacing)


def is_tracing(path: Path) -> bool:
    """Whether a path is an SWC file, or a folder of them."""
    if path.is_dir():
        return any(p.suffix.lower() in TRACINGS for p in path.iterdir())
    return path.suffix.lower() in TRACINGS
