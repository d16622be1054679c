"""How thick a traced neurite looks in the image.

A distance map counts to the centreline, so there is no thickness in it. The image has one: across
a neurite, brightness falls to half of what it is on the centreline over the background. That is
the width the microscope shows, the blur of its optics included: an axon thinner than the blur is
as thick as the blur.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest
from neuroconn.geometry import Box, Frame
from neuroconn.volume import Image, read_region
from neuroconn.volume.axes import VolumeArray

_REACH = 8.0
"""How far across a neurite is looked, in units of the finest voxel side; beyond half of it is
taken for background."""
_STEP = 0.5
_DIRECTIONS = 12
_BLOCK = 128
_MEDIAN = 5
"""Nodes along a branch, of which a node's radius is the median."""


def image_radii(forest: Forest, brain: Image) -> NDArray[np.float64]:
    """Measure the half width at half maximum around every node.

    Parameters
    ----------
    forest : Forest
        Nodes in voxels of the image.
    brain : Image
        Level 0 is read, a block at a time, where there are nodes.

    Returns
    -------
    ndarray of float64, shape (n,)
        In µm (in units of the frame, if the spacing is unknown); NaN where a node is no brighter
        than what is around it, or nothing falls to half.
    """
    frame, array = brain.frame, brain.array()
    across = _planes(forest, frame)
    radii = np.full(len(forest), np.nan)
    block = np.floor(forest.positions / _BLOCK).astype(np.int64)
    order = np.lexsort(block.T[::-1])
    changes = np.flatnonzero(np.diff(block[order], axis=0).any(axis=1)) + 1
    for nodes in np.split(order, changes):
        if len(nodes):
            profiles = _profiles(array, frame, forest.positions[nodes], across[nodes])
            radii[nodes] = [_half_width(profile) for profile in profiles]
    return _along_branches(forest, radii * _unit(frame))


def _unit(frame: Frame) -> float:
    return min(frame.spacing_um)


def _planes(forest: Forest, frame: Frame) -> NDArray[np.float64]:
    """(n, directions, 3) unit vectors in µm across the neurite at every node."""
    positions = forest.positions * frame.spacing_um
    ways = np.zeros((len(forest), 3))
    child, parent = forest.edges.T
    way = positions[child] - positions[parent]
    np.add.at(ways, child, way)
    np.add.at(ways, parent, way)
    length = np.linalg.norm(ways, axis=1, keepdims=True)
    ways = np.where(length > 0, ways / np.maximum(length, 1e-12), (1.0, 0.0, 0.0))
    helper = np.eye(3)[np.abs(ways).argmin(axis=1)]
    first = np.cross(ways, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(ways, first)
    angles = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    turned: NDArray[np.float64] = (
        first[:, None] * np.cos(angles)[:, None] + second[:, None] * np.sin(angles)[:, None]
    )
    return turned


def _profiles(
    array: VolumeArray, frame: Frame, nodes: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, steps) brightness against distance from the node, the median over directions."""
    from scipy.ndimage import map_coordinates

    steps = np.arange(0, _REACH + _STEP / 2, _STEP) * _unit(frame)
    offsets = across[:, :, None] * steps[:, None] / np.asarray(frame.spacing_um)
    places = nodes[:, None, None] + offsets
    low = np.floor(places.reshape(-1, 3).min(axis=0)).astype(int)
    high = np.ceil(places.reshape(-1, 3).max(axis=0)).astype(int) + 1
    box = Box((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
    tile = read_region(array, box, pad="edge").astype(np.float32)
    sampled = map_coordinates(tile, np.moveaxis(places - low, -1, 0), order=1, mode="nearest")
    profiles: NDArray[np.float64] = np.median(sampled, axis=1)
    return profiles


def _half_width(profile: NDArray[Any]) -> float:
    """Distance at which brightness first falls to half, in finest voxels."""
    far = len(profile) // 2
    background, peak = float(np.median(profile[far:])), float(profile[:2].max())
    below = np.flatnonzero(profile <= (peak + background) / 2)
    if not (peak > background and below.size and below[0] > 0):
        return float("nan")
    outer = int(below[0])
    high, low = float(profile[outer - 1]), float(profile[outer])
    share = (high - (peak + background) / 2) / (high - low)
    return (outer - 1 + share) * _STEP


def _along_branches(forest: Forest, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace every radius by the median of those of its nearest ancestors and descendants."""
    rows = [radii]
    up = np.arange(len(forest))
    parents = np.where(forest.parents < 0, np.arange(len(forest)), forest.parents)
    child = np.arange(len(forest))
    child[parents[::-1]] = np.arange(len(forest))[::-1]  # the first child stays
    down = np.arange(len(forest))
    for _ in range(_MEDIAN // 2):
        up, down = parents[up], child[down]
        rows += [radii[up], radii[down]]
    table = np.stack(rows)
    known = np.isfinite(table).any(axis=0)
    median = np.full(len(forest), np.nan)
    median[known] = np.nanmedian(table[:, known], axis=0)
    return median
