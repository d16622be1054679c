"""Turn a source into an OME-Zarr brain in one pass, within bounded memory, resumably.

1. Everything that can be wrong is found before the output exists.
2. Rows of level 0 are read ahead by one, in the order of :mod:`neuroconn.volume.convert_plan`.
3. Each row is counted into the histogram, written, and reduced into the levels above it.
4. When a row and all it completes is on disk, the journal says so; a rerun starts behind that.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, Box, Frame, plan_levels
from neuroconn.volume.cascade import Cascade, WrittenRow
from neuroconn.volume.convert_checks import (
    check_space,
    chosen_spacing,
    continued,
    warn_amplification,
)
from neuroconn.volume.convert_journal import ConvertJournal, make_durable
from neuroconn.volume.convert_plan import ConvertPlan, Row, check_memory, choose_shapes
from neuroconn.volume.regions import stored_object
from neuroconn.volume.sources import Source, open_source
from neuroconn.volume.statistics import (
    Intensity,
    intensity_statistics,
    pack_histogram,
    unpack_histogram,
    voxel_histogram,
)
from neuroconn.volume.store import Image, create_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConvertProgress:
    """How far a conversion has come; the first one comes before the first row."""

    rows_done: int
    rows: int
    peak_bytes: int
    """Predicted peak memory."""


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What a conversion did."""

    brain: Path
    source: str
    shape: ZYX
    dtype: str
    spacing_um: tuple[float, float, float] | None
    """None if nobody said how long a voxel is."""
    levels: list[ZYX]
    chunk: ZYX
    shard: ZYX
    downsample: str
    rows: int
    rows_written: int
    """Rows written by this call: 0 if the brain was complete, fewer than all if it resumed."""
    peak_bytes: int
    seconds: float
    intensity: Intensity

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "brain": str(self.brain)}


def convert(
    source: str | Path,
    brain: str | Path,
    *,
    spacing: tuple[float, float, float] | None = None,
    chunk: int | ZYX = 64,
    shard: int | ZYX | None = None,
    downsample: Literal["max", "mean"] = "max",
    smallest: int = 256,
    resume: bool = True,
    progress: Callable[[ConvertProgress], None] | None = None,
    threads: int | None = None,
    memory_gib: float | None = None,
) -> ConvertReport:
    """Convert a microscopy volume to an OME-Zarr brain with pyramid and intensity statistics.

    Parameters
    ----------
    source : path
        TIFF, BigTIFF, OME-TIFF or ImageJ file, folder of TIFF slices, or OME-Zarr image; uint8 or
        uint16.
    brain : path
        Output folder. Run again with the same arguments to continue an interrupted conversion;
        a finished one is left as it is.
    spacing : (z, y, x) floats, optional
        Voxel size in µm; overrides the file's own. Unknown to both: 1 voxel, and no unit.
    chunk : int or (z, y, x) ints
        Readable unit; even.
    shard : int or (z, y, x) ints, optional
        Stored object, a multiple of the chunk; 256 or what the volume needs, if less.
    downsample : {"max", "mean"}
        Max keeps thin neurites bright at every level; mean is for measuring.
    smallest : int
        The pyramid ends when every side is at most this long.
    resume : bool
        False refuses to continue an interrupted conversion.
    progress : callable, optional
        Called with a :class:`ConvertProgress` before the first row and after each.
    threads : int, optional
        Shards encoded at once; the processors this process may use, if not given.
    memory_gib : float, optional
        Memory the conversion may take; what is free now, if not given.

    Returns
    -------
    ConvertReport

    Raises
    ------
    VolumeError
        If the source is not a sound grey volume.
    OutputError
        If the output is taken, or was begun from another source or with other settings.
    UsageError
        If a setting is impossible or the memory does not suffice.
    StorageError
        If the disk is, or will be, full.
    """
    began = time.monotonic()
    opened, path = open_source(source), Path(brain)
    workers = threads or len(os.sched_getaffinity(0))
    known = chosen_spacing(opened, spacing)
    plan = _plan(opened, known, chunk, shard, downsample, smallest)
    peak = check_memory(plan, workers, memory_gib)
    image = continued(path, _conversion(opened, plan, known), resume=resume)
    written = 0
    if image is None or "intensity" not in image.attributes:
        if image is None:
            check_space(path, opened, plan)
            image = _create(path, opened, plan, known)
        warn_amplification(opened, plan)
        written = _Run(opened, image, plan, workers, peak, progress).all_rows()
    return ConvertReport(
        brain=path,
        source=opened.description,
        shape=opened.shape,
        dtype=opened.dtype.name,
        spacing_um=known,
        levels=[level.shape for level in plan.levels],
        chunk=plan.chunk,
        shard=plan.shard,
        downsample=downsample,
        rows=plan.rows,
        rows_written=written,
        peak_bytes=peak,
        seconds=time.monotonic() - began,
        intensity=intensity_statistics(image.histogram),
    )


class _Run:
    """The rows that are still to be written, read ahead by one."""

    def __init__(
        self,
        source: Source,
        image: Image,
        plan: ConvertPlan,
        threads: int,
        peak: int,
        progress: Callable[[ConvertProgress], None] | None,
    ) -> None:
        self._source, self._image, self._plan = source, image, plan
        self._threads, self._peak, self._progress = threads, peak, progress
        self._arrays = [image.array(level) for level in range(len(plan.levels))]

    def all_rows(self) -> int:
        """Write what the journal does not list, then the statistics; return the rows written."""
        header = self._image.attributes["conversion"]
        with (
            ConvertJournal(self._image.path, header) as journal,
            ThreadPoolExecutor(self._threads) as writers,
            ThreadPoolExecutor(self._threads) as readers,
        ):
            order = list(self._plan.order())
            todo = order[len(journal.records) :]
            cascade = Cascade(self._arrays, self._plan, writers)
            if journal.records and todo:
                logger.info("resuming after %d of %d rows", len(journal.records), len(order))
                _sweep(self._image)
                cascade.restore(todo[0])
            self._report(len(order) - len(todo))
            for row, voxels in self._ahead(todo, readers):
                record = self._finish(cascade, row, voxels, writers)
                del voxels  # two rows are in memory, not three
                journal.append(record)
                journal.records.append(record)
                self._report(len(journal.records))
            _summarise(self._image, journal.records)
        return len(todo)

    def _finish(
        self, cascade: Cascade, row: Row, voxels: NDArray[Any], writers: Executor
    ) -> dict[str, Any]:
        """Write one row and what it completes; return its record once all is on disk."""
        box = self._plan.box(0, row)
        parts = (voxels[shard.within(box)] for shard in self._plan.shards(0, row))
        histogram = np.sum(list(writers.map(voxel_histogram, parts)), axis=0)
        rows = cascade.absorb(0, row, voxels)
        make_durable([path for written in rows for path in self._files(written)])
        return {
            "row": list(row),
            "written": [[w.level, *w.row, w.stored] for w in rows],
            "histogram": pack_histogram(histogram),
        }

    def _files(self, written: WrittenRow) -> Iterator[Path]:
        for x, stored in enumerate(written.stored):
            path = stored_object(self._arrays[written.level], (*written.row, x))
            if stored == "1" and path is not None:
                yield path

    def _ahead(
        self, rows: list[Row], readers: ThreadPoolExecutor
    ) -> Iterator[tuple[Row, NDArray[Any]]]:
        """Read rows, the next one while the present one is written."""
        pending: tuple[Row, NDArray[Any], list[Future[None]]] | None = None
        try:
            for row in [*rows, None]:
                following = None if row is None else (row, *self._start(row, readers))
                if pending is not None:
                    ready, voxels, parts = pending
                    for part in parts:
                        part.result()
                    pending = following
                    yield ready, voxels
                    del voxels
                pending = following
        finally:
            for part in pending[2] if pending else []:
                part.cancel()

    def _start(
        self, row: Row, readers: ThreadPoolExecutor
    ) -> tuple[NDArray[Any], list[Future[None]]]:
        box = self._plan.box(0, row)
        voxels = np.empty(box.shape, self._source.dtype)

        def fill(part: Box) -> None:
            voxels[part.within(box)] = self._source.read(part)

        planes = max(1, min(self._source.unit[0], box.shape[0]))
        slab = -(-box.shape[0] // (4 * self._threads * planes)) * planes
        pieces = box.split((slab, box.shape[1], box.shape[2]))
        return voxels, [readers.submit(fill, piece) for piece in pieces]

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(ConvertProgress(done, self._plan.rows, self._peak))


def _plan(
    source: Source,
    spacing: tuple[float, float, float] | None,
    chunk: int | ZYX,
    shard: int | ZYX | None,
    downsample: str,
    smallest: int,
) -> ConvertPlan:
    inner, outer = choose_shapes(source.shape, chunk, shard)
    levels = plan_levels(source.shape, spacing or (1.0, 1.0, 1.0), smallest=smallest)
    return ConvertPlan(levels, inner, outer, source.dtype.itemsize, downsample)


def _conversion(
    source: Source, plan: ConvertPlan, spacing: tuple[float, float, float] | None
) -> dict[str, Any]:
    """Return what a resumed conversion must agree with."""
    return {
        "source": asdict(source.identity),
        "shape": list(source.shape),
        "dtype": source.dtype.name,
        "spacing_um": None if spacing is None else list(spacing),
        "chunk": list(plan.chunk),
        "shard": list(plan.shard),
        "downsample": plan.downsample,
        "levels": [list(level.shape) for level in plan.levels],
    }


def _create(
    path: Path, source: Source, plan: ConvertPlan, spacing: tuple[float, float, float] | None
) -> Image:
    return create_image(
        path,
        levels=plan.levels,
        dtype=source.dtype,
        frame=Frame(spacing or (1.0, 1.0, 1.0)),
        chunk=plan.chunk,
        shard=plan.shard,
        kind="brain",
        spacing_known=spacing is not None,
        downsample="mean" if plan.downsample == "mean" else "max",
        attributes={"conversion": _conversion(source, plan, spacing)},
    )


def _summarise(image: Image, records: list[dict[str, Any]]) -> None:
    """Add up the rows' histograms; the statistics are what marks a brain as complete."""
    total = np.zeros(1 << (8 * image.array(0).dtype.itemsize), dtype=np.int64)
    for record in records:
        total += unpack_histogram(record["histogram"])
    statistics = intensity_statistics(total)
    shown = statistics["percentiles"]
    image.set_window(
        shown["1"], max(shown["99.9"], shown["1"] + 1), low=0, high=float(total.size - 1)
    )
    image.update_attributes({"intensity": {**statistics, "histogram": pack_histogram(total)}})


def _sweep(image: Image) -> None:
    """Remove what writers killed in the middle of a file left behind."""
    for number in range(len(image.levels)):
        for leftover in (image.path / str(number)).rglob("*.partial"):
            leftover.unlink()
