"""What a run tells the outside: progress to listeners, incidents to a file of its own.

The journal is no listener: it is written before the frontier grows, so that what is known to be
done is on disk before anything follows from it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from neuroconn.geometry import ZYX
from neuroconn.inference.output.folder import LocalFolder, Log

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """One chunk that came back."""

    index: ZYX
    status: Literal["neurite", "empty", "failed"]
    seconds: float
    """Wall time of its task; 0 if it failed."""
    worker: str = ""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a walk has come."""

    done: int
    """Chunks stored, those of earlier runs included."""
    neurite: int
    """Those of them that hold neurite."""
    empty: int
    """Those of them that hold none."""
    failed: int
    queued: int
    """Known to be needed, not handed out yet."""
    in_flight: int
    slots: int
    """Chunks the cluster can work on at a time."""
    inferred: int
    """Chunks stored by this run."""
    seconds: float
    """Since this run started walking."""
    model_seconds: float
    """Summed over workers: how long their networks ran."""
    models: int = 1
    """Networks that can run at the same time."""
    voxels: int = 0
    """Voxels of the cores stored by this run."""
    phase: Literal["walk", "audit"] = "walk"
    """``audit`` while random unexplored chunks are probed."""
    finished: tuple[ChunkDone, ...] = ()
    """Chunks that came back since the last call."""
    warnings: tuple[str, ...] = ()
    """What the run noticed so far that its user should look at."""
    reachable: int = 0
    """Chunks the walk could visit at most: those of the grid that are not masked."""
    audit: str = ""
    """What the probes say about the unexplored chunks, in one sentence, once they say something."""

    @property
    def busy(self) -> float:
        """Share of the time in which the network of a worker ran, mean over workers."""
        time = self.seconds * self.models
        return self.model_seconds / time if time > 0 else 0.0

    @property
    def known(self) -> int:
        """Chunks known to belong to the walk so far; grows until the walk is closed."""
        return self.done + self.failed + self.queued + self.in_flight


Listener: TypeAlias = Callable[[Progress], None]


_MOMENTS = ("start", "stop", "end")
"""Events after which there may be no next one for a while: nobody shall wait to see them."""


class EventLog:
    """Appends incidents to ``events.jsonl``: starts, stops, retries, tracebacks, samples.

    For people and reports; no run believes a line of it.
    """

    def __init__(self, where: Path | Log) -> None:
        self._log = Log(LocalFolder(where.parent), where.stem) if isinstance(where, Path) else where
        self._lost = 0

    def write(self, event: str, **fields: Any) -> None:
        """Append one line with the time of day; a disk that refuses it does not end a run."""
        line = json.dumps({"time": time.time(), "event": event, **fields}, default=str)
        try:
            self._log.add(line, wait=event in _MOMENTS)
        except OSError as error:
            self._lost += 1
            if self._lost == 1:
                logger.warning("%s: %s; events are lost", self._log.where, error.strerror or error)
