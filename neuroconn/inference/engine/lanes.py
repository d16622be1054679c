"""Queues of work on a device, which run beside each other.

A GPU copies one tile in and another out while it computes a third, if each kind of work has a queue
of its own. The engine speaks to :class:`Lane` only, so that the order of things can be tested on
machines without a GPU.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import torch


class Mark(Protocol):
    """A place in a queue: the end of one piece of work."""

    @property
    def seconds(self) -> float:
        """How long the work took; known after :meth:`wait`."""
        ...

    def wait(self) -> None:
        """Hold up the caller until the work is done."""
        ...


class Lane(Protocol):
    """A queue: work starts in the order it was given, each piece after the marks it asks for."""

    def run(self, work: Callable[[], None], *after: Mark) -> Mark:
        """Queue ``work``; may return before it is done."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """The mark of work that was done when it was queued."""

    seconds: float

    def wait(self) -> None:
        """Return at once."""


class HostLane:
    """Does the work in the calling thread, at once."""

    def run(self, work: Callable[[], None], *after: Mark) -> Done:
        """Do ``work``."""
        for mark in after:
            mark.wait()
        start = time.perf_counter()
        work()
        return Done(time.perf_counter() - start)


class StreamMark:
    """Two events around a piece of work on a GPU."""

    def __init__(self, start: Any, end: Any) -> None:
        self._start = start
        self.end = end

    @property
    def seconds(self) -> float:
        """Time between the events, as the GPU measured it."""
        return float(self._start.elapsed_time(self.end)) / 1000

    def wait(self) -> None:
        """Block without holding the interpreter's lock."""
        self.end.synchronize()


class StreamLane:
    """A CUDA stream: ``run`` launches kernels and copies, and returns."""

    def __init__(self, device: torch.device) -> None:
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], None], *after: Mark) -> StreamMark:
        """Launch ``work`` behind the marks, which are those of other streams."""
        event: Any = torch.cuda.Event
        start, end = event(enable_timing=True), event(enable_timing=True)
        with torch.cuda.stream(self._stream):
            for mark in after:
                if isinstance(mark, StreamMark):
                    self._stream.wait_event(mark.end)
                else:
                    mark.wait()
            start.record(self._stream)
            work()
            end.record(self._stream)
        return StreamMark(start, end)


@dataclass(frozen=True, slots=True)
class Lanes:
    """The queues of one device."""

    device: torch.device
    up: Lane
    """Copies to the device."""
    compute: Lane
    down: Lane
    """Copies from the device."""
    staged: bool = False
    """Whether tiles go through buffers that copies can work on while the caller goes on."""
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while a network is launched: one at a time, whichever engine it belongs to."""


@cache
def lanes_of(device: str) -> Lanes:
    """Return the queues of a device, the same for all engines of this process.

    Engines that share a stream also share what its allocator keeps, so that a second one, as for
    the chunks repeated in float32, costs no second set of activations.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    """
    where = torch.device(device)
    if where.type != "cuda":
        host = HostLane()
        return Lanes(where, host, host, host)
    up, compute, down = (StreamLane(where) for _ in range(3))
    return Lanes(where, up, compute, down, staged=True)
