"""The work of a conversion: bands are read ahead by one, counted, written and reduced.

The same code runs on this machine's threads for the whole volume, and in a Dask task for a part of
it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box
from neuroconn.volume.cascade import Cascade, WrittenBand
from neuroconn.volume.convert_journal import make_durable
from neuroconn.volume.convert_plan import SPARE_WRITERS, ConvertPlan
from neuroconn.volume.convert_progress import BandRecord, Counts
from neuroconn.volume.engines import Engine, open_array
from neuroconn.volume.regions import stored_object
from neuroconn.volume.sources import Source
from neuroconn.volume.sources.damage import BadPlace, read_on, salvage
from neuroconn.volume.statistics_planes import lattice
from neuroconn.volume.store import Image


class DamagedError(Exception):
    """Places of the source that cannot be read, where they must not be filled."""

    def __init__(self, places: tuple[BadPlace, ...]) -> None:
        super().__init__(places)
        self.places = places


@dataclass(frozen=True)
class Work:
    """What is converted into what, and how; pickles to workers."""

    source: Source
    image: Image
    plan: ConvertPlan
    engine: Engine
    threads: int
    fill_bad: bool
    """Whether places that cannot be read become zeros."""


@dataclass(slots=True)
class _Read:
    """A band as it comes from the source."""

    voxels: NDArray[Any]
    bad: tuple[BadPlace, ...]
    clipped: int


def write_bands(
    work: Work, bands: Sequence[ZYX], written: set[tuple[int, ZYX]], top: int | None = None
) -> Iterator[BandRecord]:
    """Convert bands of level 0 and every coarser band they complete.

    Parameters
    ----------
    work : Work
        What to convert.
    bands : sequence of (z, y, x) ints
        Bands of level 0 that are not stored yet, in the order of the plan.
    written : set of (level, band)
        What is stored; grows.
    top : int, optional
        Coarsest level to write; the last, if not given.

    Yields
    ------
    BandRecord
        When everything it lists is on disk.

    Raises
    ------
    DamagedError
        If voxels of the source cannot be read and must not be filled.
    """
    arrays = [open_array(work.image, level, work.engine) for level in range(len(work.plan.levels))]
    every = lattice(work.plan.levels[0].shape)
    with (
        ThreadPoolExecutor(work.threads + SPARE_WRITERS, "write") as writers,
        ThreadPoolExecutor(work.threads, "read") as readers,
        ThreadPoolExecutor(1, "cascade") as conductor,
    ):
        observer = _Observer(every)
        cascade = Cascade(
            arrays, work.plan, writers, written=written, top=top, observe=observer.observe
        )
        buffers = _Buffers()

        def write(band: ZYX, read: _Read) -> BandRecord:
            observer.begin(work.plan.bands(0).core(band), work.source.dtype, read.clipped)
            finished = cascade.absorb(0, band, read.voxels)
            buffers.free(read.voxels)
            _settle(work, arrays, finished)
            return BandRecord(finished, observer.counts, read.bad)

        ready: BandRecord | None = None
        for band, read in _ahead(work, bands, readers, buffers):
            damaged = bool(read.bad) and not work.fill_bad
            writing = None if damaged else conductor.submit(write, band, read)
            if ready is not None:
                yield ready  # whoever records it waits for the disk while this band is written
            if writing is None:
                raise DamagedError(read.bad)
            ready = writing.result()
        if ready is not None:
            yield ready


def write_coarse(work: Work, written: set[tuple[int, ZYX]]) -> Iterator[BandRecord]:
    """Write the coarse bands that are missing although all they are made of is stored.

    Yields
    ------
    BandRecord
        One a level that lacked some.
    """
    arrays = [open_array(work.image, level, work.engine) for level in range(len(work.plan.levels))]
    for level in range(1, len(arrays)):
        with ThreadPoolExecutor(work.threads) as writers:
            cascade = Cascade(arrays, work.plan, writers, written=written, top=level)
            for finished in cascade.finish():
                _settle(work, arrays, [finished])
                yield BandRecord([finished])


def survey(work: Work, bands: Sequence[ZYX]) -> tuple[BadPlace, ...]:
    """Read bands for nothing but their bad places."""
    boxes = (work.plan.bands(0).core(band) for band in bands)
    return tuple(place for box in boxes for place in survey_box(work.source, box, work.threads))


def survey_box(source: Source, box: Box, threads: int) -> list[BadPlace]:
    """Read a box, a few pieces at a time, for nothing but its bad places."""
    bad: list[BadPlace] = []
    pieces = iter(box.split(_piece(source)))
    with ThreadPoolExecutor(threads) as readers:
        while some := list(islice(pieces, 4 * threads)):
            for _, places in readers.map(partial(salvage, source), some):
                bad += places
    return bad


def _piece(source: Source) -> ZYX:
    """Return whole units of some 16 MB, longest along x."""
    sides = list(source.unit)
    for axis in (2, 1, 0):
        size = int(np.prod(sides, dtype=object)) * source.dtype.itemsize
        units = -(-source.shape[axis] // source.unit[axis])
        sides[axis] *= max(1, min(units, (16 << 20) // size))
    return sides[0], sides[1], sides[2]


class _Observer:
    """Adds up what writing threads count of the present band."""

    def __init__(self, every: int) -> None:
        self._every, self._lock = every, threading.Lock()
        self.counts: Counts

    def begin(self, box: Box, dtype: np.dtype[Any], clipped: int) -> None:
        self.counts = Counts.empty(box, dtype)
        self.counts.clipped = clipped

    def observe(self, shard: Box, voxels: NDArray[Any]) -> None:
        counted = Counts.of(voxels, shard, self._every)
        with self._lock:
            self.counts.add(counted)


def _settle(work: Work, arrays: Sequence[Any], finished: list[WrittenBand]) -> None:
    """Wait until what was written is on disk; TensorStore has waited for the files itself."""
    files = [
        path
        for done in finished
        for shard, kept in zip(work.plan.shards(done.level, done.band), done.sums, strict=True)
        if kept is not None
        for path in _objects(arrays[done.level], shard)
    ]
    folders = {path.parent for path in files}
    make_durable(folders if work.engine == "tensorstore" else {*files, *folders})


def _objects(array: Any, shard: Box) -> Iterator[Path]:
    """Files of a shard: itself, or its chunks where there are no shards."""
    from neuroconn.volume.regions import stored_grid

    for index in stored_grid(array).overlapping(shard):
        path = stored_object(array, index)
        if path is not None and path.is_file():
            yield path


class _Buffers:
    """Memory of bands, used again: two of them, one being read and one being written."""

    def __init__(self) -> None:
        self._free: list[NDArray[Any]] = []

    def take(self, shape: ZYX, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array with anything in it."""
        size = shape[0] * shape[1] * shape[2]
        buffer = self._free.pop() if self._free else np.empty(size, dtype)
        if buffer.size < size:
            buffer = np.empty(size, dtype)
        return buffer[:size].reshape(shape)

    def free(self, voxels: NDArray[Any]) -> None:
        """Take back an array nobody looks at any more."""
        flat: Any = voxels.base
        self._free.append(flat)


def _ahead(
    work: Work, bands: Sequence[ZYX], readers: Executor, buffers: _Buffers
) -> Iterator[tuple[ZYX, _Read]]:
    """Read bands, the next one while the present one is written."""
    pending: tuple[ZYX, NDArray[Any], list[Future[tuple[list[BadPlace], int]]]] | None = None
    try:
        for band in [*bands, None]:
            following = None if band is None else (band, *_start(work, band, readers, buffers))
            if pending is not None:
                ready, voxels, parts = pending
                results = [part.result() for part in parts]
                bad = tuple(place for places, _ in results for place in places)
                pending = following
                yield ready, _Read(voxels, bad, sum(clipped for _, clipped in results))
            pending = following
    finally:
        for part in pending[2] if pending else []:
            part.cancel()


def _start(
    work: Work, band: ZYX, readers: Executor, buffers: _Buffers
) -> tuple[NDArray[Any], list[Future[tuple[list[BadPlace], int]]]]:
    box = work.plan.bands(0).core(band)
    voxels = buffers.take(box.shape, work.source.dtype)

    def fill(piece: Box) -> tuple[list[BadPlace], int]:
        return read_on(work.source, piece, voxels[piece.within(box)])

    pieces = read_pieces(box, work.source.unit, work.threads)
    return voxels, [readers.submit(fill, piece) for piece in pieces]


def read_pieces(box: Box, unit: ZYX, threads: int) -> Iterator[Box]:
    """Cut a box between units into some four parts a thread, along z if it has enough of them."""
    spans = [-(-b // n) - a // n for a, b, n in zip(box.start, box.stop, unit, strict=True)]
    axis = 0 if spans[0] >= 2 * threads else max(range(3), key=lambda k: spans[k])
    thick = max(1, spans[axis] // (4 * threads)) * unit[axis]
    start, stop = box.start[axis], box.stop[axis]
    cuts = [start, *range((start // thick + 1) * thick, stop, thick), stop]
    for low, high in pairwise(cuts):
        first, last = list(box.start), list(box.stop)
        first[axis], last[axis] = low, high
        yield Box((first[0], first[1], first[2]), (last[0], last[1], last[2]))


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
