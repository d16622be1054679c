"""From a journal to the frontier: what a resumed run knows."""

from __future__ import annotations

from collections.abc import Iterable

from neuroconn.errors import NeuroconnError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier import Frontier
from neuroconn.inference.journal import Journal


def replay(
    journal: Journal,
    grid: ChunkGrid,
    seeds: Iterable[ZYX],
    *,
    bridge: int = 0,
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
    retry_failed : bool, optional
        Queue the chunks once given up again.

    Raises
    ------
    NeuroconnError
        If the journal holds one chunk with two different results: the engine is not
        deterministic, and no resumed map could be trusted.
    """
    frontier = Frontier(grid, seeds, bridge=bridge)
    for record in journal.records():
        if record.status == "failed":
            frontier.fail(record.index)
        else:
            frontier.record(record.index, record.verdict)
    disagreeing = journal.conflicts or frontier.conflicts
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
