"""Distance map → mask → lines → trees → SWC."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest, Graph, Landmark
from neuroconn.annotation.simplify import resample, simplify, smooth
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box, Frame
from neuroconn.tracing.blocks import map_lines
from neuroconn.tracing.bridges import bridge
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.tracing.files import check_output, write_trees
from neuroconn.tracing.lines import Lines, cut_loops, drop_faint, drop_short, prune
from neuroconn.tracing.radii import image_radii
from neuroconn.tracing.report import TraceReport
from neuroconn.tracing.rooting import rooted
from neuroconn.tracing.settings import TraceSettings
from neuroconn.volume import Image, open_image
from neuroconn.volume.address import Address

logger = logging.getLogger(__name__)

TraceUnits: TypeAlias = Literal["um", "voxel"]
_IN_SOMA = 20.0
"""A tree begins in a soma if it comes so near to its centre, in voxels."""


@dataclass(frozen=True, slots=True)
class Tracing:
    """Trees, and what was done for them."""

    forest: Forest
    """Longest tree first, parents before children, in the units of the report."""
    report: TraceReport


def trace(
    distance: str | Address,
    output: str | Path | None = None,
    *,
    settings: TraceSettings | None = None,
    units: TraceUnits | None = None,
    brain: str | Address | None = None,
    somas: Sequence[Sequence[float]] | NDArray[np.float64] = (),
    box: Box | None = None,
    block: int = 256,
    workers: int = 1,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tracing:
    """Trace the neurites of a distance map.

    The map is thinned block by block, and only where something is stored; the lines do not depend
    on the blocks. Loops are cut where the map is least certain, short free branches and short
    trees are dropped, and nodes move onto the valley of the map, between voxels.

    Parameters
    ----------
    distance : path
        A distance map as `infer` writes it: OME-Zarr, level 0 is traced.
    output : path, optional
        A ``.swc`` or ``.eswc`` file; an ``.ano``, TeraFly's annotation set, which counts voxels and
        holds the somas too; or a folder for one SWC a tree. Without it, nothing is written.
    settings : TraceSettings, optional
        Threshold, pruning, bridging, spacing of nodes.
    units : {"um", "voxel"}, optional
        Of the trees; µm if the map says how large its voxels are, else voxels. An ``.ano`` is
        always in voxels.
    brain : path, optional
        The image the map is of; radii are then measured in it. A distance map alone has no
        thickness, and every radius is 1.
    somas : array-like, shape (n, 3), optional
        Centres of cell bodies, voxels (z, y, x): trees near one begin there, with a node of type 1.
    box : Box, optional
        Trace this part only.
    block : int
        Voxels along a side that are thinned at once by each worker; takes some 5 bytes a voxel.
    workers : int
        Threads.
    force : bool
        Overwrite ``output``.
    progress : callable, optional
        Called with blocks done, and all blocks.

    Returns
    -------
    Tracing

    Raises
    ------
    VolumeError
        If the map is not one, is damaged, or does not cover the same voxels as the brain.
    UsageError
        If a setting is out of range, or µm are asked of a map that has no spacing.
    OutputError
        If the output is there already.

    Notes
    -----
    Where two neurites come nearer to each other than twice the threshold, they are one tree: a
    distance map does not tell them apart.
    """
    chosen = settings or TraceSettings()
    if block < 1 or workers < 1:
        raise UsageError(f"block and workers must be 1 or more, got {block} and {workers}")
    if output is not None:
        check_output(Path(output), force=force)
        units = _units_of_file(Path(output), units)
    image = open_image(distance)
    source = DistanceMap.of(image, chosen.threshold)
    known = _units(image, units)
    frame = image.frame if known == "um" else Frame((1.0, 1.0, 1.0))
    thick = None if brain is None else _matching(brain, image)
    blocks = source.blocks(block, (box or source.bounds).clip(source.bounds))
    lines = map_lines(source, blocks, workers=workers, progress=progress)
    lines, counts = tidy(lines, chosen, frame.spacing_um)
    forest, heads = _trees(_thinned_out(lines.graph, chosen), somas, chosen.kind)
    if thick is not None:
        forest = _with_radii(forest, thick, known)
    placed = _rounded(forest.to_um(frame))
    report = TraceReport.of(
        placed, source=str(image.path), settings=chosen, units=known,
        frame=image.frame if image.spacing_known else None, blocks=len(blocks), somas=heads,
        measured=brain is not None, **counts,
    )  # fmt: skip
    if not len(placed):
        logger.warning("nothing in %s is below %g voxels: no tree", image.path, chosen.threshold)
    if output is not None:
        centres = np.asarray(somas, dtype=np.float64).reshape(-1, 3).tolist()
        marks = [Landmark((z, y, x), f"soma {n}") for n, (z, y, x) in enumerate(centres, 1)]
        write_trees(Path(output), placed, report, landmarks=marks, force=force)
    return Tracing(placed, report)


def tidy(
    lines: Lines, settings: TraceSettings, spacing: tuple[float, float, float]
) -> tuple[Lines, dict[str, int]]:
    """Make trees of lines: no loops, no spurs, nothing faint or short.

    Returns
    -------
    Lines
    dict of str to int
        ``loops`` cut, ``spurs`` pruned, ``bridges`` made, trees dropped as ``faint`` and ``short``.
    """
    lines, loops = cut_loops(lines)
    faint = 0
    if settings.core is not None:
        lines, faint = drop_faint(lines, settings.core)
    lines, spurs = prune(lines, settings.spur)
    lines, bridges = bridge(lines, settings.bridge, distance=settings.threshold)
    lines, short = drop_short(lines, settings.shortest, spacing)
    counts = {"loops": loops, "spurs": spurs, "bridges": bridges, "faint": faint, "short": short}
    return lines, counts


def _thinned_out(graph: Graph, settings: TraceSettings) -> Graph:
    smoothed = smooth(graph, settings.smooth)
    if settings.step is not None:
        return resample(smoothed, settings.step)
    return simplify(smoothed, settings.tolerance)


def _trees(
    graph: Graph, somas: Sequence[Sequence[float]] | NDArray[np.float64], kind: int
) -> tuple[Forest, int]:
    """Root the trees, also in how many somas."""
    centres = np.asarray(somas, dtype=np.float64).reshape(-1, 3)
    roots = np.empty(0, dtype=np.int64)
    if len(centres) and len(graph):
        from scipy.spatial import cKDTree

        away, nearest = cKDTree(graph.positions).query(centres)
        roots = nearest[away <= _IN_SOMA]
        for centre in centres[away > _IN_SOMA].tolist():
            logger.warning("no tree comes within %g voxels of the soma at %s", _IN_SOMA, centre)
        shared = len(roots) - len(np.unique(graph.components()[roots]))
        if shared:
            logger.warning("%d somas lie in a tree that begins in another soma", shared)
    forest, _ = rooted(graph, roots=roots, kind=kind)
    return forest, int((forest.kinds[forest.roots] == 1).sum()) if len(roots) else 0


def _with_radii(forest: Forest, brain: Image, units: TraceUnits) -> Forest:
    """Give nodes the radii of the image; where it has none, the median of all."""
    radii = image_radii(forest, brain)
    if units == "voxel":
        radii = radii / min(brain.frame.spacing_um)
    usual = float(np.nanmedian(radii)) if np.isfinite(radii).any() else 1.0
    return replace(forest, radii=np.where(np.isfinite(radii), radii, usual).round(3))


def _rounded(forest: Forest) -> Forest:
    """Positions to a thousandth, as they are written."""
    return forest.at(forest.positions.round(3) + 0.0)


def _units_of_file(output: Path, units: TraceUnits | None) -> TraceUnits | None:
    """TeraFly takes the numbers of an annotation set for voxels, whatever they are."""
    if output.suffix.lower() != ".ano":
        return units
    if units == "um":
        raise UsageError(
            f"{output} would be misplaced: TeraFly takes its numbers for voxels. Leave out the "
            "units, or write .swc or .eswc"
        )
    return "voxel"


def _units(image: Image, units: TraceUnits | None) -> TraceUnits:
    if units not in (None, "um", "voxel"):
        raise UsageError(f"units must be um or voxel, got {units!r}")
    if units == "um" and not image.spacing_known:
        raise UsageError(
            f"{image.path} does not say how large its voxels are: trace in voxels "
            "(--units voxel), or convert the brain again with --spacing"
        )
    return units or ("um" if image.spacing_known else "voxel")


def _matching(brain: str | Address, image: Image) -> Image:
    opened = open_image(brain)
    if opened.kind != "brain" or opened.shape != image.shape:
        raise VolumeError(
            f"{opened.path} is a {opened.kind} of {opened.shape} voxels (z, y, x), not the brain "
            f"of {image.shape} voxels that {image.path} is the distance map of"
        )
    return opened
