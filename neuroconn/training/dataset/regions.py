"""Regions of a brain that share no voxel and no neighbourhood: to learn, to choose, to report.

Neighbouring crops look alike: a network that learnt from one does well on the other, whether it
learnt or remembered. So a brain is cut into slabs across one axis, with a guard between them, and
each slab belongs to one split.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest
from neuroconn.config.crops import SplitSettings
from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, Box
from neuroconn.training.crop import SPLITS

Region = tuple[str, Box]


def regions(
    forest: Forest, shape: ZYX, settings: SplitSettings, *, size: int, clip: float, seed: int
) -> list[Region]:
    """Cut a brain into a slab for each split.

    Parameters
    ----------
    forest : Forest
        The annotation, in voxels.
    shape : (z, y, x) ints
        Voxels of the brain.
    settings : SplitSettings
        Shares of the annotated length; a share of 0 gets no slab.
    size : int
        Edge of a crop: no slab is thinner.
    clip : float
        The guard between slabs is at least as wide, so that no neurite shows in the distance maps
        on both sides.
    seed : int
        The order of the slabs follows from it.

    Returns
    -------
    list of (split, Box)
        In order along the axis.

    Raises
    ------
    UsageError
        If the brain is too small for the crops, or for so many slabs.

    Examples
    --------
    >>> line = Forest([[5, 5, 0], [5, 5, 99]], parents=[-1, 0])
    >>> halves = SplitSettings(train=0.5, validation=0.5, test=0, guard=10)
    >>> found = regions(line, (10, 10, 100), halves, size=8, clip=4.0, seed=0)
    >>> [(split, box.start[2], box.stop[2]) for split, box in found]
    [('validation', 0, 45), ('train', 55, 100)]
    """
    if size > min(shape):
        raise UsageError(
            f"crops of {size} voxels do not fit into a brain of {shape} voxels (z, y, x): set "
            f"size: {min(shape)} or less"
        )
    shares = {name: getattr(settings, name) for name in SPLITS}
    wanted = [name for name in SPLITS if shares[name] > 0]
    order = [wanted[i] for i in np.random.default_rng([seed, 31]).permutation(len(wanted))]
    guard = max(settings.guard or 0, math.ceil(clip)) if len(order) > 1 else 0
    room = len(order) * size + (len(order) - 1) * guard
    axis = _axis(forest, shape, room) if settings.axis is None else "zyx".index(settings.axis)
    if shape[axis] < room:
        raise UsageError(
            f"a brain of {shape} voxels (z, y, x) has no room along {'zyx'[axis]} for "
            f"{len(order)} regions of {size} voxels with {guard} between them: lower size, set the "
            "share of a split to 0, or give whole brains to a split (split: validation)"
        )
    ends = np.cumsum([shares[name] for name in order])
    cuts = _quantiles(forest, axis, ends[:-1] / ends[-1])
    return [
        (name, _slab(shape, axis, start, stop))
        for name, (start, stop) in zip(
            order, _intervals(cuts, shape[axis], size, guard), strict=True
        )
    ]


def _axis(forest: Forest, shape: ZYX, room: int) -> int:
    """Return the axis along which the annotation is longest, of those with room."""
    inside = np.clip(forest.positions, 0, np.subtract(shape, 1))
    extent = np.ptp(inside, axis=0)
    return max(range(3), key=lambda axis: (shape[axis] >= room, extent[axis]))


def _quantiles(forest: Forest, axis: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Planes that leave the given shares of the annotated length before them, to a voxel or so."""
    segments = forest.segments
    length = np.sqrt(((segments[:, 0] - segments[:, 1]) ** 2).sum(axis=1)) + 1e-9
    start, course = segments[:, 0, axis], segments[:, 1, axis] - segments[:, 0, axis]
    # A long segment is spread evenly over its course: cut to pieces, each taken at its middle.
    pieces = np.ceil(np.abs(course)).astype(np.int64).clip(min=1)
    owner = np.repeat(np.arange(len(pieces)), pieces)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    places = start[owner] + (rank + 0.5) / pieces[owner] * course[owner]
    order = np.argsort(places, kind="stable")
    before = np.cumsum((length / pieces)[owner][order])
    found = np.searchsorted(before, shares * before[-1])
    planes: NDArray[np.int64] = np.round(places[order][np.minimum(found, len(order) - 1)])
    return planes.astype(np.int64)


def _intervals(
    cuts: NDArray[np.int64], extent: int, size: int, guard: int
) -> list[tuple[int, int]]:
    """Slabs around the cuts, each at least ``size`` thick, ``guard`` voxels apart."""
    count = len(cuts) + 1
    starts = [0]
    for number, cut in enumerate(cuts.tolist(), start=1):
        after = count - number
        least = starts[-1] + size + guard
        most = extent - after * size - (after - 1) * guard
        starts.append(min(max(cut + guard - guard // 2, least), most))
    stops = [start - guard for start in starts[1:]] + [extent]
    return list(zip(starts, stops, strict=True))


def _slab(shape: ZYX, axis: int, start: int, stop: int) -> Box:
    low, high = [0, 0, 0], list(shape)
    low[axis], high[axis] = start, stop
    return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
