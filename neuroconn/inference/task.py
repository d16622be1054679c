"""One chunk: read core and halo, infer, write the core, say what it holds.

The steps run in one task, so that no array ever travels between processes; what comes back is an
:class:`Outcome` of a few bytes. Everything in it but the timings is a function of the image, the
weights and the settings alone, whatever worker ran it and however often.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.errors import ModelError, StorageError, VolumeError
from neuroconn.geometry import ZYX
from neuroconn.inference.engine_errors import NonFiniteOutputError
from neuroconn.inference.plan import Plan
from neuroconn.inference.verdict import Verdict, assess
from neuroconn.network.normalisation import Constants
from neuroconn.volume.regions import read_region, write_region
from neuroconn.volume.store import open_image

logger = logging.getLogger(__name__)


class Predictor(Protocol):
    """A network ready to run: grey values in, distances out."""

    def predict(self, raw: NDArray[Any], constants: Constants) -> NDArray[np.float32]:
        """Distances in voxels of a (z, y, x) tile, without the plan's trim at its faces.

        May raise NonFiniteOutputError instead of returning NaN.
        """
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """A chunk that was inferred and stored."""

    index: ZYX
    verdict: Verdict
    crc: int
    """CRC-32 of the stored core, C order, little endian."""
    attempt: int
    seconds: float
    """Wall time of the whole task."""
    model_seconds: float = 0.0
    """The part of it in which the network ran."""
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A chunk that was not inferred; nothing of it was stored."""

    index: ZYX
    attempt: int
    reason: str
    """One line."""
    final: bool = False
    """Whether another attempt would fail the same way."""
    storage: bool = False
    """Whether the storage refused: the run as a whole cannot go on."""
    details: str = ""
    """Traceback, for the events file."""


@dataclass
class Context:
    """What a worker holds open between chunks: arrays, the network, and a lock around it."""

    plan: Plan
    source: zarr.Array[Any]
    target: zarr.Array[Any]
    predictor: Predictor
    exact_predictor: Callable[[], Predictor]
    """Makes a float32 predictor, asked for when the fast one answers NaN."""
    worker: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def open_context(
    plan: Plan, predictor: Predictor, exact: Callable[[], Predictor], worker: str = ""
) -> Context:
    """Open the brain and the output of a plan."""
    source = open_image(plan.brain).array(plan.level)
    target = open_image(plan.output).array(0)
    return Context(plan, source, target, predictor, exact, worker)


def try_chunk(context: Context, index: ZYX, attempt: int) -> Outcome | Failure:
    """Infer a chunk; whatever goes wrong in it comes back as a value."""
    try:
        return infer_chunk(context, index, attempt)
    except StorageError as error:
        return Failure(index, attempt, _line(error), storage=True)
    except (NonFiniteOutputError, VolumeError, ModelError) as error:
        return Failure(index, attempt, _line(error), final=True)
    except Exception as error:  # a chunk must not take its neighbours down
        return Failure(index, attempt, _line(error), details=traceback.format_exc())


def infer_chunk(context: Context, index: ZYX, attempt: int = 1) -> Outcome:
    """Infer the chunk ``index`` and store its core.

    Parameters
    ----------
    context : Context
        From :func:`open_context`; may be shared by threads.
    index : (z, y, x) ints
        Position in the grid of the plan.
    attempt : int, optional
        How often the chunk was handed out, this time included.

    Returns
    -------
    Outcome
        Verdict and digest; the core is stored by then.

    Raises
    ------
    NonFiniteOutputError
        If the network answers NaN, in float32 too. Nothing is written: stored as a number it
        would read as "on the neurite", and compared it would end the walk.
    VolumeError
        If a part of the brain that the tile needs is damaged.
    StorageError
        If the core cannot be stored.
    """
    start = time.perf_counter()
    plan = context.plan
    tile, core = plan.grid.tile(index, plan.halo), plan.grid.core(index)
    seen = tile.grow(-plan.trim)
    raw = read_region(context.source, tile, pad=plan.padding)
    distance, model_seconds = _predict(context, raw, index)
    # The verdict sees what is stored, so that it can be checked against the store later.
    codes = plan.encoding.encode(distance)
    z, y, x = seen.start
    there = (-z, -y, -x)
    verdict = assess(
        plan.encoding.decode(codes), core.shift(there), plan.grid.bounds.shift(there), plan.rules
    )
    stored = np.ascontiguousarray(codes[core.within(seen)])
    write_region(context.target, core, stored)
    seconds = time.perf_counter() - start
    return Outcome(
        index, verdict, checksum(stored), attempt, seconds, model_seconds, context.worker
    )


def checksum(codes: NDArray[Any]) -> int:
    """CRC-32 of a stored core, the same on every machine."""
    little = codes.astype(codes.dtype.newbyteorder("<"), copy=False)
    return zlib.crc32(np.ascontiguousarray(little).data)


def _predict(context: Context, raw: NDArray[Any], index: ZYX) -> tuple[NDArray[np.float32], float]:
    """Distances of a tile, all finite, and the seconds the network took."""
    distance, seconds = _predict_once(context, context.predictor, raw)
    if distance is None:
        logger.warning("chunk %s: the network answered NaN; once more in float32", index)
        distance, more = _predict_once(context, context.exact_predictor(), raw)
        seconds += more
    if distance is None:
        raise NonFiniteOutputError(
            f"chunk {index}: the network answers NaN or infinity, in float32 too; nothing was "
            "stored. Look at the brain there for absurd grey values."
        )
    return distance, seconds


def _predict_once(
    context: Context, predictor: Predictor, raw: NDArray[Any]
) -> tuple[NDArray[np.float32] | None, float]:
    """Distances, or None if one of them is not finite."""
    with context.lock:  # one network runs at a time; the others read and write
        start = time.perf_counter()
        try:
            distance = predictor.predict(raw, context.plan.constants)
        except NonFiniteOutputError:
            return None, time.perf_counter() - start
        seconds = time.perf_counter() - start
    return (distance if np.isfinite(distance).all() else None), seconds


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"
