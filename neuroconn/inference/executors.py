"""Who runs the chunks: this thread, threads of this process, or (``scheduler.py``) a cluster.

The walk sees all of them through :class:`Executor`: batches go in, batches come back in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from neuroconn.geometry import ZYX
from neuroconn.inference.task import Context, Failure, Outcome, try_chunk

RunChunk: TypeAlias = Callable[[ZYX, int], Outcome | Failure]


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks that travel to a worker together."""

    number: int
    """Never used twice in a run."""
    chunks: tuple[tuple[ZYX, int], ...]
    """Index and attempt of each."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What became of a batch."""

    batch: Batch
    results: tuple[Outcome | Failure, ...] = ()
    """One for each chunk, if the batch came back at all."""
    lost: Literal["", "cancelled", "killed", "error"] = ""
    """Why it did not: forgotten by the scheduler, its workers died, or an error around it."""
    reason: str = ""


class Executor(Protocol):
    """Runs batches of chunks somewhere."""

    @property
    def slots(self) -> int:
        """Batches that run at the same time now; may change as workers come and go."""
        ...

    def submit(self, batch: Batch) -> None:
        """Start a batch; returns at once."""
        ...

    def drain(self) -> list[Returned]:
        """Wait for a submitted batch, and return all that are back by then.

        Raises
        ------
        InterruptedRunError
            If the cluster is gone: nothing that is out will come back.
        """
        ...


class SerialExecutor:
    """Runs a batch in the calling thread, when it is drained."""

    slots = 1

    def __init__(self, run: RunChunk) -> None:
        self._run = run
        self._waiting: deque[Batch] = deque()

    @classmethod
    def of(cls, context: Context) -> Self:
        """Run chunks against an open context."""
        return cls(lambda index, attempt: try_chunk(context, index, attempt))

    def submit(self, batch: Batch) -> None:
        """Keep the batch for :meth:`drain`."""
        self._waiting.append(batch)

    def drain(self) -> list[Returned]:
        """Run the oldest batch."""
        batch = self._waiting.popleft()
        return [Returned(batch, tuple(self._run(*chunk) for chunk in batch.chunks))]


class ThreadExecutor:
    """Runs batches in threads: one computes while others read and write."""

    def __init__(self, run: RunChunk, slots: int) -> None:
        self.slots = slots
        self._run = run
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="neuroconn-infer")
        self._out: dict[Future[tuple[Outcome | Failure, ...]], Batch] = {}

    @classmethod
    def of(cls, context: Context, slots: int) -> Self:
        """Run chunks against an open context, ``slots`` at a time."""
        return cls(lambda index, attempt: try_chunk(context, index, attempt), slots)

    def submit(self, batch: Batch) -> None:
        """Queue the batch for the next free thread."""
        future = self._pool.submit(lambda: tuple(self._run(*chunk) for chunk in batch.chunks))
        self._out[future] = batch

    def drain(self) -> list[Returned]:
        """Wait for a thread to finish a batch."""
        done, _ = wait(self._out, return_when=FIRST_COMPLETED)
        return [Returned(self._out.pop(future), future.result()) for future in done]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
