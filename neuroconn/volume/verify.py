"""Reading everything back: checksums, missing objects, each level against the one below.

Cost: every stored voxel is decoded once, those of coarse levels twice; decoding is several times as
fast as the encoding of a conversion. Memory: two stored objects and their copies a thread.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import lcm
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.volume.convert_run import processors
from neuroconn.volume.engines import LEFTOVERS, chosen_engine, open_array
from neuroconn.volume.pyramid import reduce_block, reduced_box
from neuroconn.volume.recorded import EMPTY, UNKNOWN, recorded_levels
from neuroconn.volume.regions import read_region, stored_grid, stored_object
from neuroconn.volume.statistics import voxel_histogram
from neuroconn.volume.store import Image, open_image

_Item = TypeVar("_Item")


def verify_image(
    path: str | Path,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Read every stored voxel of an image and name what is wrong with it.

    Checks each stored object's size and checksums; that what a conversion wrote is still there,
    voxel for voxel; that each level of an image of ours is the reduction of the level below; and
    that the stored histogram counts the voxels of level 0.

    Parameters
    ----------
    path : path
        An OME-Zarr image.
    threads : int, optional
        Objects decoded at once; the processors this process may use, if not given.
    progress : callable, optional
        Called with the objects checked so far and their number.

    Returns
    -------
    list of str
        One line a problem; empty if the image is sound.

    Raises
    ------
    VolumeError
        If there is no image to check.
    """
    image = open_image(path)
    check = _Check(image)
    problems = list(check.surroundings())
    blocks = [(level, box) for level in range(len(image.levels)) for box in check.blocks(level)]
    with ThreadPoolExecutor(threads or processors()) as pool:
        for done, found in enumerate(_in_order(pool, check.block, blocks), 1):
            problems += found
            if progress is not None:
                progress(done, len(blocks))
    return problems + list(check.totals())


class _Check:
    """An image and what is known about it beyond its own metadata."""

    def __init__(self, image: Image) -> None:
        self._image, self._lock = image, Lock()
        notes = image.attributes if image.ours else {}
        self._conversion: dict[str, Any] | None = notes.get("conversion")
        self._complete = "intensity" in notes
        engine = chosen_engine("auto")
        self._arrays = [open_array(image, level, engine) for level in range(len(image.levels))]
        self._recorded = recorded_levels(image)
        self._counted: NDArray[np.int64] | None = None
        if self._complete:
            self._counted = voxel_histogram(np.empty(0, self._arrays[0].dtype))

    def surroundings(self) -> Iterator[str]:
        """Problems that show without decoding a voxel."""
        image = self._image
        if not image.ours:
            return
        for name in image.paths:
            folder = image.folder / name
            for pattern in LEFTOVERS:
                for left in sorted(folder.rglob(pattern)):
                    yield f"{left} is the rest of an interrupted write"
            for file in sorted(folder.rglob("*")):
                if file.is_symlink():
                    yield f"{file} is a link: what it points to is not part of the brain"
        if self._conversion is not None and not self._complete:
            yield f"{image.path} is an unfinished conversion; run the same command again"

    def blocks(self, level: int) -> Iterator[Box]:
        """Boxes to decode at once, joined where a step of the pyramid would cut across them."""
        recorded = self._recorded.get(level)
        grid = recorded.grid if recorded else stored_grid(self._arrays[level])
        if level + 1 < len(self._arrays):
            steps = self._image.levels[level + 1].step
            z, y, x = (lcm(n, step) for n, step in zip(grid.chunk, steps, strict=True))
            grid = ChunkGrid(grid.shape, (z, y, x))
        return (grid.core(index) for index in grid)

    def block(self, at: tuple[int, Box]) -> list[str]:
        """Decode a block and compare it with everything that is known about it."""
        level, box = at
        problems = list(self._files(level, box))
        try:
            block = read_region(self._arrays[level], box)
        except VolumeError as error:
            return [*problems, f"level {level}: {error}"]
        if level == 0 and self._counted is not None:
            counted = voxel_histogram(block)
            with self._lock:
                self._counted += counted
        problems += self._sums(level, box, block)
        if self._image.ours and level + 1 < len(self._arrays):
            problems += self._against_next(level, box, block)
        return problems

    def totals(self) -> Iterator[str]:
        """Problems of the image as a whole."""
        if self._counted is not None and not np.array_equal(self._counted, self._image.histogram):
            yield f"{self._image.path}: the stored histogram does not count the stored voxels"

    def _sums(self, level: int, box: Box, block: NDArray[Any]) -> Iterator[str]:
        """Compare voxels with what the conversion wrote: damage no codec of Zarr v2 sees."""
        if self._arrays[level].shards is not None:
            return  # their chunks carry checksums
        for _, sum_, shard in self._shards(level, box):
            voxels = np.ascontiguousarray(block[shard.within(box)])
            if sum_ == EMPTY and voxels.any():
                yield f"level {level}: {shard} holds voxels where the conversion wrote none"
            elif sum_ >= 0 and zlib.crc32(voxels.data) != sum_:
                yield (
                    f"level {level}: the voxels of {shard} are not those the conversion wrote; "
                    "convert again"
                )

    def _files(self, level: int, box: Box) -> Iterator[str]:
        """Shards that are not as long as the conversion made them, or gone."""
        array = self._arrays[level]
        if array.shards is None:
            return  # which of its chunks are empty is not recorded; the sum of all is
        for index, sum_, _ in self._shards(level, box):
            path = stored_object(array, index)
            size = path.stat().st_size if path is not None and path.is_file() else EMPTY
            if sum_ >= 0 and size == EMPTY:
                yield f"{path} is missing: its voxels would read as empty"
            elif sum_ != UNKNOWN and size != sum_:
                wrote = "no file" if sum_ == EMPTY else f"{sum_} bytes"
                yield f"{path} has {size} bytes and the conversion wrote {wrote}: it is damaged"

    def _shards(self, level: int, box: Box) -> Iterator[tuple[ZYX, int, Box]]:
        recorded = self._recorded.get(level)
        if recorded is not None:
            for index in recorded.grid.overlapping(box):
                yield index, int(recorded.sums[index]), recorded.grid.core(index)

    def _against_next(self, level: int, box: Box, block: NDArray[Any]) -> Iterator[str]:
        step = self._image.levels[level + 1].step
        target, method = reduced_box(box, step), self._image.downsample or "max"
        try:
            stored = read_region(self._arrays[level + 1], target)
        except VolumeError:
            return  # named when its own level is read
        except ValueError as error:
            yield f"level {level + 1} has the wrong shape: {error}"
            return
        if block.dtype.kind == "f":  # NaN is unexplored, farther than any distance
            block, stored = (np.where(np.isnan(v), np.inf, v) for v in (block, stored))
        wrong = int(np.count_nonzero(stored != reduce_block(block, step, method)))
        if wrong:
            yield (
                f"level {level + 1}: {wrong} voxels of {target} are not the {method} of "
                f"level {level}"
            )


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[_Item], list[str]], items: Iterable[_Item]
) -> Iterator[list[str]]:
    """Yield results in order, with a bounded number of items on their way."""
    waiting: deque[Future[list[str]]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > 64:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
