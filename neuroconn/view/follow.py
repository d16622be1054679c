"""Follows a run through its folder, from any machine that sees it, reading each line once.

Nothing of the run is touched, and no client needs to answer. What is in flight only the client
knows; its last sample says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.columns import FAILED, Ledger, Rows, sound_end
from neuroconn.inference.journal.journal import read_identity
from neuroconn.inference.journal.replay import apply_rows
from neuroconn.inference.output.folder import open_folder
from neuroconn.inference.output.resumption import audit_of, read_mask, read_rounds
from neuroconn.inference.output.run_folder import RunFolder, require_run
from neuroconn.inference.report import exceptions
from neuroconn.inference.watching.outlook import Outlook, Pace
from neuroconn.inference.watching.samples import Session, Sessions
from neuroconn.view.recorder import ChunkTimes
from neuroconn.view.tail import journal_tail, log_tail
from neuroconn.volume.address import Address, address_of

_LOOK = 64  # records between two looks of the forecast, at least
_FRESH_S = 120.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run is."""

    output: str
    chunks: dict[str, int]
    """Chunks of the grid in each state; those in flight by the client's last word."""
    running: str | None
    """Host and pid of the client at work, if there is one."""
    rates: tuple[float, float]
    """Chunks per second of the latest client, slower and faster; zeros if it has stopped."""
    voxels_per_second: float
    busy: float
    """Share of the time in which a worker's network ran, of the latest client."""
    seconds: float
    """Time clients were at work, all of them together."""
    model_seconds: float
    """Time networks ran, all clients together."""
    task_seconds: float
    """Time spent on the finished chunks, summed over workers."""
    total: tuple[int, int | None, int | None]
    basis: str
    eta: dict[str, float | None]
    eta_text: str
    silent: float
    """Seconds since the folder was last heard of."""
    phase: str
    audit: str
    exceptions: tuple[str, ...]
    last: dict[str, Any]
    """Report of the last run that ended."""

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return not self.exceptions

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "complete": self.complete}


class Follower:
    """Keeps up with a run.

    Parameters
    ----------
    output : path
        An output of ``infer``.

    Raises
    ------
    OutputError
        If it is none.
    """

    frontier: Frontier
    sessions: Sessions
    times: ChunkTimes
    _seeded: int

    def __init__(self, output: str | Address) -> None:
        self.output = address_of(output)
        self.folder: RunFolder = require_run(self.output)
        self.identity = read_identity(open_folder(self.folder.path))
        self.grid = _grid(self.identity)
        self._restart()

    def refresh(self) -> bool:
        """Read what is new; returns whether anything was."""
        if self._journal.cut or self._events.cut:
            self._restart()
        read = self._read_events()
        added = 0
        if read and len(self.sessions.all) != self._seeded:
            # Every client may bring seeds of its own.
            self._seeded = len(self.sessions.all)
            added += len(self.frontier.add_seeds(self.folder.seeds(self.grid)))
        read = self._read_journal() or read
        if read:
            for drawn in read_rounds(self.folder):
                added += len(self.frontier.add_probes(drawn.probes))
            self._look(added)
        return read

    def snapshot(self) -> Snapshot:
        """Say where the run is, as of the last refresh."""
        counts, latest = self._counts(), self.sessions.all[-1] if self.sessions.all else None
        found = self.folder.running()
        at_work = found is not None
        rates = self._pace(latest).rates() if latest and at_work else (0.0, 0.0)
        forecast = self._outlook.forecast()
        done = counts["neurite"] + counts["empty"] + counts["failed"]
        eta = forecast.eta(done, rates)
        last = latest.samples[-1] if latest and latest.samples else None
        spent = last.seconds * last.models if last else 0.0
        audit = audit_of(self.folder, self.frontier)
        return Snapshot(
            output=str(self.output),
            chunks=counts,
            running=f"process {found.get('pid')} on {found.get('host')}" if found else None,
            rates=rates,
            voxels_per_second=last.voxels / last.seconds if last and last.seconds else 0.0,
            busy=round(last.model_seconds / spent, 4) if last and spent else 0.0,
            seconds=sum(s.samples[-1].seconds for s in self.sessions.all if s.samples),
            model_seconds=sum(s.samples[-1].model_seconds for s in self.sessions.all if s.samples),
            task_seconds=round(self.times.total, 3),
            total=(forecast.low, forecast.likely, forecast.high),
            basis=forecast.basis,
            eta=eta.to_json(),
            eta_text=str(eta) if at_work else "nobody is at work",
            silent=round(max(0.0, time.time() - latest.until), 1) if latest else 0.0,
            phase=last.phase if last else "walk",
            audit=str(audit) if audit is not None else "",
            exceptions=exceptions(counts),
            last=self.folder.read_report(),
        )

    def _restart(self) -> None:
        self._journal = journal_tail(self.folder.path)
        self._events = log_tail(self.folder.path, "events")
        self._block = b""
        self._rows = Ledger(self.grid).rows(self._feed())
        self.sessions, self.times = Sessions(), ChunkTimes()
        self.damaged = False
        self._seeded = 0
        mask = read_mask(self.folder, self.grid)
        self.frontier = Frontier(
            self.grid,
            self.folder.seeds(self.grid),
            bridge=self.identity["bridge"],
            mask=mask,
            through_failed=self.identity.get("through_failed", "all"),
        )
        self._outlook = Outlook(len(self.grid) - self.frontier.counts()["masked"])
        self._look()

    def _read_events(self) -> bool:
        read = False
        while block := self._events.block():
            self.sessions.read(block.decode("utf-8", "replace").splitlines())
            read = True
        return read

    def _read_journal(self) -> bool:
        read = False
        while not self.damaged and (block := self._journal.block()):
            self._block = block[: sound_end(block)]
            # What lies behind a damaged line is not believed by a run either.
            self.damaged = len(self._block) < len(block)
            read = True
            if self._block:
                rows, positions = next(self._rows)
                self._take(rows, positions)
        return read

    def _feed(self) -> Iterator[bytes]:
        while True:
            yield self._block

    def _take(self, rows: Rows, positions: NDArray[np.int64]) -> None:
        """Settle chunks in their order, with a look at the forecast now and then."""
        self.times.add_rows(rows[rows["status"] != FAILED])
        step = max(_LOOK, len(rows) // 64)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            apply_rows(self.frontier, rows[part], positions[part])
            self._look()

    def _look(self, added: int = 0) -> None:
        counts = self.frontier.counts()
        done = counts["neurite"] + counts["empty"] + counts["failed"]
        self._outlook.see(done, done + counts["queued"] + counts["in_flight"], added=added)

    def _counts(self) -> dict[str, int]:
        """Chunks in each state; the frontier here hands nothing out, the client's does."""
        counts = self.frontier.counts()
        latest = self.sessions.all[-1] if self.sessions.all else None
        if latest and latest.samples and latest.end is None and self._fresh(latest):
            out = min(latest.samples[-1].in_flight, counts["queued"])
            counts["queued"], counts["in_flight"] = counts["queued"] - out, out
        return counts

    def _fresh(self, session: Session) -> bool:
        return time.time() - session.until < _FRESH_S

    @staticmethod
    def _pace(session: Session) -> Pace:
        pace = Pace()
        for sample in session.samples:
            pace.see(sample.seconds, sample.inferred)
        return pace


def _grid(identity: dict[str, Any]) -> ChunkGrid:
    sizes = identity["grid"]
    (sz, sy, sx), (cz, cy, cx) = sizes["shape"], sizes["chunk"]
    return ChunkGrid((sz, sy, sx), (cz, cy, cx))
