"""Turn a source into an OME-Zarr brain in one pass, within bounded memory, resumably.

1. Everything that can be wrong is found before the output exists.
2. Bands of level 0 are read ahead by one, in the order of :mod:`neuroconn.volume.convert_plan`.
3. Each band is counted, written, and reduced into the levels above it.
4. When a band and all it completes is on disk, the journal says so; a rerun starts behind that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Frame, plan_levels
from neuroconn.volume.convert_band import warn_amplification, with_band
from neuroconn.volume.convert_checks import check_space, chosen_frame, continued
from neuroconn.volume.convert_journal import ConvertJournal, journal_path, read_header
from neuroconn.volume.convert_plan import ConvertPlan, choose_shapes
from neuroconn.volume.convert_progress import BandRecord, Done
from neuroconn.volume.convert_run import (
    DamagedError,
    Work,
    processors,
    survey,
    write_bands,
    write_coarse,
)
from neuroconn.volume.engines import LEFTOVERS, chosen_engine
from neuroconn.volume.memory import available_memory
from neuroconn.volume.sources import MappedSource, Mapping, Source, open_source
from neuroconn.volume.sources.damage import BadPlace
from neuroconn.volume.statistics import Intensity, intensity_statistics
from neuroconn.volume.store import Image, create_image

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConvertProgress:
    """How far a conversion has come; the first one comes before the first band."""

    bands_done: int
    bands: int
    peak_bytes: int
    """Predicted peak memory, of each process that converts."""


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
    engine: str
    bands: int
    bands_written: int
    """Bands written by this call: 0 if the brain was complete, fewer than all if it resumed."""
    bad: list[BadPlace]
    """Places of the source that could not be read and are zeros in the brain."""
    clipped: int
    """Voxels outside what the mapping keeps."""
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
    channel: int | None = None,
    dataset: str | None = None,
    offset: int | None = None,
    value_range: tuple[float, float] | None = None,
    dtype: Literal["uint8", "uint16"] | None = None,
    chunk: int | ZYX = 64,
    shard: int | ZYX | None = None,
    zarr_format: Literal[3, 2] = 3,
    compression: Literal["archive", "speed", "scratch"] = "archive",
    downsample: Literal["max", "mean", "mode"] = "max",
    smallest: int = 256,
    on_bad: Literal["fail", "fill"] = "fail",
    resume: bool = True,
    progress: Callable[[ConvertProgress], None] | None = None,
    engine: Literal["auto", "tensorstore", "zarr"] = "auto",
    threads: int | None = None,
    memory_gib: float | None = None,
    client: Client | None = None,
) -> ConvertReport:
    """Convert a microscopy volume to an OME-Zarr brain with pyramid and intensity statistics.

    Parameters
    ----------
    source : path or URL
        Anything :func:`neuroconn.open_source` reads.
    brain : path
        Output folder. Run again with the same arguments to continue an interrupted conversion;
        a finished one is left as it is.
    spacing : (z, y, x) floats, optional
        Voxel size in µm; overrides the file's own. Unknown to both: 1 voxel, and no unit.
    channel, dataset : int, str, optional
        Which channel, counted from 0, and which array of a container.
    offset : int, optional
        Added to every voxel of an integer type; for int16, 32768 keeps everything.
    value_range : (low, high) floats, optional
        Values that become 0 and the largest stored value, linearly.
    dtype : {"uint8", "uint16"}, optional
        Stored type; uint8 for a uint8 source, else uint16.
    chunk : int or (z, y, x) ints
        Readable unit; even.
    shard : int or (z, y, x) ints, optional
        Stored object, a multiple of the chunk; 256 or what the volume needs, if less. Of format 2,
        what one thread writes at once.
    zarr_format : {3, 2}
        OME-Zarr 0.5 in Zarr v3, or 0.4 in Zarr v2, which has no shards and no checksums.
    compression : {"archive", "speed", "scratch"}
        blosc-zstd level 3, blosc-zstd level 1, or blosc-lz4.
    downsample : {"max", "mean", "mode"}
        Max keeps thin neurites bright at every level; mean is for measuring, mode for labels.
    smallest : int
        The pyramid ends when every side is at most this long.
    on_bad : {"fail", "fill"}
        What to do with damaged places of the source: name all of them and stop, or store zeros
        there and name them in the report and the brain.
    resume : bool
        False refuses to continue an interrupted conversion.
    progress : callable, optional
        Called with a :class:`ConvertProgress` before the first band and after each.
    engine : {"auto", "tensorstore", "zarr"}
        What writes chunks. The voxels are the same.
    threads : int, optional
        Shards encoded at once; the processors this process may use, if not given.
    memory_gib : float, optional
        Memory the conversion may take. If not given, 2 GB, or more (up to half of what is free)
        where that saves decoding the source several times.
    client : distributed.Client, optional
        Spread the work over its workers, which must see the source and the brain by the same paths.

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
    path, workers, fast = Path(brain), threads or processors(), chosen_engine(engine)
    if on_bad not in ("fail", "fill"):
        raise UsageError(f"on_bad is fail or fill, not {on_bad!r}")
    mapping = Mapping(offset, value_range, dtype)
    opened = MappedSource(open_source(source, channel=channel, dataset=dataset), mapping)
    for note in opened.notes:
        logger.warning("%s", note)
    known, frame = chosen_frame(opened, spacing)
    layout = _Layout(zarr_format, compression, downsample)
    plan = _plan(opened, frame, chunk, shard, downsample, smallest)
    facts = {**_conversion(opened, plan, frame, known), **asdict(layout)}
    facts |= {"channel": channel, "dataset": dataset}
    image = continued(path, facts, resume=resume)
    plan = _banded(plan, opened, path, workers, memory_gib)
    written = 0
    if image is None or "intensity" not in image.attributes:
        if image is None:
            check_space(path, opened, plan)
            image = _create(path, plan, opened.dtype, frame, known, layout, facts)
        warn_amplification(opened, plan)
        work = Work(opened, image, plan, fast, workers, on_bad == "fill")
        written = _run(work, {**facts, "band": list(plan.band)}, progress, client)
    return _report(image, opened, plan, known, fast, written, workers, began)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a brain is stored, apart from its shapes."""

    zarr_format: Literal[3, 2]
    compression: Literal["archive", "speed", "scratch"]
    downsample: Literal["max", "mean", "mode"]


def _create(
    path: Path,
    plan: ConvertPlan,
    dtype: np.dtype[Any],
    frame: Frame,
    known: bool,
    layout: _Layout,
    facts: dict[str, Any],
) -> Image:
    return create_image(
        path,
        levels=plan.levels,
        dtype=dtype,
        frame=frame,
        chunk=plan.chunk,
        shard=plan.shard if layout.zarr_format == 3 else None,
        kind="brain",
        spacing_known=known,
        downsample=layout.downsample,
        zarr_format=layout.zarr_format,
        compression=layout.compression,
        attributes={"conversion": facts},
    )


def _report(
    image: Image,
    source: Source,
    plan: ConvertPlan,
    known: bool,
    engine: str,
    written: int,
    threads: int,
    began: float,
) -> ConvertReport:
    notes = image.attributes
    return ConvertReport(
        brain=image.folder,
        source=source.description,
        shape=source.shape,
        dtype=source.dtype.name,
        spacing_um=image.frame.spacing_um if known else None,
        levels=[level.shape for level in plan.levels],
        chunk=plan.chunk,
        shard=plan.shard,
        downsample=plan.downsample,
        engine=engine,
        bands=len(plan.bands(0)),
        bands_written=written,
        bad=[BadPlace(tuple(a), tuple(b), why) for a, b, why in notes.get("bad", [])],
        clipped=notes.get("clipped", 0),
        peak_bytes=plan.peak_bytes(threads),
        seconds=time.monotonic() - began,
        intensity=intensity_statistics(image.histogram),
    )


def _run(
    work: Work,
    header: dict[str, Any],
    progress: Callable[[ConvertProgress], None] | None,
    client: Client | None,
) -> int:
    """Write what the journal does not list, then the statistics; return the bands written."""
    plan, peak = work.plan, work.plan.peak_bytes(work.threads)
    total = len(plan.bands(0))
    done = Done(plan.levels[0].shape, work.source.dtype)
    with ConvertJournal(work.image.folder, header) as journal:
        for record in journal.records():
            done.add(BandRecord.from_json(record))
        before = done.bands
        if done.written:
            logger.info("resuming after %d of %d bands", before, total)
            _sweep(work.image)
        if progress is not None:
            progress(ConvertProgress(before, total, peak))
        try:
            # The writers add to what is written; records are counted from a set of their own.
            for fresh in _records(work, set(done.written), client):
                journal.append(fresh.as_json())
                done.add(fresh)
                if progress is not None:
                    progress(ConvertProgress(done.bands, total, peak))
        except DamagedError as damage:
            rest = [b for b in plan.order() if (0, b) not in done.written]
            places = damage.places if client is not None else survey(work, rest)
            raise _damaged(work, places) from None
        _summarise(work.image, done)
    return done.bands - before


def _records(
    work: Work, written: set[tuple[int, ZYX]], client: Client | None
) -> Iterator[BandRecord]:
    """Write everything that is missing, and yield what the journal is to say."""
    yield from write_coarse(work, written)
    if client is None:
        todo = [band for band in work.plan.order() if (0, band) not in written]
        yield from write_bands(work, todo, written)
        return
    from neuroconn.volume.convert_dask import write_distributed

    for record in write_distributed(work, client, written):
        written.update((w.level, w.band) for w in record.written)
        yield record
    yield from write_coarse(work, written)


def _plan(
    source: Source,
    frame: Frame,
    chunk: int | ZYX,
    shard: int | ZYX | None,
    downsample: str,
    smallest: int,
) -> ConvertPlan:
    inner, outer = choose_shapes(source.shape, chunk, shard)
    levels = plan_levels(source.shape, frame.spacing_um, smallest=smallest)
    return ConvertPlan(levels, inner, outer, outer, source.dtype.itemsize, downsample)


def _banded(
    plan: ConvertPlan, source: Source, path: Path, threads: int, memory_gib: float | None
) -> ConvertPlan:
    """Choose bands; a begun conversion keeps its own, by which its journal counts."""
    header = read_header(path) if path.is_dir() else None
    if header is None or "band" not in header:
        return with_band(plan, source, threads, memory_gib)
    z, y, x = header["band"]
    begun = replace(plan, band=(z, y, x))
    limit = available_memory() if memory_gib is None else int(memory_gib * (1 << 30))
    if limit is not None and begun.peak_bytes(threads) > limit:
        raise UsageError(
            f"{path} was begun with bands that need {begun.peak_bytes(threads) / (1 << 30):.2f} "
            f"GiB and {limit / (1 << 30):.2f} are there; free or allow more, or use fewer threads"
        )
    return begun


def _conversion(source: Source, plan: ConvertPlan, frame: Frame, known: bool) -> dict[str, Any]:
    """Return what a resumed conversion must agree with."""
    mapping = source.mapping.as_dict() if isinstance(source, MappedSource) else None
    return {
        "source": asdict(source.identity),
        "shape": list(source.shape),
        "dtype": source.dtype.name,
        "mapping": mapping,
        "spacing_um": list(frame.spacing_um) if known else None,
        "origin_um": list(frame.origin_um),
        "chunk": list(plan.chunk),
        "shard": list(plan.shard),
        "levels": [list(level.shape) for level in plan.levels],
    }


def _damaged(work: Work, places: tuple[BadPlace, ...]) -> VolumeError:
    """Write the list of bad places beside the journal; return the error that sums it up."""
    where = journal_path(work.image.folder).with_name("damage.txt")
    where.write_text("".join(f"{place}\n" for place in places), encoding="utf-8")
    first = "; ".join(map(str, places[:3]))
    return VolumeError(
        f"{len(places)} places of the source cannot be read: {first}"
        f"{' ...' if len(places) > 3 else ''} (all are in {where}). Restore them and run the same "
        "command again, or store zeros there with --on-bad fill"
    )


def _summarise(image: Image, done: Done) -> None:
    """Store the statistics; they are what marks a brain as complete."""
    found = done.attributes()
    shown, top = found["intensity"]["percentiles"], done.counts.histogram.size - 1
    low = shown["1"]
    image.set_window(low, max(shown["99.9"], low + 1), low=0, high=float(top))
    image.update_attributes(found)


def _sweep(image: Image) -> None:
    """Remove what writers killed in the middle of a file left behind."""
    for number in range(len(image.levels)):
        for pattern in LEFTOVERS:
            for leftover in (image.folder / str(number)).rglob(pattern):
                leftover.unlink()
