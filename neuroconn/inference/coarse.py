"""The pyramid of a distance map: the nearest neurite of the voxels somebody looked at.

Levels are built one after the other when the walk is over, a whole stored object at a time, and
only where the level below has something. Building one again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.inference.journal.at_once import at_once, threads_for
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.pyramid import reduce_block
from neuroconn.volume.regions import read_region, write_region
from neuroconn.volume.store import Image


def build_pyramid(
    image: Image, explored: Iterable[ZYX], *, after_each: Callable[[], None] | None = None
) -> int:
    """Write the coarse levels over the explored chunks of level 0.

    Parameters
    ----------
    image : Image
        A distance map; level 0 is complete.
    explored : iterable of (z, y, x) ints
        Chunks that are stored there.
    after_each : callable, optional
        Called after each stored object; may raise to stop.

    Returns
    -------
    int
        Stored objects written.
    """

    def build(item: tuple[int, ZYX]) -> None:
        number, index = item
        core = image.grid(number).core(index)
        write_region(image.array(number), core, coarse_block(image, number, core))

    written = 0
    # A level is made of the whole one below, so levels do not overlap; on a disk it is quick.
    far = isinstance(image.path, ObjectPath)
    for _, objects in groupby(coarse_objects(image, explored), key=itemgetter(0)):
        for _ in at_once(build, objects, threads_for(image.path)) if far else map(build, objects):
            written += 1
            if after_each is not None:
                after_each()
    return written


def coarse_objects(image: Image, explored: Iterable[ZYX]) -> Iterator[tuple[int, ZYX]]:
    """Yield the objects of the coarse levels over the explored chunks, finest level first."""
    present = set(explored)
    for number in range(1, len(image.levels)):
        step, grid = image.levels[number].step, image.grid(number)
        present = _above(present, image.grid(number - 1), grid, step)
        for index in sorted(present):
            yield number, index


def coarse_block(image: Image, number: int, core: Box) -> NDArray[Any]:
    """Compute voxels of a coarse level from the level below.

    Parameters
    ----------
    image : Image
        A distance map.
    number : int
        The level, 1 or more.
    core : Box
        Voxels of that level.
    """
    step, below = image.levels[number].step, image.levels[number - 1]
    z0, y0, x0 = (a * s for a, s in zip(core.start, step, strict=True))
    z1, y1, x1 = (b * s for b, s in zip(core.stop, step, strict=True))
    source = Box((z0, y0, x0), (z1, y1, x1)).clip(Box.of_shape(below.shape))
    block = read_region(image.array(number - 1), source)
    if block.dtype.kind != "f":
        return reduce_block(block, step, "min")
    # The fill of a float map is NaN, which a minimum would spread; of codes it is the largest.
    block = np.where(np.isnan(block), np.inf, block).astype(block.dtype)
    coarse = reduce_block(block, step, "min")
    coarse[np.isinf(coarse)] = np.nan
    return coarse


def _above(present: set[ZYX], below: ChunkGrid, grid: ChunkGrid, step: ZYX) -> set[ZYX]:
    """Return the stored objects that those ``present`` in the level below lie under."""
    found: set[ZYX] = set()
    for index in present:
        box = below.core(index)
        z0, y0, x0 = (a // s for a, s in zip(box.start, step, strict=True))
        z1, y1, x1 = (-(-b // s) for b, s in zip(box.stop, step, strict=True))
        found.update(grid.overlapping(Box((z0, y0, x0), (z1, y1, x1))))
    return found
