"""The map of a run in a report: the brain along three axes with the chunks over it, as one SVG."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ChunkGrid
from neuroconn.view.projection import View, cells, overlay, png

COLOURS = {
    "neurite": (0, 168, 120, 140),
    "empty": (86, 180, 233, 105),
    "queued": (230, 159, 0, 160),
    "in_flight": (240, 228, 66, 220),
    "failed": (213, 54, 42, 240),
    "masked": (138, 143, 152, 100),
}
"""Red, green, blue and opacity of each state; what is unexplored stays clear."""

_GAP = 6
_WIDE, _HIGH = 1000, 620


def map_svg(
    grid: ChunkGrid,
    state: NDArray[np.uint8],
    spacing_um: Sequence[float],
    views: Sequence[View] | None,
) -> str:
    """Draw the three views as an ``<svg>`` with its pictures inside.

    Parameters
    ----------
    grid : ChunkGrid
        Chunks of the run.
    state : ndarray of uint8, shape ``grid.counts``
        Of the frontier.
    spacing_um : (z, y, x) floats
        Voxel size of the inferred level.
    views : three View, optional
        The brain along z, y and x; black without them.
    """
    um = [n * s for n, s in zip(grid.shape, spacing_um, strict=True)]
    scale = min((_WIDE - _GAP) / (um[2] + um[0]), (_HIGH - _GAP) / (um[1] + um[0]))
    deep, high, wide = (max(2.0, v * scale) for v in um)
    # Along x the rows of a view are z, which runs to the right here: it is turned over.
    places = (
        f"translate(0 0) scale({wide / grid.shape[2]:.6g} {high / grid.shape[1]:.6g})",
        f"translate(0 {high + _GAP:.1f}) "
        f"scale({wide / grid.shape[2]:.6g} {deep / grid.shape[0]:.6g})",
        f"translate({wide + _GAP:.1f} 0) "
        f"matrix(0 {high / grid.shape[1]:.6g} {deep / grid.shape[0]:.6g} 0 0 0)",
    )
    parts = []
    for axis, flat in enumerate(cells(state)):
        rows, columns = (i for i in range(3) if i != axis)
        size = f'width="{grid.shape[columns]}" height="{grid.shape[rows]}"'
        inside = f'<rect {size} fill="#0a0d11"/>'
        if views is not None:
            inside += _picture(views[axis].png, views[axis].extent, "auto")
        by = [-(-grid.counts[i] // n) for i, n in zip((rows, columns), flat.shape, strict=True)]
        extent = (
            float(flat.shape[0] * by[0] * grid.chunk[rows]),
            float(flat.shape[1] * by[1] * grid.chunk[columns]),
        )
        inside += _picture(png(overlay(flat, COLOURS)), extent, "pixelated")
        parts.append(
            f'<svg overflow="hidden" {size}>{inside}</svg>'.join(
                (f'<g transform="{places[axis]}">', "</g>")
            )
        )
    bar, words = _scale_bar(um[2])
    parts.append(
        f'<rect x="10" y="{high - 12:.1f}" width="{bar * scale:.1f}" height="3" fill="#fff"/>'
        f'<text x="10" y="{high - 17:.1f}" class="onmap">{words}</text>'
        f'<text x="8" y="16" class="onmap">along z</text>'
        f'<text x="8" y="{high + _GAP + 16:.1f}" class="onmap">along y</text>'
        f'<text x="{wide + _GAP + 8:.1f}" y="16" class="onmap">along x</text>'
    )
    size = f"{wide + _GAP + deep:.1f} {high + _GAP + deep:.1f}"
    return (
        f'<svg class="map" viewBox="0 0 {size}" role="img" '
        f'aria-label="The brain along z, y and x, and the chunks over it">{"".join(parts)}</svg>'
    )


def _picture(data: bytes, extent: tuple[float, float], rendering: str) -> str:
    text = base64.b64encode(data).decode("ascii")
    return (
        f'<image width="{extent[1]:g}" height="{extent[0]:g}" preserveAspectRatio="none" '
        f'style="image-rendering:{rendering}" href="data:image/png;base64,{text}"/>'
    )


def _scale_bar(width_um: float) -> tuple[float, str]:
    """Round length of about a fifth of the width, and its name."""
    base = 10.0 ** math.floor(math.log10(max(width_um, 1e-6) / 3))
    length = max(k * base for k in (1, 2, 5) if k * base <= width_um / 3)
    return length, f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
