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
from typing import Any, Protocol, runtime_checkable

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.errors import InterruptedRunError, ModelError, StorageError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.inference.anchor import Anchor, is_brain, is_output, require_brain
from neuroconn.inference.damage import NO_GAPS, BrainReader, Gaps
from neuroconn.inference.durable import sync_object
from neuroconn.inference.encoding import Coded, Encoding
from neuroconn.inference.engine.errors import NonFiniteOutputError
from neuroconn.inference.plan import Plan
from neuroconn.inference.verdict import Verdict, assess
from neuroconn.network.normalisation import Constants
from neuroconn.volume.codecs import packed_bytes
from neuroconn.volume.regions import write_region
from neuroconn.volume.store import open_image

logger = logging.getLogger(__name__)


class Predictor(Protocol):
    """A network ready to run: grey values in, distances out."""

    def predict(self, raw: NDArray[Any], constants: Constants) -> NDArray[np.float32]:
        """Distances in voxels of a (z, y, x) tile, without the plan's trim at its faces.

        May raise NonFiniteOutputError instead of returning NaN.
        """
        ...


@runtime_checkable
class CodePredictor(Protocol):
    """A network that stores its own answers as codes, on the device, and takes turns by itself."""

    def predict_codes(self, raw: NDArray[Any], constants: Constants, encoding: Encoding) -> Coded:
        """Return what ``encoding.encode(self.predict(raw, constants))`` would be."""
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
    gaps: Gaps = NO_GAPS
    """What of the brain was read as fill value."""
    rescued: bool = False
    """Whether the network answered NaN in the run's precision, and float32 was taken."""
    read_seconds: float = 0.0
    """The part of the wall time in which the brain was read."""
    rehearsed_bytes: int = 0
    """What storing it would have taken, in a rehearsal."""


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
    damage: bool = False
    """Whether a part of the brain that the chunk needs is damaged."""
    details: str = ""
    """Traceback, for the events file."""


@dataclass
class Context:
    """What a worker holds open between chunks: arrays, the network, and a lock around it."""

    plan: Plan
    source: BrainReader
    target: zarr.Array[Any] | None
    """None in a rehearsal."""
    predictor: Predictor
    exact_predictor: Callable[[], Predictor]
    """Makes a float32 predictor, asked for when the fast one answers NaN."""
    worker: str = ""
    output: Anchor | None = None
    """Notices an output that was removed or replaced."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def open_context(
    plan: Plan, predictor: Predictor, exact: Callable[[], Predictor], worker: str = ""
) -> Context:
    """Open the brain and the output of a plan.

    Raises
    ------
    VolumeError
        If there is another brain at the path than the run started with.
    """
    require_brain(plan)
    brain = open_image(plan.brain)
    there = Anchor(brain, "the brain", lambda: is_brain(plan))
    source = BrainReader(brain, plan.level, plan.on_damage, there)
    if plan.rehearsal:
        return Context(plan, source, None, predictor, exact, worker)
    output = open_image(plan.output)
    kept = Anchor(output, "the output", lambda: is_output(plan))
    return Context(plan, source, output.array(0), predictor, exact, worker, kept)


def try_chunk(context: Context, index: ZYX, attempt: int) -> Outcome | Failure:
    """Infer a chunk; whatever goes wrong in it comes back as a value."""
    try:
        return infer_chunk(context, index, attempt)
    except (StorageError, InterruptedRunError) as error:  # the second if a server is lost
        return Failure(index, attempt, _line(error), storage=True)
    except VolumeError as error:
        # Damage stays; what the storage refused may come with the next attempt.
        final = not isinstance(error.__cause__, OSError)
        return Failure(index, attempt, _line(error), final=final, damage=final)
    except (NonFiniteOutputError, ModelError) as error:
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
    raw, gaps = context.source.read(tile, core, plan.padding)
    read_seconds = time.perf_counter() - start
    # The verdict sees what is stored, so that it can be checked against the store later.
    codes, model_seconds, rescued = _predict(context, raw, index)
    z, y, x = seen.start
    there = (-z, -y, -x)
    verdict = assess(
        plan.encoding.decode(codes), core.shift(there), plan.grid.bounds.shift(there), plan.rules
    )
    stored = np.ascontiguousarray(codes[core.within(seen)])
    rehearsed_bytes = _store(context, index, core, stored)
    return Outcome(
        index=index,
        verdict=verdict,
        crc=checksum(stored),
        attempt=attempt,
        seconds=time.perf_counter() - start,
        model_seconds=model_seconds,
        worker=context.worker,
        gaps=gaps,
        rescued=rescued,
        read_seconds=read_seconds,
        rehearsed_bytes=rehearsed_bytes,
    )


def checksum(codes: NDArray[Any]) -> int:
    """CRC-32 of a stored core, the same on every machine."""
    little = codes.astype(codes.dtype.newbyteorder("<"), copy=False)
    return zlib.crc32(np.ascontiguousarray(little).data)


def _store(context: Context, index: ZYX, core: Box, codes: NDArray[Any]) -> int:
    """Write a core, unless the output it belongs to is no longer there; rehearse it without."""
    if context.target is None:
        return packed_bytes(codes, context.plan.rehearsal)
    if context.output is not None:
        context.output.check()
    write_region(context.target, core, codes)
    if context.plan.fsync:
        sync_object(context.target, index)
    return 0


def _predict(context: Context, raw: NDArray[Any], index: ZYX) -> tuple[NDArray[Any], float, bool]:
    """Codes of a tile; the seconds the network took; whether float32 was needed.

    The answer must not depend on an accident. NaN that a second look does not repeat was one, and
    the second answer is that of every calm run; NaN that it repeats is a property of the tile, and
    every run goes on to float32.
    """
    seconds, codes = 0.0, None
    for again in (False, True):
        codes, took = _predict_once(context, context.predictor, raw)
        seconds += took
        if codes is not None:
            return codes, seconds, False
        if not again:
            logger.warning("chunk %s: the network answered NaN; once more", index)
    logger.warning("chunk %s: the network answered NaN twice; once more in float32", index)
    codes, took = _predict_once(context, context.exact_predictor(), raw)
    seconds += took
    if codes is None:
        raise NonFiniteOutputError(
            f"chunk {index}: the network answers NaN or infinity, in float32 too; nothing was "
            "stored. Look at the brain there for absurd grey values."
        )
    return codes, seconds, True


def _predict_once(
    context: Context, predictor: Predictor, raw: NDArray[Any]
) -> tuple[NDArray[Any] | None, float]:
    """Codes, or None if a distance is not finite."""
    plan = context.plan
    try:
        if isinstance(predictor, CodePredictor):
            coded = predictor.predict_codes(raw, plan.constants, plan.encoding)
            return coded.codes, coded.seconds
        with context.lock:  # one network runs at a time; the others read and write
            start = time.perf_counter()
            distance = predictor.predict(raw, plan.constants)
            seconds = time.perf_counter() - start
    except NonFiniteOutputError:
        return None, 0.0
    return (plan.encoding.encode(distance) if np.isfinite(distance).all() else None), seconds


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"
