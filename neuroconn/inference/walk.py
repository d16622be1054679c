"""The loop of a run: frontier to executor, results to journal, journal to frontier.

1. Fill the window: hand out chunks until ``window(slots)`` batches are out.
2. Drain: wait for a batch, take all that are back.
3. Append their records to the journal, in one durable write.
4. Only then expand the frontier, and go on with 1 until nothing is queued and nothing is out.

Whatever dies between two steps loses nothing: a core that was stored and not journalled is
inferred again to the same bytes, and a journalled one is expanded again when the run resumes.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from neuroconn.errors import InterruptedRunError, NeuroconnError, StorageError
from neuroconn.geometry import ZYX
from neuroconn.inference.executors import Batch, Executor, Returned
from neuroconn.inference.failures import Retries
from neuroconn.inference.flood import FloodWatch
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.journal.records import failure_record, outcome_record
from neuroconn.inference.task import Failure, Outcome
from neuroconn.inference.watching.events import ChunkDone, EventLog, Listener, Progress

logger = logging.getLogger(__name__)

_TASK_S = 0.5  # below this a task is mostly scheduling, so chunks are sent together
_LARGEST_BATCH = 32
_HOPELESS = 50
"""Chunks given up in a row, from which on it is not the chunks that are at fault."""


@dataclass
class Tally:
    """What this run did, earlier runs not counted."""

    inferred: int = 0
    retried: int = 0
    """Chunks handed out once more, for whatever reason."""
    voxels: int = 0
    """Voxels of the cores that were stored."""
    task_seconds: float = 0.0
    model_seconds: float = 0.0
    seconds: float = 0.0

    def utilisation(self, models: int) -> float:
        """Share of the walk's time in which the network of a worker ran, mean over workers."""
        return self.model_seconds / (self.seconds * models) if self.seconds and models else 0.0


def window(slots: int) -> int:
    """Batches to keep out: enough that no slot waits, few enough that a death hits few.

    Examples
    --------
    >>> [window(n) for n in (1, 2, 4, 100)]
    [3, 4, 6, 150]
    """
    return max(slots + 2, math.ceil(1.5 * slots))


class Walk:
    """The loop of a run; :meth:`run` may be called again when the frontier has grown.

    Parameters
    ----------
    frontier : Frontier
        With the records of earlier runs already in it.
    executor : Executor
        Where chunks run.
    journal : Journal
        Open for appending.
    events : EventLog
        For incidents.
    listener : callable, optional
        Called with a :class:`Progress` after every drain.
    stop : threading.Event, optional
        Once set, nothing more is handed out and the walk ends when what is out is back.
    max_chunks : int, optional
        Chunks in the whole run after which no more are handed out.
    watch : FloodWatch, optional
        Says when the walk floods the grid.
    models : int, optional
        Networks that can run at the same time; for progress only.

    Attributes
    ----------
    phase : {"walk", "audit"}
        For progress only.
    flooded : bool
        Whether the walk was stopped because most of what it visited was empty.
    """

    phase: Literal["walk", "audit"] = "walk"
    flooded = False

    def __init__(
        self,
        frontier: Frontier,
        executor: Executor,
        journal: Journal,
        events: EventLog,
        *,
        listener: Listener | None = None,
        stop: threading.Event | None = None,
        max_chunks: int | None = None,
        watch: FloodWatch | None = None,
        models: int = 1,
    ) -> None:
        self.tally = Tally()
        self._frontier = frontier
        self._executor = executor
        self._journal = journal
        self._events = events
        self._listener = listener
        self._stop = stop or threading.Event()
        self._max_chunks = max_chunks
        self._watch = watch or FloodWatch(len(frontier.grid), sparse=False)
        self._models = models
        self._fresh: list[ChunkDone] = []
        self._given_up_in_a_row = 0
        self._last_reason = ""
        self._audit = ""
        self._retries = Retries()
        self._out: dict[int, Batch] = {}
        self._number = 0
        self._alone = False
        self._storage: Failure | None = None
        self._started = time.monotonic()

    def run(self) -> Tally:
        """Walk until the closure is reached, or a reason to stop.

        Raises
        ------
        InterruptedRunError
            If ``stop`` was set, or the cluster is gone.
        StorageError
            If a worker or the journal could not store.
        NeuroconnError
            If one chunk after the other fails: not the chunks are at fault.
        """
        try:
            self._report()
            while self._fill():
                self._settle(self._executor.drain())
                self._report()
                self._require_hope()
        finally:
            self.tally.seconds = time.monotonic() - self._started
        if self._storage:
            raise StorageError(
                f"{self._storage.reason}. What was done before is safe: mend that, then run the "
                "same command again."
            )
        if self._stop.is_set() and not self._finished():
            raise InterruptedRunError("stopped as asked; run the same command again to resume")
        return self.tally

    def say(self, audit: str) -> None:
        """Tell the listener what the audit found."""
        self._audit = audit
        self._report()

    def _finished(self) -> bool:
        return not self._frontier.counts()["queued"] and not len(self._retries)

    def _fill(self) -> int:
        """Submit up to the window; returns the batches that are out."""
        self.flooded = self.flooded or self._watch.stop
        while not (self._stop.is_set() or self._storage or self._alone or self.flooded):
            slots = self._executor.slots
            if self._retries.suspects:
                if self._out:
                    break
                self._alone = True
                self._submit([self._retries.take_suspect()])
                break
            if len(self._out) >= window(slots):
                break
            chunks = self._next(slots)
            if not chunks:
                break
            self._submit(chunks)
        return len(self._out)

    def _next(self, slots: int) -> list[ZYX]:
        again = self._retries.take(1)
        if again:
            return again
        size = self._batch_size(slots)
        if self._max_chunks is not None:
            size = min(size, self._max_chunks - self._spent())
        return self._frontier.take(size) if size > 0 else []

    def _spent(self) -> int:
        counts = self._frontier.counts()
        return sum(counts[name] for name in ("neurite", "empty", "failed", "in_flight"))

    def _batch_size(self, slots: int) -> int:
        """Chunks per task: a task of half a second, if the frontier is wide enough."""
        if not self.tally.inferred:
            return 1
        each = self.tally.task_seconds / self.tally.inferred
        wanted = math.ceil(_TASK_S / each) if each > 0 else _LARGEST_BATCH
        share = self._frontier.counts()["queued"] // (2 * max(1, slots))
        return max(1, min(wanted, share, _LARGEST_BATCH))

    def _submit(self, chunks: Sequence[ZYX]) -> None:
        self._number += 1
        batch = Batch(self._number, tuple((c, self._retries.attempt(c)) for c in chunks))
        self.tally.retried += sum(attempt > 1 for _, attempt in batch.chunks)
        self._out[batch.number] = batch
        self._executor.submit(batch)

    def _settle(self, returned: Sequence[Returned]) -> None:
        """Journal what came back, then let it have consequences."""
        outcomes: list[Outcome] = []
        given_up: list[Failure] = []
        for item in returned:
            if self._out.pop(item.batch.number, None) is None:
                # Abandoned long ago, or told twice: what it holds was or will be done again.
                self._events.write("late batch", number=item.batch.number)
                continue
            given_up += self._lost(item) if item.lost else []
            for result in item.results:
                if isinstance(result, Outcome):
                    outcomes.append(result)
                else:
                    given_up += self._failed(result)
        self._alone = False
        self._journal.append(
            [*map(outcome_record, outcomes), *(failure_record(f) for f in given_up)]
        )
        opened = self._frontier.record_many([(o.index, o.verdict) for o in outcomes])
        for outcome, queued in zip(outcomes, opened, strict=True):
            self._count(outcome, queued)
        for failure in given_up:
            self._give_up(failure)

    def _give_up(self, failure: Failure) -> None:
        logger.warning("chunk %s failed: %s", failure.index, failure.reason)
        self._journal.note_failure(failure.index, failure.attempt, failure.reason, failure.details)
        self._frontier.fail(failure.index)
        self._fresh.append(ChunkDone(failure.index, "failed", 0.0, reason=failure.reason))
        # Of a brain with a hole many chunks fail for a good reason.
        self._given_up_in_a_row += not failure.damage
        self._last_reason = failure.reason

    def _count(self, outcome: Outcome, queued: int) -> None:
        self._remark(outcome)
        self._retries.forget(outcome.index)
        neurite = outcome.verdict.neurite
        self._watch.saw(neurite=neurite)
        self._given_up_in_a_row = 0
        self._fresh.append(
            ChunkDone(
                outcome.index,
                "neurite" if neurite else "empty",
                outcome.seconds,
                worker=outcome.worker,
            )
        )
        self.tally.inferred += 1
        self.tally.voxels += self._frontier.grid.voxels(outcome.index)
        self.tally.task_seconds += outcome.seconds
        self.tally.model_seconds += outcome.model_seconds
        logger.info(
            "chunk %s: %s, %d neighbours queued (%.1f s)",
            outcome.index,
            "neurite" if outcome.verdict.neurite else "empty",
            queued,
            outcome.seconds,
        )

    def _remark(self, outcome: Outcome) -> None:
        """Note what was out of the ordinary about a chunk that was done."""
        if outcome.rescued:
            self._note("done in float32", outcome.index, "the network answered NaN, twice")
        for _, reason in outcome.gaps.damaged:
            self._note("damage read as fill", outcome.index, reason)

    def _failed(self, failure: Failure) -> list[Failure]:
        self._note("chunk failed", failure.index, failure.reason, failure.details)
        if failure.storage:
            self._storage = failure
            return []
        given_up = self._retries.failed(failure)
        return [given_up] if given_up else []

    def _lost(self, returned: Returned) -> list[Failure]:
        for index, _ in returned.batch.chunks:
            self._note(f"batch {returned.lost}", index, returned.reason)
        return self._retries.lost(returned, alone=self._alone)

    def _require_hope(self) -> None:
        if self._given_up_in_a_row < _HOPELESS:
            return
        raise NeuroconnError(
            f"{self._given_up_in_a_row} chunks in a row failed, the last with {self._last_reason}: "
            "something other than these chunks is at fault. Mend it, then run the same command "
            "again with --retry-failed."
        )

    def _note(self, event: str, index: ZYX, reason: str, details: str = "") -> None:
        extra = {"traceback": details} if details else {}
        self._events.write(event, chunk=index, reason=reason, **extra)

    def _report(self) -> None:
        finished, self._fresh = tuple(self._fresh), []
        if self._listener is None:
            return
        counts = self._frontier.counts()
        self._listener(
            Progress(
                done=counts["neurite"] + counts["empty"],
                neurite=counts["neurite"],
                empty=counts["empty"],
                failed=counts["failed"],
                queued=counts["queued"],
                in_flight=counts["in_flight"],
                slots=self._executor.slots,
                inferred=self.tally.inferred,
                seconds=time.monotonic() - self._started,
                model_seconds=self.tally.model_seconds,
                models=self._models,
                voxels=self.tally.voxels,
                phase=self.phase,
                finished=finished,
                warnings=self._watch.warnings(),
                reachable=len(self._frontier.grid) - counts["masked"],
                audit=self._audit,
            )
        )
