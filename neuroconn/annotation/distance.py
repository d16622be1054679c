"""Centreline to distance map: what the network learns to predict."""

from __future__ import annotations

import math

import edt
import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation.forest import Forest
from neuroconn.annotation.render import render
from neuroconn.geometry import Box


def distance_map(
    centreline: NDArray[np.bool_],
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    clip: float = 10.0,
) -> NDArray[np.float32]:
    """Distance from each voxel to the nearest neurite, cut off at ``clip``.

    Parameters
    ----------
    centreline : ndarray of bool, shape (z, y, x)
        True on the voxels an annotated neurite passes through.
    spacing : (z, y, x) floats, optional
        Voxel size. Distances are in its unit; the default counts voxels.
    clip : float, optional
        Where the map goes flat. Beyond it a voxel says nothing about the
        neurite, and a halo this wide makes blockwise and whole-volume maps equal.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        0 on a neurite, ``clip`` far from all of them.

    Examples
    --------
    >>> line = np.zeros((1, 1, 5), dtype=bool)
    >>> line[0, 0, 0] = True
    >>> distance_map(line, clip=3)[0, 0]
    array([0., 1., 2., 3., 3.], dtype=float32)
    """
    if centreline.ndim != 3:
        raise ValueError(f"centreline must be a (z, y, x) volume, got shape {centreline.shape}")
    if not (clip > 0 and min(spacing) > 0):
        raise ValueError(f"clip and spacing must be positive, got {clip} and {spacing}")
    if not centreline.any():
        # The transform measures to the nearest zero; with none it would invent one.
        return np.full(centreline.shape, clip, dtype=np.float32)
    distance: NDArray[np.float32] = edt.edt(
        ~np.ascontiguousarray(centreline, dtype=bool), anisotropy=spacing, parallel=1
    )
    return np.minimum(distance, np.float32(clip), out=distance)


def distance_block(
    forest: Forest,
    box: Box,
    *,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    clip: float = 10.0,
    volume: Box | None = None,
) -> NDArray[np.float32]:
    """Distance map of one box of a brain, as if cut from the map of the whole.

    Neurites up to ``clip`` outside the box are rendered too: one just behind a face would
    otherwise be missed, an error of up to ``clip``.

    Parameters
    ----------
    forest : Forest
        Nodes in voxels.
    box : Box
        Which voxels to return.
    spacing, clip
        As for `distance_map`.
    volume : Box, optional
        The whole brain. Given, what lies outside it counts as no neurite, as it would in a map
        of the whole.

    Returns
    -------
    ndarray of float32, shape ``box.shape``
    """
    z, y, x = (math.ceil(clip / s) for s in spacing)
    block = box.grow((z, y, x))
    if volume is not None:
        block = block.clip(volume)
    distance = distance_map(render(forest, block), spacing=spacing, clip=clip)
    return distance[box.within(block)]
