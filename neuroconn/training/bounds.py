"""Bounds of the distance at every voxel of a crop, from what little is known of real tissue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.annotation import distance_map
from neuroconn.metrics.skeleton import skeleton

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

_REACH = 4.0
"""Distance in voxels beyond which a labelled plane says nothing."""
OFF_PLANE = 1.0
"""How far above or below its plane a labelled line may run, in voxels."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the true distance lies, and how much that counts. All float32, shape (z, y, x)."""

    low: Volume
    """It is at least this, in voxels."""
    high: Volume
    """And at most this; equal to ``low`` where the distance is known."""
    weight: Volume
    """Of each voxel in the loss; 1 as a rule."""

    @classmethod
    def exact(cls, distance: Volume) -> Bounds:
        """Make the bounds of a distance that is known everywhere."""
        return cls(distance, distance, np.ones_like(distance))

    @property
    def closed(self) -> bool:
        """Whether they leave nothing open: the distance is known everywhere."""
        return np.array_equal(self.low, self.high)

    def beside(self, distance: Volume) -> Bounds:
        """Add neurites whose distance is known: of two neurites, the nearer counts."""
        return Bounds(np.minimum(self.low, distance), np.minimum(self.high, distance), self.weight)

    def without(self, voxels: Mask) -> Bounds:
        """Forget what is known of some voxels."""
        most = np.float32(max(self.high.max(), self.low.max()))
        return Bounds(
            np.where(voxels, np.float32(0), self.low),
            np.where(voxels, most, self.high),
            np.where(voxels, np.float32(1), self.weight),
        )

    def padded(
        self, place: tuple[slice, slice, slice], shape: tuple[int, int, int], clip: float
    ) -> Bounds:
        """Put these bounds at a place of a larger volume, about which nothing else is known."""
        padded = Bounds(*(np.full(shape, v, np.float32) for v in (0.0, clip, 1.0)))
        padded.low[place], padded.high[place] = self.low, self.high
        padded.weight[place] = self.weight
        return padded

    def moved(self, move: Callable[[Volume], Volume]) -> Bounds:
        """Flip or turn all three maps."""
        return Bounds(*(np.ascontiguousarray(move(v)) for v in (self.low, self.high, self.weight)))

    def __getitem__(self, place: tuple[slice, ...]) -> Bounds:
        return Bounds(self.low[place], self.high[place], self.weight[place])


def bounds_of_map(
    distance: Volume, *, clip: float, sure: float, shortest: int, edge: int = 0
) -> Bounds:
    """Read what an earlier model's map says, and what it leaves open.

    Long lines that it is sure of are neurites, dips that it is not sure of may be: the true
    distance lies between that to either and that to the former.

    Parameters
    ----------
    distance : ndarray of float32, shape (z, y, x)
        The map, in voxels.
    clip : float
        Where distances are cut off.
    sure : float
        Distance below which the map is thinned to lines.
    shortest : int
        Voxels of the shortest line to be sure of.
    edge : int, optional
        Voxels at each face in which no line is sure.
    """
    seen = skeleton(distance < sure)
    maybe = seen | skeleton(_dips(distance))
    inner = np.zeros_like(seen)
    inner[(slice(edge, -edge or None),) * 3] = True
    lines = _long(seen & inner, shortest)
    high = distance_map(lines, clip=clip)
    return Bounds(distance_map(maybe, clip=clip), high, np.ones_like(high))


def bounds_of_plane(
    label: NDArray[np.integer[Any]], *, neurite: int, background: int, clip: float
) -> tuple[Volume, Volume]:
    """Read one plane labelled by hand.

    A line drawn in the plane is at most a voxel above or below it, so near to it the distance is
    at most that in the plane, and one. A neurite just above the plane may be left out of its
    labels, so that background is only known to be 4 voxels away, or as far as the label is.

    Parameters
    ----------
    label : ndarray of int, shape (y, x)
        Labels.
    neurite, background : int
        What they mean; nothing is known of other labels.
    clip : float
        Where distances are cut off, in voxels.

    Returns
    -------
    low, high : ndarrays of float32, shape (y, x)
    """
    mask = label == neurite
    away = np.minimum(distance_map(mask[None], clip=clip)[0], _REACH)
    low = np.where(label == background, away, 0).astype(np.float32)
    near = distance_map(skeleton(mask)[None], clip=clip)[0] + OFF_PLANE
    high = np.where(near < _REACH, near, clip).astype(np.float32)
    return low, np.maximum(low, high)


def _dips(distance: Volume, *, depth: float = 0.6, scale: float = 3.0) -> Mask:
    """Voxels nearer to something than their surroundings are, however far that is."""
    around = ndimage.gaussian_filter(distance, scale, mode="nearest")
    found: Mask = around - distance > depth
    return found


def _long(lines: Mask, shortest: int) -> Mask:
    pieces, count = ndimage.label(lines, np.ones((3,) * lines.ndim))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept: Mask = (sizes >= shortest)[pieces]
    return kept
