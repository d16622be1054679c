"""How a run ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from neuroconn.geometry import ZYX
from neuroconn.inference.audit import Audit
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.output.run_folder import RUN, RunFolder
from neuroconn.inference.walk import Tally
from neuroconn.volume.address import Address

_LISTED = 1000


@dataclass(frozen=True, slots=True)
class InferReport:
    """What a run did, and what the output holds now."""

    output: str
    run_id: str
    chunks: dict[str, int]
    """Chunks of the grid in each state: neurite, empty, failed, queued, unexplored, ..."""
    inferred: int
    """Chunks computed by this run; 0 if an earlier one had done all."""
    retried: int
    seconds: float
    """Wall time of this run's walk."""
    model_seconds: float
    """Time the networks ran, summed over workers."""
    utilisation: float
    """Share of the walk in which a worker's network ran, mean over workers."""
    exceptions: tuple[str, ...]
    """Why the chunks visited are not the closure of the seeds; empty if they are."""
    failed: tuple[tuple[ZYX, str], ...]
    """Chunks given up, with the reason; the first thousand."""
    audit: Audit | None = None
    """What probes prove about the chunks nobody explored."""
    warnings: tuple[str, ...] = ()
    """What the run noticed that its user should look at."""

    @property
    def complete(self) -> bool:
        """Whether the visited set is the closure: nothing failed, nothing was cut short."""
        return not self.exceptions

    @property
    def exit_code(self) -> int:
        """0 if complete, 1 if chunks are missing."""
        return 0 if self.complete else 1

    @property
    def visited(self) -> int:
        """Chunks that are stored."""
        return self.chunks["neurite"] + self.chunks["empty"]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        rate = self.inferred / self.seconds if self.seconds else 0.0
        more = {"complete": self.complete, "visited": self.visited, "chunks_per_second": rate}
        return {**asdict(self), **more}


def make_report(
    output: Address,
    run_id: str,
    frontier: Frontier,
    tally: Tally,
    *,
    models: int,
    audit: Audit | None = None,
    warnings: tuple[str, ...] = (),
) -> InferReport:
    """Sum up a walk that came to an end."""
    counts = frontier.counts()
    reasons = RunFolder(output / RUN).failures()
    failed: list[tuple[ZYX, str]] = []
    for index in frontier.chunks("failed"):
        if len(failed) == _LISTED:
            break
        failed.append((index, reasons.get(index, "unknown")))
    return InferReport(
        output=str(output),
        run_id=run_id,
        chunks=counts,
        inferred=tally.inferred,
        retried=tally.retried,
        seconds=round(tally.seconds, 3),
        model_seconds=round(tally.model_seconds, 3),
        utilisation=round(tally.utilisation(models), 4),
        exceptions=exceptions(counts),
        failed=tuple(failed),
        audit=audit,
        warnings=warnings,
    )


def exceptions(counts: dict[str, int]) -> tuple[str, ...]:
    """Say why a walk with these counts is not the closure of its seeds.

    Examples
    --------
    >>> exceptions({"failed": 0, "queued": 3, "in_flight": 0})
    ('3 chunks known to be needed were not visited',)
    """
    found = []
    if counts["failed"]:
        failed = _chunks(counts["failed"])
        found.append(f"{failed} failed; what lies behind may be missing")
    waiting = counts["queued"] + counts["in_flight"]
    if waiting:
        known = f"{_chunks(waiting)} known to be needed"
        found.append(f"{known} {'was' if waiting == 1 else 'were'} not visited")
    return tuple(found)


def _chunks(count: int) -> str:
    return f"{count} chunk" if count == 1 else f"{count} chunks"
