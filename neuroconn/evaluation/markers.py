"""Does a click land on a neurite? A brain against its overlays, a view at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroconn.annotation import Graph, Units, graph_near
from neuroconn.config import find_preset, list_presets
from neuroconn.config.base import read_settings
from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.evaluation.blocks import BLOCK
from neuroconn.evaluation.clicking import REACH, click_view
from neuroconn.evaluation.distances import truth_about
from neuroconn.evaluation.marker_scores import Landed, MarkerScores
from neuroconn.evaluation.prediction import Prediction
from neuroconn.exporter.pair import Look, Pair
from neuroconn.geometry import ZYX, Box
from neuroconn.metrics.clicks import Points, random_aims, random_rays
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.vaa3d.overlay import Unexplored
from neuroconn.vaa3d.partition import VIEW
from neuroconn.volume.address import Address, address_of

logger = logging.getLogger(__name__)

USUAL = "clip-6-power-2"
"""The preset that ``neuroconn export`` takes by default."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """How a user is simulated.

    Raises
    ------
    UsageError
        If a number is out of range.
    """

    rays: int = 500
    """Clicks in all."""
    views: int = 25
    """Places of a brain larger than one view where a view is loaded; each gets its share of the
    clicks."""
    view: int = VIEW
    """Longest side of a view in voxels: TeraFly's own default."""
    margin: float = 5.0
    """Nobody aims closer to a face of the view than this, in voxels."""
    jitter: float = 0.5
    """Deviation of the hand: of each end of a ray along each axis, in voxels."""
    seed: int = 0
    """Of views, aims, directions and the hand."""

    def __post_init__(self) -> None:
        if self.rays < 1 or self.views < 1:
            raise UsageError(f"rays and views must be 1 or more, got {self.rays} and {self.views}")
        if self.view < 2 * self.margin + 2:
            raise UsageError(
                f"a view of {self.view} voxels has no place {self.margin:g} voxels inside its "
                f"faces: make it {math.ceil(2 * self.margin) + 2} or more"
            )
        if not (math.isfinite(self.jitter) and self.jitter >= 0 and self.margin >= 0):
            raise UsageError(
                f"jitter and margin must be 0 voxels or more, got {self.jitter} and {self.margin}"
            )


def evaluate_markers(
    distance: str | Address,
    truth: str | Path | Iterable[str | Path],
    brain: str | Address,
    *,
    presets: Sequence[str] | None = None,
    clicks: Clicks | None = None,
    unexplored: Unexplored = "raw",
    example: str | None = None,
    units: Units | None = None,
    y_flip: bool = False,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: int | None = None,
    ignore: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MarkerScores:
    """Say how often a click lands on a neurite, in a brain and in every overlay of it.

    Clicks are simulated as Vaa3D places markers, in what it shows: see
    `neuroconn.metrics.clicks.click` and `neuroconn.vaa3d.shown`. Only the views are read, so that
    brains of any size take the same time; a labelled volume as the truth is read whole.

    Parameters
    ----------
    distance : path
        A distance map as `neuroconn infer` writes it.
    truth : path or paths
        As for `neuroconn.evaluation.evaluate`: SWC files, or a volume labelled everywhere.
    brain : path
        The brain that the map was made from.
    presets : sequence of str, optional
        Overlays: names or YAML files. By default all grey ones that fit the map.
    clicks : Clicks, optional
        How a user is simulated.
    unexplored : "raw" or "null", optional
        What overlays show where nobody looked.
    example : str, optional
        A preset of which one view is kept, for `neuroconn.view.clicks.draw_clicks`.
    units, y_flip, origin, label, ignore
        Of the truth, as for `neuroconn.evaluation.evaluate`.
    progress : callable, optional
        Called with views done, and all views.

    Returns
    -------
    MarkerScores

    Raises
    ------
    VolumeError
        If an image cannot be read, or brain and map do not share a grid.
    AnnotationError
        If the truth is broken, or nothing of it lies inside the volume.
    UsageError
        If a preset is in colour, unknown or does not fit the map, or a number is out of range.
    """
    how = clicks or Clicks()
    pairs = _pairs(address_of(brain), address_of(distance), presets, unexplored, example)
    pair = next(iter(pairs.values()))
    known = _truth(pair, truth, units, y_flip, origin, label, ignore)
    rng = np.random.default_rng(how.seed)
    views = _views(known, pair.map.shape, how, rng)
    styles = {name: (each.look.settings, each.window) for name, each in pairs.items()}
    parts, shown, missing = [], None, 0
    for number, (view, count) in enumerate(views):
        near = graph_near(known, view, reach=2 * REACH)
        aims = _aims(near, view.shape, how.margin, count, rng)
        rays = random_rays(aims, view.shape, rng, jitter=how.jitter)
        raw, map_ = pair.volumes(view)
        missing += int(np.isnan(map_[tuple(np.floor(aims.T + 0.5).astype(int))]).sum())
        wanted = None if number or example is None else _label(example)
        landed, found = click_view(
            raw, map_, near, rays, styles, unexplored=unexplored, example=wanted
        )
        shown = found if number == 0 else shown
        parts.append(landed)
        if progress is not None:
            progress(number + 1, len(views))
    return MarkerScores(
        landed={display: Landed.join([part[display] for part in parts]) for display in parts[0]},
        shape=pair.map.shape,
        views=tuple(view for view, _ in views),
        unexplored=missing,
        seed=how.seed,
        example=shown,
    )


def _pairs(
    brain: Address,
    distance: Address,
    presets: Sequence[str] | None,
    unexplored: Unexplored,
    example: str | None,
) -> dict[str, Pair]:
    """Open brain and map for each preset; without a choice, leave out those that do not fit."""
    names = list(presets) if presets else list_presets("overlay")["overlay"]
    if example is not None and example not in names:
        names.append(example)
    found = {}
    for name in names:
        settings = read_settings(OverlaySettings, find_preset("overlay", name))
        if settings.colour == "rgb":
            if presets:
                raise UsageError(
                    f"{name} is in colour, where a click looks at one channel only: choose "
                    f"replace, which is its green"
                )
            continue
        try:
            found[_label(name)] = Pair(brain, distance, Look(settings, "uint16", 65535, unexplored))
        except UsageError as error:
            if presets or name == example:
                raise
            logger.warning("without preset %s: %s", name, error)
    return found


def _label(preset: str) -> str:
    """Name a preset in tables: a file by its name alone."""
    path = Path(preset)
    return path.stem if path.suffix in (".yaml", ".yml") else preset


def _truth(
    pair: Pair,
    truth: str | Path | Iterable[str | Path],
    units: Units | None,
    y_flip: bool,
    origin: tuple[float, float, float],
    label: int | None,
    ignore: int | None,
) -> Graph:
    """Return the centrelines in voxels of the map."""
    image = pair.map
    given = [truth] if isinstance(truth, str | Path) else list(truth)
    known = truth_about(
        image,
        Prediction(DistanceMap.of(image, 1.0)),
        given,
        units=units,
        y_flip=y_flip,
        origin=origin,
        label=label,
        ignore=ignore,
    )
    if (why := known.refusal()) is not None:
        raise UsageError(f"clicks need the truth as lines, and {why}")
    return known.graph(BLOCK)


def _views(
    graph: Graph, shape: ZYX, how: Clicks, rng: np.random.Generator
) -> list[tuple[Box, int]]:
    """Choose views and the number of clicks in each; a small volume is one view."""
    if max(shape) <= how.view:
        return [(Box.of_shape(shape), how.rays)]
    count = min(how.views, how.rays)
    centres = _aims(graph, shape, how.margin, count, rng)
    shares = np.diff(np.linspace(0, how.rays, count + 1).astype(int)).tolist()
    return list(zip((_view(c, shape, how.view) for c in centres), shares, strict=True))


def _view(centre: Points, shape: ZYX, side: int) -> Box:
    """Return the view around a point; at a face of the brain it is moved inwards, not cut."""
    size = np.minimum(shape, side)
    start = np.clip(np.floor(centre + 0.5).astype(int) - size // 2, 0, np.subtract(shape, size))
    (z, y, x), (depth, height, width) = start.tolist(), size.tolist()
    return Box.of_shape((depth, height, width)).shift((z, y, x))


def _aims(graph: Graph, shape: ZYX, margin: float, count: int, rng: np.random.Generator) -> Points:
    high = np.subtract(shape, 1 + margin)
    aims = random_aims(graph, (margin, margin, margin), high, count, rng)
    if not len(aims):
        raise AnnotationError(
            f"the truth has no neurite at least {margin:g} voxels inside {shape} voxels, so there "
            f"is nothing to click at; check its units and its origin"
        )
    return aims
