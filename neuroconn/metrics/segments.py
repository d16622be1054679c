"""Which connected piece of a mask a point lies in, for masks seen one block at a time."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from neuroconn.geometry import ZYX, Box
from neuroconn.metrics.balls import ball, nearest


class Segments:
    """Connected components (26 neighbours) of a volume's mask, looked up at points.

    Blocks are labelled alone, one voxel beyond their core. A voxel that two of them label makes
    one component of both labels, so what is kept is the mask's voxels at the faces, and the
    answer is that of the whole volume, whatever the blocks.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        Where to look, in voxels of the volume; each stands for the voxel it lies in.
    shape : (z, y, x) ints
        Of the volume.
    slack : float, optional
        A point belongs to the nearest voxel of the mask that is at most so far from its voxel.
    """

    def __init__(self, points: NDArray[np.float64], shape: ZYX, *, slack: float = 0.0) -> None:
        voxels = np.floor(points + 0.5).astype(np.int64)
        self._order = np.argsort(voxels[:, 0], kind="stable")
        self._voxels = voxels[self._order]
        self._volume, self._slack = Box.of_shape(shape), slack
        self._offsets = ball(slack)
        self._label = np.zeros(len(points), dtype=np.int64)  # provisional, in the sorted order
        self._labels = 0
        self._shared: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    @property
    def halo(self) -> int:
        """Voxels around a core in which `add` must know the mask."""
        return max(2 * math.ceil(self._slack), 1)

    def add(self, mask: NDArray[np.bool_], block: Box, core: Box) -> None:
        """Take the mask of a block.

        Parameters
        ----------
        mask : ndarray of bool, shape ``block.shape``
            Connected components are those of its voxels.
        block : Box
            The core and at least `halo` voxels around it, as far as the volume goes.
        core : Box
            What this block stands for; the cores of all blocks tile the volume.
        """
        if not core.grow(self.halo).clip(self._volume).clip(block) == core.grow(self.halo).clip(
            self._volume
        ):
            raise ValueError(f"{block} leaves less than {self.halo} voxels around {core}")
        near = core.grow(1).clip(self._volume)
        labels, count = cc3d.connected_components(
            np.ascontiguousarray(mask[near.within(block)]), connectivity=26, return_N=True
        )
        if not count:
            return
        self._look_up(mask, block, core, labels, near)
        self._share(labels, near, core)
        self._labels += count

    def ids(self) -> NDArray[np.int64]:
        """Return the component of every point, numbered from 1 by first appearance; 0 for none."""
        first, second = self._joined()
        pairs = coo_array(
            (np.ones(len(first), dtype=np.int8), (first, second)),
            shape=(self._labels + 1, self._labels + 1),
        )
        component = connected_components(pairs, directed=False)[1] if self._labels else np.zeros(1)
        ids = np.zeros(len(self._label), dtype=np.int64)
        ids[self._order] = np.where(self._label > 0, component[self._label] + 1, 0)
        return _renumbered(ids)

    def _look_up(
        self,
        mask: NDArray[np.bool_],
        block: Box,
        core: Box,
        labels: NDArray[Any],
        near: Box,
    ) -> None:
        """Label the points whose nearest voxel is in the core: those of no other block."""
        around = core.grow(math.ceil(self._slack))
        low, high = np.searchsorted(self._voxels[:, 0], (around.start[0], around.stop[0]))
        there = self._voxels[low:high]
        inside = ((there >= around.start) & (there < around.stop)).all(axis=1)
        chosen = low + np.flatnonzero(inside)
        found = nearest(mask, self._voxels[chosen] - block.start, self._offsets)
        voxel = self._voxels[chosen] + self._offsets[found]
        mine = (found >= 0) & ((voxel >= core.start) & (voxel < core.stop)).all(axis=1)
        z, y, x = (voxel[mine] - near.start).T
        self._label[chosen[mine]] = labels[z, y, x].astype(np.int64) + self._labels

    def _share(self, labels: NDArray[Any], near: Box, core: Box) -> None:
        """Keep the labels of the first layer of voxels behind every face between blocks.

        Of two neighbours in two blocks, one lies in such a layer, and both blocks have labelled it.
        """
        shape = self._volume.shape
        for axis, face in product(range(3), (0, 1)):
            layer = (core.start, core.stop)[face][axis]
            if layer in (0, shape[axis]):
                continue
            part = labels.take(layer - near.start[axis], axis=axis)
            place = list(part.nonzero())
            place.insert(axis, np.full(len(place[0]), layer - near.start[axis]))
            z, y, x = (p + a for p, a in zip(place, near.start, strict=True))
            voxel = np.ravel_multi_index((z, y, x), shape).astype(np.int64)
            self._shared.append((voxel, part[part > 0].astype(np.int64) + self._labels))

    def _joined(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of labels of one voxel."""
        empty = np.empty(0, dtype=np.int64)
        voxel = np.concatenate([empty, *(voxels for voxels, _ in self._shared)])
        label = np.concatenate([empty, *(labels for _, labels in self._shared)])
        order = np.argsort(voxel, kind="stable")
        voxel, label = voxel[order], label[order]
        same = voxel[1:] == voxel[:-1]
        return label[:-1][same], label[1:][same]


def segments_at(
    mask: NDArray[np.bool_], points: NDArray[np.float64], *, slack: float = 0.0
) -> NDArray[np.int64]:
    """Look up which connected component of a mask each point belongs to.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Connected across faces, edges and corners.
    points : ndarray of float, shape (n, 3)
        In voxels; each stands for the voxel it lies in.
    slack : float, optional
        Farthest the component may be.

    Returns
    -------
    ndarray of int64, shape (n,)
        Numbered from 1 by first appearance; 0 where there is none.

    Examples
    --------
    >>> mask = np.array([[[True, True, False, False, True]]])
    >>> segments_at(mask, np.array([[0, 0, 1], [0, 0, 2], [0, 0, 4]]))
    array([1, 0, 2])
    """
    z, y, x = mask.shape
    segments = Segments(points, (z, y, x), slack=slack)
    whole = Box.of_shape((z, y, x))
    segments.add(mask, whole, whole)
    return segments.ids()


def _renumbered(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids above 0 numbered by where they first appear."""
    names, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    first[names == 0] = -1
    rank = np.argsort(np.argsort(first)) + (0 if (names == 0).any() else 1)
    return rank[inverse].astype(np.int64) if len(ids) else ids
