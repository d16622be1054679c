"""What a run folder remembers beside the journal, and the frontier that follows from all of it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.audit import Audit, Round, conclude
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.journal.replay import replay
from neuroconn.inference.output.run_folder import RunFolder


def resume(
    folder: RunFolder, journal: Journal, grid: ChunkGrid, *, retry_failed: bool = False
) -> Frontier:
    """Rebuild the frontier of a run from what its folder says.

    Raises
    ------
    NeuroconnError
        If the journal holds one chunk with two different results.
    """
    frontier = replay(
        journal,
        grid,
        folder.seeds(grid),
        bridge=journal.identity["bridge"],
        mask=read_mask(folder, grid),
        through_failed=journal.identity.get("through_failed", "all"),
        retry_failed=retry_failed,
    )
    for drawn in read_rounds(folder):
        frontier.add_probes(drawn.probes)
    return frontier


def read_rounds(folder: RunFolder) -> list[Round]:
    """Probes that were drawn in a run so far."""
    stored: dict[str, Any] = folder.read_json("audit") or {"rounds": []}
    return [Round.from_json(r) for r in stored["rounds"]]


def write_rounds(folder: RunFolder, rounds: Sequence[Round], confidence: float) -> None:
    """Store the probes that were drawn so far, and the confidence asked for."""
    stored = {"confidence": confidence, "rounds": [r.to_json() for r in rounds]}
    folder.write_json("audit", stored)


def audit_of(folder: RunFolder, frontier: Frontier) -> Audit | None:
    """Return what the probes of a run prove by now; None before the first, or while one is out."""
    rounds: Sequence[Round] = read_rounds(folder)
    settled = ("neurite", "empty", "failed", "masked")
    known = {frontier.states.index(name) for name in settled}
    if any(int(frontier.state[index]) not in known for r in rounds for index in r.probes):
        rounds = rounds[:-1]
    stored: dict[str, Any] = folder.read_json("audit") or {}
    return conclude(rounds, frontier, stored.get("confidence", 0.95))


def write_mask(folder: RunFolder, outside: NDArray[np.bool_]) -> None:
    """Store the chunks a walk must not visit."""
    packed = base64.b85encode(zlib.compress(np.packbits(outside).tobytes())).decode("ascii")
    folder.write_json("region", {"shape": outside.shape, "outside": packed})


def read_mask(folder: RunFolder, grid: ChunkGrid) -> NDArray[np.bool_] | None:
    """Return the chunks a walk must not visit; None if it may go anywhere."""
    stored: dict[str, Any] | None = folder.read_json("region")
    if stored is None:
        return None
    packed = np.frombuffer(zlib.decompress(base64.b85decode(stored["outside"])), dtype=np.uint8)
    return np.unpackbits(packed, count=len(grid)).astype(bool).reshape(grid.counts)
