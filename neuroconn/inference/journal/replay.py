"""From a journal to the frontier: what a resumed run knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import NeuroconnError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.frontier.states import HOLDS, KNOWN
from neuroconn.inference.journal.columns import FAILED, NEURITE, Ledger, Rows
from neuroconn.inference.journal.journal import Journal


def replay(
    journal: Journal,
    grid: ChunkGrid,
    seeds: Iterable[ZYX],
    *,
    bridge: int = 0,
    mask: NDArray[np.bool_] | None = None,
    through_failed: Literal["all", "bridge", "none"] = "all",
    retry_failed: bool = False,
) -> Frontier:
    """Build the frontier of a run from its seeds and its journal.

    Parameters
    ----------
    journal : Journal
        Open for reading or appending.
    grid : ChunkGrid
        Chunks of the run.
    seeds : iterable of (z, y, x) ints
        Where every run into this output started.
    bridge : int, optional
        Budget of the run.
    mask, through_failed : optional
        As for :class:`Frontier`.
    retry_failed : bool, optional
        Queue the chunks once given up again.

    Raises
    ------
    NeuroconnError
        If the journal holds one chunk with two different results: the engine is not
        deterministic, and no resumed map could be trusted.
    """
    frontier = Frontier(grid, seeds, bridge=bridge, mask=mask, through_failed=through_failed)
    ledger = Ledger(grid)
    for rows, positions in ledger.rows(journal.blocks()):
        apply_rows(frontier, rows, positions)
    disagreeing = ledger.conflicts or frontier.conflicts
    if disagreeing:
        raise NeuroconnError(
            f"{journal.path} holds {len(disagreeing)} chunks with two different results (first: "
            f"{disagreeing[0]}): this engine does not repeat itself, so chunks would not fit. Set "
            "precision: float32, into a new output."
        )
    if retry_failed:
        for index in list(frontier.chunks("failed")):
            frontier.requeue(index)
    return frontier


def apply_rows(frontier: Frontier, rows: Rows, positions: NDArray[np.int64]) -> None:
    """Settle chunks as ``frontier.record`` and ``frontier.fail`` do."""
    failed = rows["status"] == FAILED
    neurite = rows["status"] == NEURITE
    given_up, across = frontier.gave_up
    flags = rows["strong"] | np.where(neurite, KNOWN | HOLDS, KNOWN).astype(np.uint32)
    frontier.settle(
        positions,
        np.where(failed, given_up, flags),
        np.where(failed, across, rows["weak"]),
        np.where(failed, 0, rows["voxels"]),
    )
