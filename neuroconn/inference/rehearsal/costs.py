"""What a plan costs on paper: voxels, bytes, memory, and the room there is for them."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path

import numpy as np

from neuroconn.inference.backends import Backend
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory, engine_predictor, room
from neuroconn.inference.prepare import Job
from neuroconn.inference.rehearsal.estimate import Tiling, Workers
from neuroconn.volume.address import Address
from neuroconn.volume.axes import triple


def tiling(job: Job, plan: Plan) -> Tiling:
    """Sum up how a plan cuts its brain, and what is decoded for it."""
    array = job.brain.array(plan.level)
    amplification = prod(
        touched(n, c, plan.halo, u)
        for n, c, u in zip(job.grid.shape, job.grid.chunk, triple(array.chunks), strict=True)
    )
    core = prod(job.grid.chunk)
    return Tiling(
        grid=job.grid.counts,
        chunk=job.grid.chunk,
        halo=plan.halo,
        tile=plan.tile,
        redundancy=prod(plan.tile) / core,
        read_amplification=amplification,
        tile_bytes=round(amplification * core * np.dtype(array.dtype).itemsize),
    )


def touched(size: int, chunk: int, halo: int, unit: int) -> float:
    """Voxels decoded along an axis per voxel of a chunk, mean over the chunks.

    Parameters
    ----------
    size : int
        Voxels of the brain.
    chunk, halo : int
        Core of a tile, and what is around it.
    unit : int
        Voxels of the brain's own chunks, which are decoded whole.

    Examples
    --------
    >>> touched(64 * 100, 256, 32, 64), touched(64, 64, 0, 64)
    (1.48, 1.0)
    """
    starts = range(0, size, chunk)
    spans = ((max(0, a - halo), min(size, a + chunk + halo)) for a in starts)
    voxels = sum(min(size, -(-b // unit) * unit) - a // unit * unit for a, b in spans)
    return voxels / (len(starts) * chunk)


def workers(backend: Backend, plan: Plan, predictor: PredictorFactory) -> Workers:
    """Ask the workers what they have, and the engine what it needs."""
    memory, available, gpu = None, None, None
    if predictor is engine_predictor:
        from neuroconn.inference.engine.memory import predict_memory
        from neuroconn.network import load_model

        trim = (plan.trim,) * 3
        network = load_model(plan.model).network
        memory = predict_memory(network, plan.tile, plan.precision, trim)
        rooms = backend.ask(room)
        available = min((r.available for r in rooms if r.available is not None), default=None)
        gpu = min((r.gpu for r in rooms if r.gpu is not None), default=None)
    return Workers(
        name=backend.name,
        models=backend.models,
        device=plan.device,
        precision=plan.precision,
        engine=plan.engine,
        memory=memory,
        available=available,
        gpu=gpu,
    )


def free_bytes(output: Address) -> int | None:
    """Bytes free where an output would lie; None on an object store."""
    if not isinstance(output, Path):
        return None
    there = next(p for p in (output, *output.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free
