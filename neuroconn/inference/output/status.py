"""How far a run has come, from its journal alone; also while it is under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.journal.columns import Ledger, Rows
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.resumption import resume
from neuroconn.inference.output.run_folder import require_run
from neuroconn.inference.report import exceptions
from neuroconn.volume.address import Address, address_of


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a run."""

    output: str
    chunks: dict[str, int]
    """Chunks of the grid in each state."""
    task_seconds: float
    """Time spent on the finished chunks, summed over workers."""
    running: str | None
    """Host and pid of the client at work, if there is one."""
    exceptions: tuple[str, ...]
    """What keeps the visited chunks from being the closure of the seeds."""
    last: dict[str, Any]
    """Report of the last run that ended."""

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.exceptions

    def to_json(self) -> dict[str, Any]:
        """Return the status as plain values."""
        return {**asdict(self), "complete": self.complete}


def status(output: str | Address) -> RunStatus:
    """Say how far the run of an output has come; touches nothing.

    Raises
    ------
    OutputError
        If the path is not an output of ``infer``.
    """
    folder = require_run(output)
    journal = Journal.read(folder.path)
    grid = _grid(journal.identity)
    frontier = resume(folder, journal, grid)
    found = folder.running()
    counts = frontier.counts()
    return RunStatus(
        output=str(address_of(output)),
        chunks=counts,
        task_seconds=round(sum(float(rows["seconds"].sum()) for rows in _rows(journal, grid)), 3),
        running=f"process {found.get('pid')} on {found.get('host')}" if found else None,
        exceptions=exceptions(counts),
        last=folder.read_report(),
    )


def _rows(journal: Journal, grid: ChunkGrid) -> Iterator[Rows]:
    for rows, _ in Ledger(grid).rows(journal.blocks()):
        yield rows


def _grid(identity: dict[str, Any]) -> ChunkGrid:
    sizes = identity["grid"]
    (sz, sy, sx), (cz, cy, cx) = sizes["shape"], sizes["chunk"]
    return ChunkGrid((sz, sy, sx), (cz, cy, cx))
