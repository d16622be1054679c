"""Clicks in a 3D view: where a marker lands when a neurite is aimed at from any side.

Vaa3D does not take the brightest point of the ray under the cursor. It takes the intensity centroid
of the ray, keeps the middle 80 % of a segment around it, and repeats until the segment is shorter
than half a voxel. Whatever else is bright on the ray draws the marker towards itself, which is why
a neurite that can be seen cannot always be clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from neuroconn.annotation import Graph

Points = NDArray[np.float64]
"""(n, 3) places, (z, y, x), in voxels; a voxel's centre has whole numbers."""

SHORTEST = 0.5
"""A segment shorter than this, in voxels, is a point."""
SHRINK = 0.8
"""Share of a segment that the next one has."""
ROUNDS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Rays:
    """Straight lines through a view, each meant for a point of a neurite."""

    start: Points
    stop: Points
    aim: Points

    def __len__(self) -> int:
        return len(self.aim)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> Rays:
        return Rays(self.start[chosen], self.stop[chosen], self.aim[chosen])


def click(volume: NDArray[Any], start: Points, stop: Points) -> Points:
    """Place a marker on every ray through a volume as Vaa3D does.

    1. A segment of length L < 0.5 ends the search; so do 200 rounds.
    2. It is sampled at ``round(L) + 1`` equally spaced points, ends included, linearly between
       voxels, 0 outside.
    3. The marker is their centroid, weighted by value; a sum of 0 ends the search. The next segment
       is 0.8 L long, centred on the marker.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
        What Vaa3D works on: the 8 bits TeraFly shows, or signed numbers of a file.
    start, stop : ndarrays of float, shape (n, 3)
        Ends of the rays.

    Returns
    -------
    ndarray of float, shape (n, 3)
        The markers; NaN where the ray meets nothing.

    Examples
    --------
    >>> volume = np.zeros((1, 1, 9), dtype=np.uint8)
    >>> volume[0, 0, 6] = 50
    >>> click(volume, np.array([[0.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 8.0]]))
    array([[0., 0., 6.]])
    """
    start = np.asarray(start, dtype=np.float64)
    course = np.asarray(stop, dtype=np.float64) - start
    length = np.sqrt((course**2).sum(axis=1))
    direction = course / np.where(length > 0, length, 1)[:, None]
    # All happens on the ray: places are voxels from its start.
    place, begin = np.full(len(start), np.nan), np.zeros(len(start))
    left = np.arange(len(start))
    for _ in range(ROUNDS):
        left = left[length[left] >= SHORTEST]
        if not len(left):
            break
        found = begin[left] + _centroids(
            volume, start[left] + begin[left, None] * direction[left], direction[left], length[left]
        )
        left, found = left[np.isfinite(found)], found[np.isfinite(found)]
        place[left] = found
        length[left] *= SHRINK
        begin[left] = found - length[left] / 2
    markers: Points = start + place[:, None] * direction
    return markers


def _centroids(
    volume: NDArray[Any], start: Points, direction: Points, length: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far from its start each segment's weight lies; NaN where it has none."""
    pieces = np.floor(length + 0.5).astype(np.int64)
    first = np.cumsum(pieces + 1) - (pieces + 1)
    ray = np.repeat(np.arange(len(start)), pieces + 1)
    along = (np.arange(len(ray)) - first[ray]) * (length / pieces)[ray]
    points = (start[ray] + along[:, None] * direction[ray]).T
    values = ndimage.map_coordinates(volume, points, output=np.float64, order=1, mode="constant")
    weight = np.add.reduceat(values, first)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight == 0, np.nan, np.add.reduceat(values * along, first) / weight)


def random_aims(
    graph: Graph, low: ArrayLike, high: ArrayLike, count: int, rng: np.random.Generator
) -> Points:
    """Draw points of a graph's edges inside a box, every voxel of length as likely as another.

    Parameters
    ----------
    graph : Graph
        Centrelines of neurites.
    low, high : (z, y, x) floats
        Corners of the closed box.
    count : int
        Points, drawn with replacement.
    rng : numpy.random.Generator
        Source of every choice.

    Returns
    -------
    ndarray of float, shape (count, 3)
        Shape (0, 3) if no edge has a part in the box.
    """
    first, last = graph.positions[graph.edges[:, 0]], graph.positions[graph.edges[:, 1]]
    enter, leave = (np.clip(s, 0, 1) for s in spans(first, last - first, low, high))
    inside = np.maximum(leave - enter, 0) * graph.lengths
    if not inside.sum():
        return np.empty((0, 3))
    edge = rng.choice(len(inside), size=count, p=inside / inside.sum())
    share = enter[edge] + (leave - enter)[edge] * rng.random(count)
    aims: Points = first[edge] + share[:, None] * (last - first)[edge]
    return aims


def random_rays(
    aims: Points, shape: Sequence[int], rng: np.random.Generator, *, jitter: float = 0.5
) -> Rays:
    """Look at points of a view from random sides, with a hand that is not quite still.

    Parameters
    ----------
    aims : ndarray of float, shape (n, 3)
        Points inside the view.
    shape : (z, y, x) ints
        Voxels of the view; rays end at the centres of its outermost voxels.
    rng : numpy.random.Generator
        Source of every choice. Directions are uniform on the sphere.
    jitter : float, optional
        Deviation of each end along each axis, normal, in voxels.
    """
    direction = rng.normal(size=(len(aims), 3))
    direction /= np.sqrt((direction**2).sum(axis=1))[:, None]
    enter, leave = spans(aims, direction, (0, 0, 0), np.subtract(shape, 1))
    start, stop = (
        aims + far[:, None] * direction + jitter * rng.normal(size=(len(aims), 3))
        for far in (enter, leave)
    )
    return Rays(start, stop, aims)


def spans(
    start: Points, course: Points, low: ArrayLike, high: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where straight lines enter and leave a closed box, as multiples of their course.

    A line that misses the box enters it after it has left it.

    Examples
    --------
    >>> spans(np.zeros((1, 3)), np.array([[0.0, 0.0, 2.0]]), (0, 0, 4), (0, 0, 8))
    (array([2.]), array([4.]))
    """
    low, high, still = np.asarray(low), np.asarray(high), course == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - start) / course, (high - start) / course
    beside = still & ((start < low) | (start > high))
    enter = np.where(still, np.where(beside, np.inf, -np.inf), np.minimum(a, b)).max(axis=1)
    leave = np.where(still, np.where(beside, -np.inf, np.inf), np.maximum(a, b)).min(axis=1)
    return enter, leave
