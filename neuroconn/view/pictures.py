"""Projections as PNG: what a lab looks at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, ChunkGrid

Picture = NDArray[np.uint8]

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "neurite": (96, 200, 120),
    "empty": (120, 120, 130),
    "failed": (220, 60, 60),
    "unexplored": (30, 30, 36),
}
"""How :func:`chunk_map` paints each state."""


def projection(volume: NDArray[Any], *, axis: int = 0, minimum: bool = False) -> NDArray[Any]:
    """Project a volume along an axis.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x) or (z, y, x, 3)
        NaN counts as absent.
    axis : int, optional
        The axis looked along.
    minimum : bool, optional
        Keep the least value of each ray, as for distance maps, instead of the greatest.

    Returns
    -------
    ndarray, shape (y, x) or (y, x, 3) for axis 0
        NaN where a ray holds nothing else.

    Examples
    --------
    >>> projection(np.array([[[1, 5]], [[3, 2]]]))
    array([[3, 5]])
    """
    reduce = np.fmin if minimum else np.fmax
    result: NDArray[Any] = reduce.reduce(volume, axis=axis)
    return result


def stretch(
    plane: NDArray[Any], *, low: float | None = None, high: float | None = None, softness: float = 3
) -> Picture:
    """Grey values to 0..255 along an asinh curve, so that dim and bright axons both show.

    Parameters
    ----------
    plane : ndarray, shape (y, x)
        Grey values.
    low, high : float, optional
        What becomes black and white; the 1st and 99.9th percentile by default.
    softness : float, optional
        Strength of the curve; 0 is linear.
    """
    values = np.nan_to_num(np.asarray(plane, float))
    low = float(np.percentile(values, 1)) if low is None else low
    high = float(np.percentile(values, 99.9)) if high is None else high
    t = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    if softness:
        t = np.arcsinh(softness * t) / np.arcsinh(softness)
    picture: Picture = np.round(255 * t).astype(np.uint8)
    return picture


def nearness(distance: NDArray[Any], *, clip: float) -> Picture:
    """Show a distance plane bright on neurites, black at ``clip``, dark blue where unexplored.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
    """
    absent = np.isnan(distance)
    near = 1 - np.clip(np.nan_to_num(distance, nan=clip), 0, clip) / clip
    grey = np.round(255 * near).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    picture[absent] = (16, 20, 48)
    return picture


def chunk_map(grid: ChunkGrid, states: Mapping[str, Iterable[ZYX]], *, pixels: int = 24) -> Picture:
    """Draw the chunk grid seen along z: a cell shows its most interesting state over all z.

    Parameters
    ----------
    grid : ChunkGrid
        The grid.
    states : mapping of state name to chunk indices
        ``neurite``, ``empty`` and ``failed``; the rest is unexplored.
    pixels : int, optional
        Side of a cell.

    Returns
    -------
    ndarray of uint8, shape (rows * pixels, columns * pixels, 3)
    """
    _, rows, columns = grid.counts
    cells = np.full((rows, columns, 3), COLOURS["unexplored"], np.uint8)
    for state in ("empty", "neurite", "failed"):
        for _, y, x in states.get(state, ()):
            cells[y, x] = COLOURS[state]
    picture = cells.repeat(pixels, axis=0).repeat(pixels, axis=1)
    picture[::pixels] = picture[:, ::pixels] = 12
    return picture


def side_by_side(pictures: Sequence[Picture], *, gap: int = 4) -> Picture:
    """Put pictures of equal height in a row, white between them.

    Parameters
    ----------
    pictures : sequence of ndarray of uint8, shape (y, x) or (y, x, 3)
        Grey ones become colour.
    gap : int, optional
        Pixels between them.

    Returns
    -------
    ndarray of uint8, shape (y, sum of x and gaps, 3)

    Raises
    ------
    ValueError
        If the heights differ.
    """
    heights = {len(picture) for picture in pictures}
    if len(heights) != 1:
        raise ValueError(f"pictures side by side need one height, got {sorted(heights)}")
    colour = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=-1) for p in pictures]
    space = np.full((heights.pop(), gap, 3), 255, np.uint8)
    row = [part for picture in colour for part in (space, picture)][1:]
    return np.concatenate(row, axis=1)


def save_png(path: Path, picture: Picture, *, enlarge: int = 1) -> Path:
    """Write a grey (y, x) or colour (y, x, 3) picture; the old file stays until it is whole."""
    from PIL import Image

    big = picture.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    part = path.with_name(f".{path.name}.part")
    Image.fromarray(big).save(part, format="PNG", optimize=True)
    part.replace(path)
    return path
