"""The walk as a pure state machine: verdicts in, chunks out. No Dask, no Zarr, no clock.

The visited set is the least fixpoint of "seeds, plus every neighbour a visited chunk gives
evidence for". It does not depend on the order of verdicts, on duplicates or on where a run was
cut and resumed; ``DESIGN.md`` beside this module says why, with an example.
"""

from __future__ import annotations

import heapq
from array import array
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import DIRECTIONS, ZYX, ChunkGrid
from neuroconn.inference.verdict import Verdict

UNEXPLORED, QUEUED, IN_FLIGHT, NEURITE, EMPTY, FAILED, MASKED = range(7)
NAMES = ("unexplored", "queued", "in_flight", "neurite", "empty", "failed", "masked")
"""Name of each value of :attr:`Frontier.state`."""

_ALL = (1 << len(DIRECTIONS)) - 1
_KNOWN, _HOLDS, _GAVE_UP = 1 << 26, 1 << 27, 1 << 28  # flags above the 26 bits of a mask


class Frontier:
    """Which chunks are done, under way, waiting, and not reached.

    Parameters
    ----------
    grid : ChunkGrid
        The chunks of the brain.
    seeds : iterable of (z, y, x) chunk indices
        Where the walk starts; masked ones are ignored. The grid itself stands for every chunk.
    bridge : int, optional
        How many consecutive chunks without evidence the walk may cross (at most 254).
    mask : (z, y, x) bool array over the grid, optional
        True where the walk must not go.

    Attributes
    ----------
    state : (z, y, x) uint8 array over the grid
        Index into :data:`NAMES`. To be read, not written.
    conflicts : list of (z, y, x)
        Chunks whose second verdict differed from their first: the engine is not deterministic.

    Raises
    ------
    ValueError
        If ``bridge`` is out of range or the mask does not have the shape of the grid.
    IndexError
        If a seed is not a chunk of the grid.

    Examples
    --------
    >>> grid = ChunkGrid(shape=(1, 1, 3), chunk=(1, 1, 1))
    >>> frontier = Frontier(grid, [(0, 0, 0)])
    >>> frontier.take(8)
    [(0, 0, 0)]
    >>> right = 1 << DIRECTIONS.index((0, 0, 1))
    >>> frontier.record((0, 0, 0), Verdict(True, right, right, voxels=50))
    [(0, 0, 1)]
    >>> frontier.counts()["queued"], frontier.done
    (1, False)
    """

    states = NAMES

    def __init__(
        self,
        grid: ChunkGrid,
        seeds: Iterable[ZYX],
        *,
        bridge: int = 0,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        if not 0 <= bridge <= 254:
            raise ValueError(f"bridge must be between 0 and 254 chunks, got {bridge}")
        if mask is not None and mask.shape != grid.counts:
            raise ValueError(f"the mask has shape {mask.shape}, the grid has {grid.counts} chunks")
        self.grid = grid
        self.bridge = bridge
        self.state: NDArray[np.uint8] = np.zeros(grid.counts, dtype=np.uint8)
        self.conflicts: list[ZYX] = []
        if mask is not None:
            self.state[mask] = MASKED
        self._tally = np.bincount(self.state.ravel(), minlength=len(NAMES)).tolist()
        # Memoryviews index five times faster than arrays; untouched pages take no memory.
        self._state = self.state.reshape(-1).data
        self._level = np.zeros(len(grid), dtype=np.uint8).data  # best budget + 1; 0: unreached
        self._strong = np.zeros(len(grid), dtype=np.uint32).data  # with the flags
        self._weak = np.zeros(len(grid), dtype=np.uint32).data
        self._waiting = _Waiting(self._state)
        if seeds is grid:
            self._seed_everything()
        else:
            self.add_seeds(seeds)

    def add_seeds(self, indices: Iterable[ZYX]) -> list[ZYX]:
        """Start from more chunks; returns those that were not reached before."""
        fresh: list[int] = []
        for index in indices:
            self._reach(self.grid.ravel(index), self.bridge + 1, 0, fresh)
        return self._indices(fresh)

    def take(self, n: int) -> list[ZYX]:
        """Hand out up to ``n`` chunks, most evidence first; they are in flight from now on."""
        taken: list[ZYX] = []
        while len(taken) < n and self._tally[QUEUED]:
            position = self._waiting.pop()
            self._move(position, IN_FLIGHT)
            taken.append(self.grid.unravel(position))
        return taken

    def record(self, index: ZYX, verdict: Verdict) -> list[ZYX]:
        """Settle a chunk and return the chunks it newly queues.

        A repeated verdict changes nothing; one that differs is dropped too, and listed in
        :attr:`conflicts`. The verdict of a chunk that failed before replaces the failure. A chunk
        that was never queued (a probe, or a journal from other seeds) counts as a seed if it
        holds neurite.
        """
        position = self.grid.ravel(index)
        flags = verdict.strong | _KNOWN | (_HOLDS if verdict.neurite else 0)
        if self._state[position] == MASKED:
            return []
        known = self._strong[position]
        if known & _KNOWN and not known & _GAVE_UP:
            if (known, self._weak[position]) != (flags, verdict.weak):
                self.conflicts.append(index)
            self._move(position, NEURITE if known & _HOLDS else EMPTY)
            return []
        self._strong[position], self._weak[position] = flags, verdict.weak
        self._move(position, NEURITE if verdict.neurite else EMPTY)
        return self._expand(position, verdict.voxels)

    def fail(self, index: ZYX) -> list[ZYX]:
        """Give up on a chunk, and return the chunks that may be reached by bridging across it.

        It passes the budget on like an empty chunk, so that one bad chunk does not cut off a
        neurite. The visited set is then no longer the closure: ``counts()["failed"]`` says so.
        """
        position = self.grid.ravel(index)
        if self._state[position] in (NEURITE, EMPTY, MASKED):  # a late, failing duplicate
            return []
        if self._strong[position] & _KNOWN:
            self._move(position, FAILED)
            return []
        self._strong[position], self._weak[position] = _KNOWN | _GAVE_UP, _ALL
        self._move(position, FAILED)
        return self._expand(position, 0)

    def requeue(self, index: ZYX) -> None:
        """Hand a chunk out again: it was lost in flight, failed, or its stored core is damaged.

        Raises
        ------
        ValueError
            If the chunk was never handed out, so there is nothing to repeat.
        """
        position = self.grid.ravel(index)
        state = self._state[position]
        if state in (UNEXPLORED, MASKED):
            raise ValueError(f"chunk {index} is {NAMES[state]} and cannot be requeued")
        if state != QUEUED:
            self._move(position, QUEUED)
            self._waiting.push(position, 0)

    @property
    def done(self) -> bool:
        """Whether nothing is queued and nothing is in flight."""
        return not self._tally[QUEUED] and not self._tally[IN_FLIGHT]

    def counts(self) -> dict[str, int]:
        """Chunks in each state; they add up to ``len(grid)``."""
        return dict(zip(NAMES, self._tally, strict=True))

    def chunks(self, name: str) -> Iterator[ZYX]:
        """Chunks in the state ``name``, in (z, y, x) order."""
        for position in np.flatnonzero(self.state.reshape(-1) == NAMES.index(name)):
            yield self.grid.unravel(int(position))

    def _seed_everything(self) -> None:
        """Queue every chunk that is not masked: one by one, ten million take a minute."""
        positions = np.flatnonzero(self.state.reshape(-1) == UNEXPLORED)
        np.asarray(self._level)[positions] = self.bridge + 1
        self.state.reshape(-1)[positions] = QUEUED
        self._tally[UNEXPLORED], self._tally[QUEUED] = 0, len(positions)
        self._waiting.extend(positions)

    def _expand(self, position: int, evidence: int) -> list[ZYX]:
        """Open what the verdict just cached at ``position`` opens."""
        fresh: list[int] = []
        flags = self._strong[position]
        if flags & _HOLDS:
            self._level[position] = self.bridge + 1
        for neighbour in self._neighbours(position, flags & _ALL):
            self._reach(neighbour, self.bridge + 1, evidence, fresh)
        level = self._level[position]
        if level > 1:
            for neighbour in self._neighbours(position, self._weak[position] & ~flags):
                self._reach(neighbour, level - 1, evidence, fresh)
        return self._indices(fresh)

    def _reach(self, position: int, level: int, evidence: int, fresh: list[int]) -> None:
        """Raise the best budget of a chunk; queue it, or expand again from its cached verdict.

        Budgets fall by one per step of the work list, so no chunk is raised twice by one call.
        """
        if level <= self._level[position]:  # most neighbours, most of the time
            return
        work = deque([(position, level)])
        while work:
            position, level = work.popleft()
            if level <= self._level[position] or self._state[position] == MASKED:
                continue
            self._level[position] = level
            if self._state[position] == UNEXPLORED:
                self._move(position, QUEUED)
                self._waiting.push(position, evidence)
                fresh.append(position)
            elif level > 1:  # the weak mask is 0 until there is a verdict
                weak = self._neighbours(position, self._weak[position])
                work.extend((neighbour, level - 1) for neighbour in weak)

    def _neighbours(self, position: int, mask: int) -> Iterator[int]:
        """Positions of the neighbours in ``mask`` that the grid has."""
        nz, ny, nx = self.grid.counts
        rest, x = divmod(position, nx)
        z, y = divmod(rest, ny)
        while mask:
            lowest = mask & -mask
            mask ^= lowest
            dz, dy, dx = DIRECTIONS[lowest.bit_length() - 1]
            if 0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx:
                yield position + (dz * ny + dy) * nx + dx

    def _move(self, position: int, state: int) -> None:
        self._tally[self._state[position]] -= 1
        self._tally[state] += 1
        self._state[position] = state

    def _indices(self, positions: list[int]) -> list[ZYX]:
        return [self.grid.unravel(p) for p in positions]


class _Waiting:
    """Queued positions, most evidence first, then first come first served.

    Chunks without evidence (seeds, bridges) wait in a flat array: with every chunk of a brain as a
    seed a heap of tuples would take gigabytes. An entry whose chunk is no longer queued is stale.
    """

    def __init__(self, state: memoryview) -> None:
        self._state = state
        self._heap: list[tuple[int, int, int]] = []
        self._plain = array("q")
        self._next = 0
        self._order = 0
        self._roomy = 1 << 16

    def push(self, position: int, evidence: int) -> None:
        if not evidence:
            self._plain.append(position)
            return
        self._order += 1
        heapq.heappush(self._heap, (-evidence, self._order, position))
        if len(self._heap) > self._roomy:
            self._heap = [entry for entry in self._heap if self._state[entry[2]] == QUEUED]
            heapq.heapify(self._heap)
            self._roomy = max(1 << 16, 2 * len(self._heap))

    def extend(self, positions: NDArray[np.intp]) -> None:
        self._plain.frombytes(positions.astype(np.int64).tobytes())

    def pop(self) -> int:
        """Remove the best entry that is not stale.

        Raises
        ------
        IndexError
            If nothing is queued.
        """
        while True:
            position = heapq.heappop(self._heap)[2] if self._heap else self._first()
            if self._state[position] == QUEUED:
                return position

    def _first(self) -> int:
        position = self._plain[self._next]
        self._next += 1
        if self._next > 1 << 16:
            del self._plain[: self._next]
            self._next = 0
        return position
