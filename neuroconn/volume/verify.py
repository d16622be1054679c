"""Reading everything back: checksums, missing objects, and each level against the one below."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.convert_journal import read_journal
from neuroconn.volume.pyramid import reduce_block, reduced_box
from neuroconn.volume.regions import read_region, stored_object
from neuroconn.volume.statistics import voxel_histogram
from neuroconn.volume.store import Image, open_image


def verify_image(path: str | Path) -> list[str]:
    """Read every stored voxel of an image and name what is wrong with it.

    Checks each stored object's size and checksums; that what a conversion wrote is still there;
    that each level of an image of ours is the reduction of the level below; and that the stored
    histogram counts the voxels of level 0.

    Parameters
    ----------
    path : path
        An OME-Zarr image.

    Returns
    -------
    list of str
        One line a problem; empty if the image is sound. Memory: one stored object and its copies.

    Raises
    ------
    VolumeError
        If there is no image to check.
    """
    image = open_image(path)
    problems = list(_absent(image))
    problems += [f"{p} is the rest of an interrupted write" for p in _partials(image)]
    intensity = image.attributes.get("intensity") if image.ours else None
    counted = voxel_histogram(np.empty(0, image.array(0).dtype)) if intensity else None
    for level in range(len(image.levels)):
        problems += _level(image, level, counted if level == 0 else None)
    if "conversion" in image.attributes and intensity is None:
        problems.append(f"{image.path} is an unfinished conversion; run the same command again")
    if counted is not None and not np.array_equal(counted, image.histogram):
        problems.append(f"{image.path}: the stored histogram does not count the stored voxels")
    return problems


def _level(image: Image, level: int, counted: NDArray[np.int64] | None) -> Iterator[str]:
    array = image.array(level)
    for box in _blocks(image, level):
        try:
            block = read_region(array, box)
        except VolumeError as error:
            yield f"level {level}: {error}"
            continue
        if counted is not None:
            counted += voxel_histogram(block)
        if image.ours and level + 1 < len(image.levels):
            yield from _against_next(image, level, box, block)


def _against_next(image: Image, level: int, box: Box, block: NDArray[Any]) -> Iterator[str]:
    step = image.levels[level + 1].step
    target = reduced_box(box, step)
    expected = reduce_block(block, step, image.downsample or "max")
    try:
        stored = read_region(image.array(level + 1), target)
    except VolumeError:
        return  # named when its own level is read
    except ValueError as error:
        yield f"level {level + 1} has the wrong shape: {error}"
        return
    wrong = int(np.count_nonzero(stored != expected))
    if wrong:
        yield (
            f"level {level + 1}: {wrong} voxels of {target} are not the {image.downsample} of "
            f"level {level}"
        )


def _blocks(image: Image, level: int) -> Iterator[Box]:
    """Return the stored objects, joined where a step of the pyramid would cut across them."""
    grid = image.grid(level)
    if level + 1 == len(image.levels):
        return (grid.core(index) for index in grid)
    steps = image.levels[level + 1].step
    z, y, x = (lcm(n, step) for n, step in zip(grid.chunk, steps, strict=True))
    joined = ChunkGrid(grid.shape, (z, y, x))
    return (joined.core(index) for index in joined)


def _absent(image: Image) -> Iterator[str]:
    """Objects that the conversion stored and that are gone: they would read as fill value."""
    if not image.ours:
        return
    for record in read_journal(image.path)[1:]:
        for level, z, y, stored in record["written"]:
            for x, digit in enumerate(stored):
                index: ZYX = (z, y, x)
                path = stored_object(image.array(level), index)
                if digit == "1" and path is not None and not path.is_file():
                    yield f"{path} is missing: its voxels would read as empty"


def _partials(image: Image) -> list[Path]:
    if not image.ours:
        return []
    return sorted(p for name in image.paths for p in (image.path / name).rglob("*.partial"))
