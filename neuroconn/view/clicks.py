"""What a click sees: one view, raw and overlaid, with where the markers landed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.evaluation.marker_scores import HIT, NEAR
from neuroconn.view.pictures import Picture, projection

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from neuroconn.evaluation.marker_scores import Example, Landed
    from neuroconn.metrics.clicks import Points

INK = {"hit": (64, 224, 208), "miss": (255, 120, 60), "aim": (235, 215, 80)}
"""Turquoise, orange and yellow: told apart by the colour-blind, and on grey."""
_GREY, _WHITE, _BLACK = (120, 120, 120), (255, 255, 255), (0, 0, 0)
_GAP, _LINE, _HEIGHT = 12, 18, 90
_WIDE = 560
"""About as many pixels across for a projection."""

Colour = tuple[int, int, int]


def draw_clicks(example: Example, *, clicks: int = 60, profiles: int = 3) -> Picture:
    """Draw a view raw (left) and overlaid (right), as TeraFly shows it, and rays through it.

    Above: maximum projections along z. Turquoise rings are markers within 2 voxels of a neurite,
    orange ones are elsewhere; a thin line leads from each of these to where it was aimed. Below:
    what lies on a few rays whose click missed in the raw view and hit in the overlay, from end to
    end, with the aim (yellow) and the marker.

    Parameters
    ----------
    example : Example
        As `neuroconn.evaluation.evaluate_markers` keeps it.
    clicks : int, optional
        How many are drawn.
    profiles : int, optional
        Rays shown below; fewer if fewer were mended.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
    """
    from PIL import Image, ImageDraw

    times = max(1, round(_WIDE / example.views[0].shape[2]))
    panels = [projection(view).repeat(times, 0).repeat(times, 1) for view in example.views]
    high, wide = panels[0].shape
    chosen = _mended(example, profiles)
    top = _LINE + _GAP
    bottom = len(chosen) * (_HEIGHT + _GAP) + (_LINE if len(chosen) else 0)
    canvas = Image.new("RGB", (2 * wide + _GAP, top + high + _GAP + bottom), _WHITE)
    draw = ImageDraw.Draw(canvas)
    sides = zip(("raw", example.preset), panels, example.markers, example.landed, strict=True)
    for side, (name, panel, markers, landed) in enumerate(sides):
        left = side * (wide + _GAP)
        canvas.paste(Image.fromarray(panel), (left, top))
        share = float((landed.neurite <= HIT).mean())
        words = f"{name}: {share:.1%} of {len(landed.aim)} clicks within {HIT:g} voxels"
        draw.text((left + 2, 6), words, fill=_BLACK)
        _rings(draw, example.rays.aim[:clicks], markers[:clicks], landed, (left, top), times)
        for row, ray in enumerate(chosen):
            corner = left, top + high + _GAP + row * (_HEIGHT + _GAP)
            _profile(draw, example, side, int(ray), (*corner, wide, _HEIGHT))
    if len(chosen):
        words = (
            "rings: markers near a neurite (turquoise) or not (orange, line to the aim); below: "
            "rays from end to end, brightness shown, aim (dashes), marker"
        )
        draw.text((2, canvas.height - _LINE), words, fill=_GREY)
    return np.asarray(canvas)


def _mended(example: Example, count: int) -> NDArray[np.int64]:
    """Rays whose click missed in the raw view and hit what was aimed at in the overlay.

    Long rays come first, and last those whose click hit another neurite.
    """
    raw, overlay = (landed.neurite <= HIT for landed in example.landed)
    length = np.linalg.norm(example.rays.stop - example.rays.start, axis=1)
    other = example.landed[1].aim > NEAR
    mended = np.flatnonzero(~raw & overlay)
    return mended[np.lexsort((-length[mended], other[mended]))][:count]


def _rings(
    draw: ImageDraw,
    aims: Points,
    markers: Points,
    landed: Landed,
    corner: tuple[int, int],
    times: int,
) -> None:
    def pixel(point: NDArray[np.float64]) -> tuple[float, float]:
        _, y, x = point
        return corner[0] + (x + 0.5) * times, corner[1] + (y + 0.5) * times

    for aim, marker, near in zip(aims, markers, landed.neurite, strict=False):
        if not np.isfinite(marker).all():
            continue
        ink, (x, y) = INK["hit" if near <= HIT else "miss"], pixel(marker)
        if near > HIT:
            draw.line([pixel(aim), (x, y)], fill=ink, width=1)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], outline=ink, width=2)


def _profile(
    draw: ImageDraw, example: Example, side: int, ray: int, place: tuple[int, int, int, int]
) -> None:
    """Plot the values along a ray into a frame at (left, top, width, height)."""
    left, top, width, height = place
    start, stop = example.rays.start[ray], example.rays.stop[ray]
    length = float(np.linalg.norm(stop - start))
    course = (stop - start) / max(length, 1e-9)
    along = np.linspace(0, length, max(2, int(2 * length)))
    points = (start + along[:, None] * course).T
    values = ndimage.map_coordinates(example.views[side], points, output=float, order=1)

    def at(voxels: float) -> float:
        return left + width * voxels / max(length, 1e-9)

    draw.rectangle([left, top, left + width - 1, top + height], fill=(24, 24, 24))
    aim = at(float((example.rays.aim[ray] - start) @ course))
    for y0, y1 in _dashes(top, top + height):
        draw.line([(aim, y0), (aim, y1)], fill=INK["aim"], width=1)
    marker = at(float((example.markers[side][ray] - start) @ course))
    ink = INK["hit" if example.landed[side].neurite[ray] <= HIT else "miss"]
    draw.line([(marker, top), (marker, top + height)], fill=ink, width=2)
    heights = top + height - height * values / 255
    curve = list(zip((left + width * along / max(length, 1e-9)).tolist(), heights, strict=True))
    for first, second in pairwise(curve):
        draw.line([first, second], fill=_WHITE, width=1)


def _dashes(start: int, stop: int) -> Iterator[tuple[int, int]]:
    return ((y, min(y + 4, stop)) for y in range(start, stop, 8))
