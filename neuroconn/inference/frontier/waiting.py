"""Chunks that wait to be handed out, best first."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_BITS = 48
_POSITION = (1 << _BITS) - 1
_MOST = (1 << 32) - 1
_ROOM = 1 << 16


class Waiting:
    """Queued positions, most evidence first, then first come first served.

    An entry whose chunk is no longer queued is stale, and skipped. Chunks without evidence (seeds,
    bridges) wait in a flat array: a heap of every chunk of a brain would take gigabytes.

    Parameters
    ----------
    state : memoryview of the state of each chunk
        Read, not written.
    queued : int
        The state of chunks that wait.

    Examples
    --------
    >>> waiting = Waiting(memoryview(bytes([1, 1, 1, 0, 1])), queued=1)
    >>> waiting.push([(0, 0), (1, 5), (2, 90), (3, 99), (4, 90)])
    >>> waiting.take(9)
    [2, 4, 1, 0]
    """

    def __init__(self, state: memoryview, queued: int) -> None:
        self._state = state
        self._queued = queued
        # One number an entry: less evidence, then later, is larger. Tuples would take twice the
        # memory, and twice the time to compare.
        self._heap: list[int] = []
        self._plain = array("q")
        self._next = 0
        self._order = 0
        self._roomy = _ROOM

    def push(self, entries: Iterable[tuple[int, int]]) -> None:
        """Add positions with the evidence that led to them."""
        heap, order = self._heap, self._order
        for position, evidence in entries:
            if evidence <= 0:
                self._plain.append(position)
                continue
            order += 1
            least = _MOST - evidence if evidence < _MOST else 0
            heapq.heappush(heap, ((least << _BITS) + order) << _BITS | position)
        self._order = order
        if len(heap) > self._roomy:
            self._drop_stale()

    def extend(self, positions: NDArray[np.intp]) -> None:
        """Add positions without evidence."""
        self._plain.frombytes(positions.astype(np.int64).tobytes())

    def take(self, n: int) -> list[int]:
        """Remove the best ``n`` entries that are not stale, or as many as there are."""
        heap, state, queued = self._heap, self._state, self._queued
        taken: list[int] = []
        found: set[int] = set()
        while len(taken) < n:
            if heap:
                position = heapq.heappop(heap) & _POSITION
            elif self._next < len(self._plain):
                position = self._first()
            else:
                break
            # A chunk may wait twice: lost and queued again while an old entry was stale.
            if state[position] == queued and position not in found:
                found.add(position)
                taken.append(position)
        return taken

    def _first(self) -> int:
        position = self._plain[self._next]
        self._next += 1
        if self._next > _ROOM:
            del self._plain[: self._next]
            self._next = 0
        return position

    def _drop_stale(self) -> None:
        state = self._state
        self._heap = [e for e in self._heap if state[e & _POSITION] == self._queued]
        heapq.heapify(self._heap)
        self._roomy = max(_ROOM, 2 * len(self._heap))
