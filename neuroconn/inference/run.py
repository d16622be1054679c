"""``infer``: from a brain and seeds to a distance map, resumable at every moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from neuroconn._version import __version__
from neuroconn.annotation import ApoBase
from neuroconn.config.access import Access
from neuroconn.config.infer import InferSettings
from neuroconn.errors import InterruptedRunError
from neuroconn.inference.backends import Backend, open_backend
from neuroconn.inference.exploration import Explorer
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.metadata import keep_metadata
from neuroconn.inference.output.recheck import forget_lost
from neuroconn.inference.output.resumption import read_mask, resume, write_mask
from neuroconn.inference.output.run_folder import RunFolder, check_output, create_output, level_of
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import (
    PredictorFactory,
    check_model,
    check_room,
    engine_picker,
    engine_predictor,
    room,
)
from neuroconn.inference.prepare import Job, check_disk, prepare
from neuroconn.inference.report import InferReport, make_report
from neuroconn.inference.walk import Tally, window
from neuroconn.inference.watching.events import Listener
from neuroconn.volume.address import Address
from neuroconn.volume.store import open_image

Header = Callable[[Job, Backend, Plan, Frontier], None]
"""Called once everything is checked, before the first chunk."""


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about it; none of this changes a stored byte."""

    scheduler: str | None = "local"
    """As for ``--scheduler``; see :mod:`neuroconn.sites`."""
    threads: int | None = None
    """Threads of each network."""
    access: Access = field(default_factory=Access)
    """Where to listen, and certificates."""
    force_unlock: bool = False
    """Take the run from another client that is known to be dead."""
    fsync: bool = False
    """Have every chunk on the disk itself before its line: safe from power cuts, and slower."""
    retry_failed: bool = False
    """Try the chunks again that earlier runs gave up."""
    dry_run: bool = False
    """Check and count, and write nothing."""
    progress: Listener | None = None
    header: Header | None = None
    stop: threading.Event | None = None
    """Once set, the run drains what is in flight and ends, resumable."""
    predictor: PredictorFactory = engine_predictor
    """Builds the network on a worker; importable there."""


def infer(
    brain: str | Address,
    output: str | Address,
    *,
    seeds: Sequence[Sequence[float | str]] = (),
    seed_source: str | Path | None = None,
    seed_units: Literal["voxel", "um"] = "voxel",
    seed_export: str | Path | None = None,
    apo_base: ApoBase = 0,
    box: Sequence[float | str] = (),
    mask: str | Path | None = None,
    model: str | Path = "default",
    settings: InferSettings | None = None,
    options: RunOptions | None = None,
    **more_options: Any,
) -> InferReport:
    """Predict the distance map of a brain, walking along its neurites from the seeds.

    Parameters
    ----------
    brain : path or URL
        OME-Zarr brain with intensity statistics, as ``convert`` makes them: a folder,
        ``s3://bucket/path``, or ``http(s)://host/path``.
    output : path or URL
        The distance map: created, or resumed if it is the same run. A finished run is left as is.
    seeds : sequence of (z, y, x), optional
        Voxels of level 0, or words like ``"120um"``.
    seed_source : path or {"auto", "all"}, optional
        A ``.swc``, ``.eswc``, ``.ano``, ``.marker``, ``.apo`` or ``.csv`` file, bright places, or
        every chunk.
    seed_units : {"voxel", "um"}, optional
        What a file's coordinates count in.
    seed_export : path, optional
        The TeraFly tree or the crop that the file was made in, if its voxels are not the brain's.
        A file that lies in a tree of ours, or is called after a crop beside it, needs none.
    apo_base : 0 or 1, optional
        What an ``.apo`` calls the first voxel along an axis.
    box : six numbers or words, optional
        Z0 Y0 X0 Z1 Y1 X1 of the part of the brain to stay in, as for ``seeds``.
    mask : path, optional
        A volume with values other than 0 where the walk may go.
    model : path or str, optional
        Folder of a model, or the name of a shipped one; or a model made elsewhere, see
        :func:`neuroconn.network.load_model`.
    settings : InferSettings, optional
        What decides the answer.
    options : RunOptions, optional
        How it is computed.
    **more_options
        Fields of the options, by name: ``scheduler="sync"``.

    Returns
    -------
    InferReport
        ``complete`` is False if chunks failed or ``max_chunks`` cut the walk short.

    Raises
    ------
    UsageError, DataError, ModelError
        Before the first chunk, naming what is wrong.
    StorageError
        If the disk is full; what is done is kept.
    InterruptedRunError
        If the cluster was lost or ``stop`` was set; the same call resumes.

    Notes
    -----
    With the default scheduler worker processes import the calling script: put the call under
    ``if __name__ == "__main__":``.
    """
    options = replace(options or RunOptions(), **more_options)
    job = prepare(
        brain,
        output,
        model=model,
        settings=settings or InferSettings(),
        seeds=[[str(word) for word in seed] for seed in seeds],
        seed_source=seed_source,
        seed_units=seed_units,
        seed_export=seed_export,
        apo_base=apo_base,
        box=box,
        mask=mask,
    )
    own_engine = options.predictor is not engine_predictor
    if not own_engine:
        check_model(job.model, job.grid.chunk, job.settings)
    with open_backend(options.scheduler, options.threads, options.access) as backend:
        wanted = job.settings.device, job.settings.precision
        pick = engine_picker(job.engine, job.card.architecture)
        engine = wanted if own_engine else backend.resolve(pick, *wanted)
        plan, identity = job.plan(*engine)
        if not own_engine:
            check_room(plan, backend.ask(room))
        plan = replace(plan, fsync=options.fsync)
        folder = check_output(job.output, identity)
        if options.stop is not None and options.stop.is_set():
            raise InterruptedRunError("stopped as asked before the first chunk; run it again")
        check_disk(job.output, job.grid, job.encoding.dtype, window(2 * backend.models))
        if options.dry_run:
            return _rehearse(job, backend, plan, folder, options)
        folder = folder or _create(job, plan, identity)
        with Journal.open(folder.path, identity, force_unlock=options.force_unlock) as journal:
            return _run(job, backend, plan, folder, journal, options)


def _rehearse(
    job: Job, backend: Backend, plan: Plan, folder: RunFolder | None, options: RunOptions
) -> InferReport:
    if folder is None:
        outside = job.region.outside if job.region else None
        frontier = Frontier(job.grid, job.seeds, bridge=job.settings.bridge, mask=outside)
    else:
        frontier = resume(folder, Journal.read(folder.path), job.grid)
        frontier.add_seeds(job.seeds)
    if options.header:
        options.header(job, backend, plan, frontier)
    return make_report(job.output, plan.run_id, frontier, Tally(), models=backend.models)


def _create(job: Job, plan: Plan, identity: dict[str, Any]) -> RunFolder:
    levels, frame = level_of(job.brain, job.settings.level)
    return create_output(
        job.output,
        identity=identity,
        grid=job.grid,
        inner_chunk=job.settings.inner_chunk,
        levels=levels,
        frame=frame,
        spacing_known=job.brain.spacing_known,
        encoding=job.encoding,
        attributes={
            "infer": job.settings.model_dump(mode="json"),
            "clip": job.encoding.clip,
            "model": {"name": job.card.name, "sha256": job.card.sha256},
            "brain": identity["brain"],
            "normalisation": asdict(job.constants),
            "run_id": plan.run_id,
            "versions": dict(plan.versions) | {"neuroconn": __version__},
        },
    )


def _run(
    job: Job,
    backend: Backend,
    plan: Plan,
    folder: RunFolder,
    journal: Journal,
    options: RunOptions,
) -> InferReport:
    folder.add_seeds(job.seeds, job.grid)
    # Here, not when the output is made: whatever a crash left out is made up for.
    if job.region is not None and read_mask(folder, job.grid) is None:
        write_mask(folder, job.region.outside)
    if folder.read_json("metadata") is None:
        keep_metadata(open_image(job.output), folder)
    forget_lost(job.output, folder, journal)
    frontier = resume(folder, journal, job.grid, retry_failed=options.retry_failed)
    if options.header:
        options.header(job, backend, plan, frontier)
    return Explorer(
        job,
        backend,
        plan,
        folder,
        journal,
        predictor=options.predictor,
        listener=options.progress,
        stop=options.stop,
    ).explore(frontier)
