"""Results of tasks as lines of the journal."""

from __future__ import annotations

from neuroconn.inference.journal.journal import Record
from neuroconn.inference.task import Failure, Outcome


def outcome_record(outcome: Outcome) -> Record:
    """Return the line of a chunk that is stored."""
    return Record.from_verdict(
        outcome.index,
        outcome.verdict,
        digest=outcome.crc,
        attempt=outcome.attempt,
        seconds=outcome.seconds,
        absent=outcome.gaps.absent,
        damaged=tuple(index for index, _ in outcome.gaps.damaged),
    )


def failure_record(failure: Failure) -> Record:
    """Return the line of a chunk that was given up."""
    return Record(failure.index, "failed", attempt=failure.attempt)
