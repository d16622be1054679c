"""The inner loop of the frontier, compiled: a verdict into the chunks it opens.

``tests/inference/plain_frontier.py`` says the same in plain Python, and the tests compare the two.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroconn.geometry import DIRECTIONS
from neuroconn.inference.frontier.states import (
    ALL,
    EMPTY,
    FAILED,
    GAVE_UP,
    HOLDS,
    KNOWN,
    MASKED,
    NEURITE,
    QUEUED,
    UNEXPLORED,
)

Int: TypeAlias = int | np.signedinteger[Any]
_STEPS = np.array(DIRECTIONS, np.int64)
CONFLICT = -1
"""In place of the number of opened chunks: the verdict differs from the one that is known."""


class Chunks(NamedTuple):
    """What is known of each chunk, by its position in the grid."""

    state: NDArray[np.uint8]
    level: NDArray[np.uint8]
    """Best budget + 1 a chunk was reached with; 0: unreached."""
    strong: NDArray[np.uint32]
    """26 bits, and the flags above them."""
    weak: NDArray[np.uint32]
    tally: NDArray[np.int64]
    """Chunks in each state."""


class Rules(NamedTuple):
    """What is the same for all chunks."""

    counts: tuple[int, int, int]
    bridge: int
    across: bool
    """Whether what led to a failed chunk leads on behind it."""


@njit(cache=True, nogil=True)
def settle(
    chunks: Chunks,
    rules: Rules,
    positions: NDArray[np.int64],
    flags: NDArray[np.uint32],
    weak: NDArray[np.uint32],
    voxels: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Settle chunks one after the other; see ``Frontier.record`` and ``Frontier.fail``.

    Parameters
    ----------
    chunks, rules
        Changed, and read.
    positions, flags, weak, voxels : (n,) arrays
        Strong mask with flags, weak mask and evidence of each chunk; ``GAVE_UP`` is a failure.

    Returns
    -------
    fresh : (m, 2) int64 array
        Position and evidence of each chunk that is queued now, in the order of queueing.
    opened : (n,) int64 array
        How many of them each record queued, or ``CONFLICT``.
    """
    opened = np.zeros(positions.size, np.int64)
    fresh = np.empty((positions.size + 32, 2), np.int64)
    work = np.empty((64, 2), np.int64)
    count = 0
    for i in range(positions.size):
        at, strong_i, weak_i = positions[i], np.int64(flags[i]), np.int64(weak[i])
        if not _accept(chunks, at, strong_i, weak_i):
            opened[i] = CONFLICT if _differs(chunks, at, strong_i, weak_i) else 0
            continue
        work, tail = _openings(chunks, rules, at, work)
        before = count
        fresh, count, work = _spread(chunks, rules, work, tail, voxels[i], fresh, count)
        opened[i] = count - before
    return fresh[:count], opened


@njit(cache=True, nogil=True)
def reach(
    chunks: Chunks, rules: Rules, positions: NDArray[np.int64], level: int
) -> NDArray[np.int64]:
    """Raise the best budget + 1 of chunks to ``level``; returns the fresh ones like ``settle``."""
    fresh = np.empty((positions.size + 32, 2), np.int64)
    work = np.empty((64, 2), np.int64)
    count = 0
    for i in range(positions.size):
        work[0, 0], work[0, 1] = positions[i], level
        fresh, count, work = _spread(chunks, rules, work, 1, 0, fresh, count)
    return fresh[:count]


@njit(cache=True, nogil=True)
def _accept(chunks: Chunks, at: Int, flags: Int, weak: Int) -> bool:
    """Move a chunk to its new state; whether the masks are news, to be expanded."""
    state, known = chunks.state[at], chunks.strong[at]
    if state == MASKED:
        return False
    gives_up = flags & GAVE_UP
    if gives_up and state in (NEURITE, EMPTY):  # a late, failing duplicate
        return False
    if known & KNOWN and (gives_up or not known & GAVE_UP):
        _move(chunks, at, FAILED if gives_up else NEURITE if known & HOLDS else EMPTY)
        return False
    chunks.strong[at], chunks.weak[at] = flags, weak
    _move(chunks, at, FAILED if gives_up else NEURITE if flags & HOLDS else EMPTY)
    return True


@njit(cache=True, nogil=True)
def _differs(chunks: Chunks, at: Int, flags: Int, weak: Int) -> bool:
    """Whether a verdict that was not accepted is another than the known one."""
    if chunks.state[at] == MASKED or flags & GAVE_UP:
        return False
    return bool(chunks.strong[at] != flags or chunks.weak[at] != weak)


@njit(cache=True, nogil=True)
def _openings(chunks: Chunks, rules: Rules, at: Int, work: Any) -> tuple[Any, int]:
    """Fill the work list with what the verdict just cached opens."""
    flags, weak = np.int64(chunks.strong[at]), np.int64(chunks.weak[at])
    if flags & HOLDS:
        chunks.level[at] = rules.bridge + 1
    work, tail = _push_neighbours(rules, at, flags & ALL, rules.bridge + 1, work, 0)
    passed = _passed_on(chunks, rules, at)
    if passed > 0:
        work, tail = _push_neighbours(rules, at, weak & ~flags, passed, work, tail)
    return work, tail


@njit(cache=True, nogil=True)
def _passed_on(chunks: Chunks, rules: Rules, at: Int) -> Int:
    """Best budget + 1 that a chunk hands to its weak neighbours.

    A failed chunk may have held the neurite that led to it: what led here leads on.
    """
    level = np.int64(chunks.level[at])
    across = rules.across and level > rules.bridge and chunks.strong[at] & GAVE_UP
    return level if across else level - 1


@njit(cache=True, nogil=True)
def _spread(
    chunks: Chunks, rules: Rules, work: Any, tail: int, evidence: Int, fresh: Any, count: int
) -> tuple[Any, int, Any]:
    """Raise budgets from the work list on; queue chunks, or expand them from cached verdicts.

    Budgets never rise along the work list, so it ends.
    """
    head = 0
    while head < tail:
        at, level = work[head]
        head += 1
        if level <= chunks.level[at] or chunks.state[at] == MASKED:
            continue
        chunks.level[at] = level
        if chunks.state[at] == UNEXPLORED:
            _move(chunks, at, QUEUED)
            if count == len(fresh):
                fresh = _twice(fresh)
            fresh[count, 0], fresh[count, 1] = at, evidence
            count += 1
            continue
        passed = _passed_on(chunks, rules, at)
        if passed > 0:  # the weak mask is 0 until there is a verdict
            weak = np.int64(chunks.weak[at])
            work, tail = _push_neighbours(rules, at, weak, passed, work, tail)
    return fresh, count, work


@njit(cache=True, nogil=True)
def _push_neighbours(
    rules: Rules, at: Int, mask: Int, level: Int, work: Any, tail: int
) -> tuple[Any, int]:
    """Append the neighbours in ``mask`` that the grid has."""
    nz, ny, nx = rules.counts
    rest, x = divmod(at, nx)
    z, y = divmod(rest, ny)
    if tail + len(_STEPS) > len(work):
        work = _twice(work)
    for k in range(len(_STEPS)):
        if not mask >> k & 1:
            continue
        dz, dy, dx = _STEPS[k]
        if 0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx:
            work[tail, 0], work[tail, 1] = at + (dz * ny + dy) * nx + dx, level
            tail += 1
    return work, tail


@njit(cache=True, nogil=True)
def _move(chunks: Chunks, at: Int, state: Int) -> None:
    chunks.tally[chunks.state[at]] -= 1
    chunks.tally[state] += 1
    chunks.state[at] = state


@njit(cache=True, nogil=True)
def _twice(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    larger = np.empty((2 * len(rows), rows.shape[1]), np.int64)
    larger[: len(rows)] = rows
    return larger
