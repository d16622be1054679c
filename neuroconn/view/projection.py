"""Three flat views of a walk: the brain seen along z, y and x, and the chunks over it.

A view costs a few hundred cells a side, whatever the size of the brain, so that it can be sent
around while the walk goes on.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.inference.frontier.frontier import NAMES
from neuroconn.view.pictures import Picture, stretch
from neuroconn.volume.store import Image

RANKS = ("masked", "unexplored", "empty", "queued", "neurite", "in_flight", "failed")
"""States of chunks, from what hides behind others to what shows in front of them."""

AXES = ("z", "y", "x")

_RANK_OF = np.array([RANKS.index(name) for name in NAMES], dtype=np.uint8)
_SIDE = 512  # pixels or cells of a view
_CHEAP = 1 << 26  # voxels: a second or two to read


@dataclass(frozen=True, slots=True)
class View:
    """The brain seen along an axis."""

    png: bytes
    """Grey, the brightest voxel of each ray."""
    extent: tuple[float, float]
    """Rows and columns it covers, in voxels of the inferred level; a little more than there are."""


def cells(state: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """See the states of chunks along z, y and x.

    Parameters
    ----------
    state : ndarray of uint8, shape (z, y, x)
        As of :class:`neuroconn.inference.frontier.frontier.Frontier`.

    Returns
    -------
    three ndarrays of uint8, shapes (y, x), (z, x) and (z, y)
        Index into :data:`RANKS` of what shows; more than 512 cells a side are taken together.

    Examples
    --------
    >>> state = np.array([[[0, 3]], [[4, 0]]], dtype=np.uint8)  # neurite is 3, empty is 4
    >>> [view.tolist() for view in cells(state)]
    [[[2, 4]], [[1, 4], [2, 1]], [[4], [2]]]
    """
    nz, ny, nx = state.shape
    along_z = np.zeros((ny, nx), np.uint8)
    along_y = np.zeros((nz, nx), np.uint8)
    along_x = np.zeros((nz, ny), np.uint8)
    for z in range(nz):  # a slab at a time: no second copy of the whole grid
        ranks = _RANK_OF[state[z]]
        np.maximum(along_z, ranks, out=along_z)
        along_y[z] = ranks.max(axis=0)
        along_x[z] = ranks.max(axis=1)
    return tuple(_shrink(view, _SIDE)[0] for view in (along_z, along_y, along_x))


def brain_views(image: Image, level: int = 0) -> tuple[View, ...]:
    """See a brain along z, y and x, from one pass over a coarse level of it.

    Parameters
    ----------
    image : Image
        The brain.
    level : int, optional
        The level whose voxels extents are given in.
    """
    cheap = (n for n, k in enumerate(image.levels) if n >= level and prod(k.shape) <= _CHEAP)
    coarse = next(cheap, len(image.levels) - 1)
    planes = _maxima(_slabs(image, coarse))
    fine, factor = image.levels[level].factor, image.levels[coarse].factor
    step = [f / g for f, g in zip(factor, fine, strict=True)]
    views = []
    for axis, plane in enumerate(planes):
        small, shrunk = _shrink(plane, _SIDE)
        row, column = (s for a, s in enumerate(step) if a != axis)
        rows, columns = small.shape
        views.append(
            View(png(stretch(small)), (rows * shrunk * row, columns * shrunk * column)),
        )
    return tuple(views)


def overlay(view: NDArray[np.uint8], colours: dict[str, tuple[int, int, int, int]]) -> Picture:
    """Paint a view of :func:`cells`; what ``colours`` does not name stays clear.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 4)
    """
    palette = np.array([colours.get(name, (0, 0, 0, 0)) for name in RANKS], dtype=np.uint8)
    painted: Picture = palette[view]
    return painted


def png(picture: Picture) -> bytes:
    """Encode a grey (y, x), colour (y, x, 3) or half-clear (y, x, 4) picture."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(picture).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _slabs(image: Image, number: int) -> Iterator[NDArray[Any]]:
    array: Any = image.array(number)
    thick = array.chunks[0]
    for z in range(0, array.shape[0], thick):
        yield np.asarray(array[z : z + thick])


def _maxima(slabs: Iterator[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """Brightest voxels along z, y and x of a volume that comes in slabs."""
    first: NDArray[Any] | None = None
    second, third = [], []
    for slab in slabs:
        flat = slab.max(axis=0)
        first = flat if first is None else np.maximum(first, flat)
        second.append(slab.max(axis=1))
        third.append(slab.max(axis=2))
    if first is None:
        raise ValueError("a volume without planes cannot be seen")
    return first, np.concatenate(second), np.concatenate(third)


def _shrink(plane: NDArray[Any], side: int) -> tuple[NDArray[Any], int]:
    """Keep the largest value of every square, so that no side is longer; and the square's side."""
    by = -(-max(plane.shape) // side)
    if by == 1:
        return plane, 1
    rows, columns = (-(-n // by) for n in plane.shape)
    wide = [(0, rows * by - plane.shape[0]), (0, columns * by - plane.shape[1])]
    padded = np.pad(plane, wide, mode="edge")
    return padded.reshape(rows, by, columns, by).max(axis=(1, 3)), by
