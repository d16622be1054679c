"""The walk as a pure state machine: verdicts in, chunks out. No Dask, no Zarr, no clock.

The visited set is the least fixpoint of "seeds, plus every neighbour a visited chunk gives
evidence for". It does not depend on the order of verdicts, on duplicates or on where a run was
cut and resumed; ``DESIGN.md`` beside this module says why, with an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.states import (
    ALL,
    EMPTY,
    FAILED,
    GAVE_UP,
    HOLDS,
    IN_FLIGHT,
    KNOWN,
    MASKED,
    NAMES,
    NEURITE,
    QUEUED,
    UNEXPLORED,
)
from neuroconn.inference.frontier.waiting import Waiting
from neuroconn.inference.verdict import Verdict

__all__ = [
    "EMPTY",
    "FAILED",
    "IN_FLIGHT",
    "MASKED",
    "NAMES",
    "NEURITE",
    "QUEUED",
    "UNEXPLORED",
    "Frontier",
]


Numbers: TypeAlias = Sequence[int] | NDArray[np.integer]
"""Integers of a kind, one for each chunk."""


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
    through_failed : {"all", "bridge", "none"}, optional
        Where the walk goes on from a chunk that failed: to all its neighbours if evidence led to
        it, as far as the budget of an empty chunk reaches, or nowhere.

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
    >>> from neuroconn.geometry import DIRECTIONS
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
        through_failed: Literal["all", "bridge", "none"] = "all",
    ) -> None:
        if not 0 <= bridge <= 254:
            raise ValueError(f"bridge must be between 0 and 254 chunks, got {bridge}")
        if mask is not None and mask.shape != grid.counts:
            raise ValueError(f"the mask has shape {mask.shape}, the grid has {grid.counts} chunks")
        self.grid = grid
        self._counts = grid.counts
        self.bridge = bridge
        self.through_failed = through_failed
        self.state: NDArray[np.uint8] = np.zeros(grid.counts, dtype=np.uint8)
        self.conflicts: list[ZYX] = []
        if mask is not None:
            self.state[mask] = MASKED
        # Imported here: numba is slow to load, and most who import this module walk nothing.
        from neuroconn.inference.frontier import kernel

        self._kernel = kernel
        self._tally = np.bincount(self.state.ravel(), minlength=len(NAMES)).astype(np.int64)
        self._chunks = kernel.Chunks(
            self.state.reshape(-1),
            np.zeros(len(grid), np.uint8),  # untouched pages take no memory
            np.zeros(len(grid), np.uint32),
            np.zeros(len(grid), np.uint32),
            self._tally,
        )
        self._rules = kernel.Rules(grid.counts, bridge, through_failed == "all")
        # A memoryview is read five times faster than an array, one number at a time.
        self._state = self._chunks.state.data
        self._waiting = Waiting(self._state, QUEUED)
        if seeds is grid:
            self._seed_everything()
        else:
            self.add_seeds(seeds)

    def add_seeds(self, indices: Iterable[ZYX]) -> list[ZYX]:
        """Start from more chunks; returns those that were not reached before."""
        positions = np.array([self._position(index) for index in indices], np.int64)
        fresh = self._kernel.reach(self._chunks, self._rules, positions, self.bridge + 1)
        return self._queue(fresh)

    def add_probes(self, indices: Iterable[ZYX]) -> list[ZYX]:
        """Queue unexplored chunks nothing led to; returns those that were unexplored.

        A probe without neurite opens nothing by itself: it has no budget to pass on.
        """
        fresh: list[int] = []
        for index in indices:
            position = self._position(index)
            if self._state[position] == UNEXPLORED:
                self._move(position, QUEUED)
                self._waiting.push([(position, 0)])
                fresh.append(position)
        return self._indices(fresh)

    def take(self, n: int) -> list[ZYX]:
        """Hand out up to ``n`` chunks, most evidence first; they are in flight from now on."""
        taken = self._waiting.take(n)
        for position in taken:
            self._state[position] = IN_FLIGHT
        self._tally[QUEUED] -= len(taken)
        self._tally[IN_FLIGHT] += len(taken)
        return self._indices(taken)

    def record(self, index: ZYX, verdict: Verdict) -> list[ZYX]:
        """Settle a chunk and return the chunks it newly queues.

        A repeated verdict changes nothing; one that differs is dropped too, and listed in
        :attr:`conflicts`. The verdict of a chunk that failed before replaces the failure. A chunk
        that was never queued (a probe, or a journal from other seeds) counts as a seed if it
        holds neurite.
        """
        fresh, opened = self._settle(
            [self._position(index)], [_flags(verdict)], [verdict.weak], [verdict.voxels]
        )
        if opened[0] == self._kernel.CONFLICT:
            self.conflicts.append(index)
        return self._queue(fresh)

    def record_many(self, results: Sequence[tuple[ZYX, Verdict]]) -> list[int]:
        """Settle chunks one after the other, faster; returns how many each newly queues."""
        if not results:
            return []
        rows = [(self._position(i), _flags(v), v.weak, v.voxels) for i, v in results]
        positions, flags, weak, voxels = zip(*rows, strict=True)
        return self.settle(positions, flags, weak, voxels)

    def settle(
        self, positions: Numbers, flags: Numbers, weak: Numbers, voxels: Numbers
    ) -> list[int]:
        """Settle chunks in bulk, given by their positions in the grid.

        Parameters
        ----------
        positions, weak, voxels : (n,) integers
            Place in the grid's order, weak mask and evidence of each.
        flags : (n,) integers
            Strong mask with ``KNOWN``, and ``HOLDS`` or ``GAVE_UP``.

        Returns
        -------
        list of n ints
            How many chunks each record newly queues.
        """
        fresh, opened = self._settle(positions, flags, weak, voxels)
        self._waiting.push(fresh.tolist())
        for n in np.flatnonzero(opened == self._kernel.CONFLICT).tolist():
            self.conflicts.append(self.grid.unravel(int(positions[n])))
        counted: list[int] = np.maximum(opened, 0).tolist()
        return counted

    def fail(self, index: ZYX) -> list[ZYX]:
        """Give up on a chunk, and return the chunks that are reached across it.

        One bad chunk must not cut off a neurite: ``through_failed`` says how the walk goes on. The
        visited set is then no longer the closure: ``counts()["failed"]`` says so.
        """
        flags, weak = self.gave_up
        fresh, _ = self._settle([self._position(index)], [flags], [weak], [0])
        return self._queue(fresh)

    @property
    def gave_up(self) -> tuple[int, int]:
        """Flags and weak mask that stand for a failure in :meth:`settle`."""
        return KNOWN | GAVE_UP, 0 if self.through_failed == "none" else ALL

    def requeue(self, index: ZYX) -> None:
        """Hand a chunk out again: it was lost in flight, failed, or its stored core is damaged.

        Raises
        ------
        ValueError
            If the chunk was never handed out, so there is nothing to repeat.
        """
        position = self._position(index)
        state = self._state[position]
        if state in (UNEXPLORED, MASKED):
            raise ValueError(f"chunk {index} is {NAMES[state]} and cannot be requeued")
        if state != QUEUED:
            self._move(position, QUEUED)
            self._waiting.push([(position, 0)])

    @property
    def done(self) -> bool:
        """Whether nothing is queued and nothing is in flight."""
        return not (self._tally[QUEUED] or self._tally[IN_FLIGHT])

    def counts(self) -> dict[str, int]:
        """Chunks in each state; they add up to ``len(grid)``."""
        return dict(zip(NAMES, self._tally.tolist(), strict=True))

    def chunks(self, name: str) -> Iterator[ZYX]:
        """Chunks in the state ``name``, in (z, y, x) order."""
        for position in np.flatnonzero(self.state.reshape(-1) == NAMES.index(name)):
            yield self.grid.unravel(int(position))

    def _seed_everything(self) -> None:
        """Queue every chunk that is not masked: one by one, ten million take a minute."""
        positions = np.flatnonzero(self.state.reshape(-1) == UNEXPLORED)
        self._chunks.level[positions] = self.bridge + 1
        self.state.reshape(-1)[positions] = QUEUED
        self._tally[UNEXPLORED], self._tally[QUEUED] = 0, len(positions)
        self._waiting.extend(positions)

    def _settle(
        self, positions: Numbers, flags: Numbers, weak: Numbers, voxels: Numbers
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._kernel.settle(
            self._chunks,
            self._rules,
            np.asarray(positions, np.int64),
            np.asarray(flags, np.uint32),
            np.asarray(weak, np.uint32),
            np.asarray(voxels, np.int64),
        )

    def _queue(self, fresh: NDArray[np.int64]) -> list[ZYX]:
        entries = fresh.tolist()
        self._waiting.push(entries)
        return self._indices([position for position, _ in entries])

    def _move(self, position: int, state: int) -> None:
        self._tally[self._state[position]] -= 1
        self._tally[state] += 1
        self._state[position] = state

    def _position(self, index: ZYX) -> int:
        """``grid.ravel``, without its price."""
        (nz, ny, nx), (z, y, x) = self._counts, index
        if 0 <= z < nz and 0 <= y < ny and 0 <= x < nx:
            return (z * ny + y) * nx + x
        return self.grid.ravel(index)  # says what is wrong

    def _indices(self, positions: list[int]) -> list[ZYX]:
        _, ny, nx = self._counts
        plane = ny * nx
        return [(p // plane, p // nx % ny, p % nx) for p in positions]


def _flags(verdict: Verdict) -> int:
    return verdict.strong | KNOWN | (HOLDS if verdict.neurite else 0)
