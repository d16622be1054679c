"""Synthetic brains of any size, drawn chunk by chunk.

Every voxel is a pure function of the seed and its position: nothing is convolved and nothing is
held, so a virtual brain of terabytes opens as fast as its neurons can be read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest, Graph, graph_near, graph_of_segments
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.phantom.displacement import displaced
from neuroconn.phantom.items import Index
from neuroconn.phantom.scene import build, distractors
from neuroconn.phantom.settings import Neurites, PhantomSettings
from neuroconn.phantom.tissue import background, expose


class Phantom:
    """A synthetic brain with exact ground truth.

    Parameters
    ----------
    shape : (z, y, x) ints
        Voxels of the whole brain.
    forests : sequence of Forest
        One per neuron, positions in voxels; they may leave the brain.
    settings : PhantomSettings, optional
        Tissue, optics, camera and how neurites look.
    styles : sequence of Neurites, optional
        How each neuron looks, where they differ; the default is ``settings.neurites`` for all.
    seed : int, optional
        Two phantoms with the same arguments are equal voxel by voxel.

    Examples
    --------
    >>> from neuroconn.phantom import random_phantom
    >>> brain = random_phantom((64, 96, 96), seed=1)
    >>> tile = Box((8, 0, 40), (24, 32, 90))
    >>> whole = brain.image(Box.of_shape(brain.shape))
    >>> bool((brain.image(tile) == whole[tile.slices]).all())
    True
    """

    clip = 10.0
    """Where :meth:`distance` goes flat unless told otherwise, in voxels."""

    def __init__(
        self,
        shape: ZYX,
        forests: Sequence[Forest],
        settings: PhantomSettings | None = None,
        *,
        styles: Sequence[Neurites] | None = None,
        seed: int = 0,
    ) -> None:
        self.shape = shape
        self.forests = list(forests)
        self.settings = settings or PhantomSettings()
        self.seed = seed
        self.styles = (
            list(styles) if styles is not None else [self.settings.neurites] * len(forests)
        )
        self.scene = build(
            self.forests,
            self.styles,
            self.settings.optics,
            tortuosity=self.settings.tortuosity,
            seed=seed,
        )
        self._fibres = self.scene.fibres.index()
        self._balls = self.scene.balls.index()
        self._lines: dict[float, Index] = {}

    @property
    def bounds(self) -> Box:
        """The voxels of the whole brain."""
        return Box.of_shape(self.shape)

    def image(self, box: Box | None = None) -> NDArray[np.uint16]:
        """Grey levels of ``box`` (default: all), uint16, shape ``box.shape``."""
        box = box or self.bounds
        light = self.light(box)
        return expose(light, box, self.settings.camera, self.seed)

    def light(self, box: Box) -> NDArray[np.float32]:
        """Grey levels without camera offset or noise, float32, shape ``box.shape``."""
        settings = self.settings
        light = background(box, settings.tissue, self.seed)
        self.scene.fibres.add_to(light, box, self._fibres.query(box))
        self.scene.balls.add_to(light, box, self._balls.query(box))
        for balls in distractors(box, settings.tissue, settings.optics, self.seed):
            balls.add_to(light, box, balls.index().query(box))
        return light

    def distance(self, box: Box | None = None, *, clip: float = clip) -> NDArray[np.float32]:
        """Exact distance to the nearest labelled centreline, cut off at ``clip`` voxels.

        No rasterisation and no face error: the same in every tile. float32, shape ``box.shape``.
        """
        box = box or self.bounds
        return self.scene.centrelines.distance(box, self._near(clip).query(box), clip)

    def graph(self, box: Box, *, reach: float = clip) -> Graph:
        """Labelled centrelines within ``reach`` of ``box``, in voxels of the box, as chains.

        Pieces are whole, so nodes may lie outside; equal ends are one node.
        """
        lines = self.scene.centrelines
        near = self._near(reach).query(box)
        whole = graph_of_segments(np.stack((lines.start[near], lines.stop[near]), axis=1))
        return graph_near(whole, box, reach=reach)

    def displaced(self, rms: float, *, pitch: float = 30.0) -> Phantom:
        """Return the same image with an annotation that strays from it.

        Parameters
        ----------
        rms : float
            Root mean square of how far a place of the annotation lies from the neurite, in voxels.
        pitch : float, optional
            Over how many voxels it strays one way before it strays another.
        """
        other = copy.copy(self)
        lines = displaced(self.scene.centrelines, rms, pitch=pitch, seed=self.seed)
        other.scene, other._lines = replace(self.scene, centrelines=lines), {}
        return other

    def centreline(self, box: Box | None = None) -> NDArray[np.bool_]:
        """Voxels within half a voxel diagonal (0.87) of a labelled centreline."""
        rendered: NDArray[np.bool_] = self.distance(box, clip=2.0) <= np.sqrt(3) / 2
        return rendered

    def _near(self, reach: float) -> Index:
        if reach not in self._lines:
            self._lines[reach] = self.scene.centrelines.index(reach + 1)
        return self._lines[reach]

    def neurite_chunks(self, chunk: int | ZYX) -> list[ZYX]:
        """Chunks a labelled centreline passes through, exactly, sorted.

        This is what a walk over the brain has to find.
        """
        size = (chunk, chunk, chunk) if isinstance(chunk, int) else chunk
        grid = ChunkGrid(self.shape, size)
        # A piece may cross chunks of the grid where these reach past the volume.
        lines = self.scene.centrelines.clip(self.bounds)
        return [i for i in map(_index, lines.chunks(size)) if i in grid]


def _index(row: NDArray[np.int64]) -> ZYX:
    z, y, x = map(int, row)
    return z, y, x
