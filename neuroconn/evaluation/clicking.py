"""Clicks into one view: the same rays through every display of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.config.overlay import OverlaySettings
from neuroconn.evaluation.displays import RAW, Display, displays
from neuroconn.evaluation.marker_scores import Example, Landed
from neuroconn.metrics.along import Nearest
from neuroconn.metrics.clicks import Points, Rays, click
from neuroconn.vaa3d.overlay import Unexplored, Window

REACH = 10.0
"""Farther from any neurite a marker is lost; how far, nobody asks."""


def click_view(
    raw: NDArray[Any],
    distance: NDArray[np.floating[Any]],
    graph: Graph,
    rays: Rays,
    presets: Mapping[str, tuple[OverlaySettings, Window]],
    *,
    unexplored: Unexplored = "raw",
    example: str | None = None,
) -> tuple[dict[Display, Landed], Example | None]:
    """Click along rays in every display of a view and say where the markers lie.

    Parameters
    ----------
    raw, distance : ndarrays, shape (z, y, x)
        The brain and its distance map in the view; NaN where nobody looked.
    graph : Graph
        Centrelines of all neurites in the view and around it, in its voxels.
    rays : Rays
        In voxels of the view.
    presets : mapping of name to (OverlaySettings, Window)
        Grey overlays to be compared with the brain.
    unexplored : "raw" or "null", optional
        As for an export.
    example : str, optional
        A preset of which what TeraFly shows is kept, to be drawn.

    Returns
    -------
    dict of Landed by Display, and the Example if one was asked for
    """
    nearest = Nearest(graph)
    landed: dict[Display, Landed] = {}
    views: dict[str, NDArray[np.uint8]] = {}
    places: dict[str, Points] = {}
    for display, shown in displays(raw, distance, presets, unexplored):
        markers = click(shown, rays.start, rays.stop)
        landed[display] = judge(markers, rays, nearest)
        if display.opening == "terafly-16" and display.name in (RAW, example):
            views[display.name], places[display.name] = shown, markers
    if example is None:
        return landed, None
    return landed, Example(
        example,
        views=(views[RAW], views[example]),
        rays=rays,
        markers=(places[RAW], places[example]),
        landed=(landed[Display(RAW, "terafly-16")], landed[Display(example, "terafly-16")]),
    )


def judge(markers: Points, rays: Rays, nearest: Nearest) -> Landed:
    """Measure how far markers lie from neurites, and from what was aimed at."""
    placed = np.isfinite(markers).all(axis=1)
    neurite, aim = np.full(len(rays), np.inf), np.full(len(rays), np.inf)
    neurite[placed] = nearest(markers[placed], REACH)[1]
    aim[placed] = np.sqrt(((markers - rays.aim)[placed] ** 2).sum(axis=1))
    return Landed(neurite, aim)
