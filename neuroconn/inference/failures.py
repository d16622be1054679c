"""What happens to chunks that do not come back: again, again but alone, or given up.

An error of a chunk is tried three times. A batch the scheduler forgot is sent again and not
counted. When workers die, everything they held is suspect; each suspect then runs with nothing
else in flight, and only one that kills workers twice more, alone, is a poison chunk: on a cluster
that kills jobs, bad luck strikes a chunk once more often than one would think.
"""

from __future__ import annotations

from collections import deque

from neuroconn.geometry import ZYX
from neuroconn.inference.executors import Batch, Returned
from neuroconn.inference.task import Failure

_DEATHS_ALONE = 2


class Retries:
    """Chunks to run again, and how often each has failed.

    Examples
    --------
    >>> retries = Retries(attempts=2)
    >>> retries.failed(Failure((0, 0, 0), 1, "OSError: gone"))
    >>> retries.take(9)
    [(0, 0, 0)]
    >>> retries.failed(Failure((0, 0, 0), 2, "OSError: gone")).reason
    'OSError: gone (2 attempts)'
    """

    def __init__(self, attempts: int = 3) -> None:
        self.attempts = attempts
        self._again: deque[ZYX] = deque()
        self._alone: deque[ZYX] = deque()
        self._failures: dict[ZYX, int] = {}
        self._handed_out: dict[ZYX, int] = {}
        self._deaths: dict[ZYX, int] = {}

    def __len__(self) -> int:
        return len(self._again) + len(self._alone)

    @property
    def suspects(self) -> int:
        """Chunks that must run with nothing else in flight."""
        return len(self._alone)

    def take(self, count: int) -> list[ZYX]:
        """Hand out up to ``count`` chunks that may share a worker."""
        return [self._again.popleft() for _ in range(min(count, len(self._again)))]

    def take_suspect(self) -> ZYX:
        """Hand out one suspect."""
        return self._alone.popleft()

    def attempt(self, index: ZYX) -> int:
        """Count a chunk as handed out once more; 1 the first time."""
        self._handed_out[index] = self._handed_out.get(index, 0) + 1
        return self._handed_out[index]

    def forget(self, index: ZYX) -> None:
        """Drop what is kept about a chunk that succeeded, so that memory does not grow."""
        self._failures.pop(index, None)
        self._handed_out.pop(index, None)
        self._deaths.pop(index, None)

    def failed(self, failure: Failure) -> Failure | None:
        """Queue a failed chunk once more, or return the failure to give up with."""
        count = self._failures.get(failure.index, 0) + 1
        self._failures[failure.index] = count
        if failure.final:
            return failure
        if count < self.attempts:
            self._again.append(failure.index)
            return None
        reason = f"{failure.reason} ({count} attempts)"
        return Failure(failure.index, failure.attempt, reason, details=failure.details)

    def lost(self, returned: Returned, *, alone: bool) -> list[Failure]:
        """Queue the chunks of a batch that never came back; return those to give up.

        Parameters
        ----------
        returned : Returned
            A batch with ``lost`` set.
        alone : bool
            Whether it ran as a single suspect with nothing else in flight.
        """
        if returned.lost == "cancelled":
            self._again.extend(index for index, _ in returned.batch.chunks)
            return []
        if returned.lost == "killed":
            return self._killed(returned.batch, alone=alone)
        errors = [Failure(i, n, returned.reason) for i, n in returned.batch.chunks]
        return [given_up for e in errors if (given_up := self.failed(e))]

    def _killed(self, batch: Batch, *, alone: bool) -> list[Failure]:
        given_up = []
        reason = "poison: its worker died each time, also with nothing else running"
        for index, attempt in batch.chunks:
            self._deaths[index] = self._deaths.get(index, 0) + alone
            if self._deaths[index] < _DEATHS_ALONE:
                self._alone.append(index)
            else:
                given_up.append(Failure(index, attempt, reason, final=True))
        return given_up
