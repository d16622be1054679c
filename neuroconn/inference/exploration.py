"""From an open run folder to a closed and audited map.

1. The frontier is rebuilt from seeds, region, earlier probes and the journal.
2. The walk runs until it has closed.
3. The audit draws probes, stores the draw, and the walk goes on with them; again, as long as there
   are hits and rounds left.
4. The coarse levels are built, and the report is written.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.infer import AuditSettings
from neuroconn.errors import InterruptedRunError
from neuroconn.geometry import ZYX
from neuroconn.inference.audit import Round, conclude, draw, is_due
from neuroconn.inference.backends import Backend
from neuroconn.inference.coarse import build_pyramid
from neuroconn.inference.executors import Executor
from neuroconn.inference.flood import FloodWatch
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.gaps import filled_parts
from neuroconn.inference.journal.columns import with_gaps
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.resumption import audit_of, read_rounds, write_rounds
from neuroconn.inference.output.run_folder import RunFolder
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory
from neuroconn.inference.prepare import Job
from neuroconn.inference.report import InferReport, make_report
from neuroconn.inference.seeds.bright import chunk_scores
from neuroconn.inference.walk import Tally, Walk
from neuroconn.inference.watching.events import EventLog, Listener
from neuroconn.inference.watching.listeners import watching, write_page
from neuroconn.volume.store import open_image

logger = logging.getLogger(__name__)

_SCORED_VOXELS = 1 << 26
"""Of the coarse level that chunks are ranked by for the audit: some ten seconds of a core."""


@dataclass(frozen=True)
class Explorer:
    """Everything a run needs to go on: what, where, with whom, and who listens."""

    job: Job
    backend: Backend
    plan: Plan
    folder: RunFolder
    journal: Journal
    predictor: PredictorFactory
    listener: Listener | None = None
    stop: threading.Event | None = None

    def explore(self, frontier: Frontier) -> InferReport:
        """Visit what is left, audit it, and finish the map; a finished run loads no network.

        Raises
        ------
        InterruptedRunError, StorageError, NeuroconnError
            As :meth:`neuroconn.inference.walk.Walk.run`; what is done is kept.
        """
        before = frontier.counts()
        try:
            return self._explore(frontier)
        finally:
            # Also of a run that was cut short: that is when somebody looks.
            if frontier.counts() != before:
                write_page(self.folder, self.job.output)

    def _explore(self, frontier: Frontier) -> InferReport:
        events = EventLog(self.folder.events)
        tally, warnings = self._visit(frontier, events)
        stored = [*frontier.chunks("neurite"), *frontier.chunks("empty")]
        self._finish_pyramid(stored)
        report = make_report(
            self.job.output,
            self.plan.run_id,
            frontier,
            tally,
            models=self.backend.models,
            audit=audit_of(self.folder, frontier),
            warnings=warnings + (self._filled() if tally.inferred else ()),
        )
        # A run that found nothing to do leaves the report of the one that did it.
        if tally.inferred or self.folder.read_report().get("pyramid_of") != len(stored):
            report = self._stored(report, len(stored))
            events.write("end", **report.chunks)
        return report

    def _stored(self, report: InferReport, visited: int) -> InferReport:
        """Write the report; the map is whole without it."""
        try:
            self.folder.write_report({**report.to_json(), "pyramid_of": visited})
        except OSError as error:
            warning = f"the report of the run could not be stored: {error}"
            logger.warning(warning)
            return replace(report, warnings=(*report.warnings, warning))
        return report

    def _visit(self, frontier: Frontier, events: EventLog) -> tuple[Tally, tuple[str, ...]]:
        settings = self.job.settings
        rounds = read_rounds(self.folder)
        if frontier.done and not is_due(rounds, frontier, settings.audit):
            return Tally(), ()
        events.write(
            "start",
            backend=self.backend.name,
            brain=str(self.plan.brain),
            **frontier.counts(),
        )
        watch = FloodWatch(
            len(frontier.grid) - frontier.counts()["masked"],
            sparse=self.job.seeds is not self.job.grid,
            limit=settings.max_empty,
        )
        try:
            with (
                self.backend.executor(self.plan, self.predictor) as executor,
                watching(
                    self.job, self.backend, self.plan, frontier, events, self.listener
                ) as listener,
            ):
                walk = self._walk(frontier, executor, events, watch, listener)
                walk.run()
                self._audit(walk, frontier, events, rounds)
        except BaseException as error:
            events.write("stop", reason=f"{type(error).__name__}: {error}", **frontier.counts())
            raise
        return walk.tally, watch.warnings()

    def _walk(
        self,
        frontier: Frontier,
        executor: Executor,
        events: EventLog,
        watch: FloodWatch,
        listener: Listener,
    ) -> Walk:
        return Walk(
            frontier,
            executor,
            self.journal,
            events,
            listener=listener,
            stop=self.stop,
            max_chunks=self.job.settings.max_chunks,
            watch=watch,
            models=self.backend.models,
        )

    def _audit(self, walk: Walk, frontier: Frontier, events: EventLog, rounds: list[Round]) -> None:
        job, settings = self.job, self.job.settings.audit

        def store(rounds: Sequence[Round]) -> None:
            write_rounds(self.folder, rounds, settings.confidence)
            last = rounds[-1]
            events.write("audit", round=last.number, probes=len(last.probes), pool=last.pool)

        probe(
            walk,
            frontier,
            settings,
            rounds,
            run_id=self.plan.run_id,
            scores=lambda: chunk_scores(
                job.brain, job.grid, job.settings.level, budget=_SCORED_VOXELS
            ),
            store=store,
        )

    def _filled(self) -> tuple[str, ...]:
        """Say what of the visited brain was read as fill value, in earlier runs too."""
        records = with_gaps(self.journal.blocks())
        return filled_parts(records, self.job.brain, self.job.settings.level)

    def _finish_pyramid(self, stored: list[ZYX]) -> None:
        """Build the coarse levels unless the last run has, over the same chunks."""
        if self.folder.read_report().get("pyramid_of") == len(stored):
            return

        def stop_if_asked() -> None:
            if self.stop is not None and self.stop.is_set():
                raise InterruptedRunError("stopped as asked; run the same command again to resume")

        image = open_image(self.job.output)
        written = build_pyramid(image, stored, after_each=stop_if_asked)
        logger.info("pyramid: %d objects", written)


def probe(
    walk: Walk,
    frontier: Frontier,
    settings: AuditSettings,
    rounds: list[Round],
    *,
    run_id: str,
    scores: Callable[[], NDArray[np.floating[Any]]],
    store: Callable[[Sequence[Round]], None],
) -> None:
    """Probe unexplored chunks and walk on from the hits, round after round.

    Parameters
    ----------
    walk : Walk
        Over ``frontier``; it has closed, or was cut short, and then nothing is probed.
    frontier : Frontier
        Grows by the probes and by what hits lead to.
    settings : AuditSettings
        How many probes, and rounds.
    rounds : list of Round
        Those drawn before; new ones are added.
    run_id : str
        Digest of the run's identity.
    scores : callable
        Returns how much each chunk looks like neurite from afar; called at most once.
    store : callable
        Keeps all rounds durably. Called before a probe of the new one runs: drawn again after a
        crash they would be other probes.
    """
    coarse = None
    while frontier.done and is_due(rounds, frontier, settings):
        if coarse is None:
            walk.say("looking at a coarse level for chunks to probe")
            coarse = scores()
        rounds.append(draw(frontier, coarse, settings, run_id, len(rounds) + 1))
        store(rounds)
        walk.phase = "audit"
        frontier.add_probes(rounds[-1].probes)
        walk.run()
        found = str(conclude(rounds, frontier, settings.confidence))
        logger.info("audit: %s", found)
        walk.say(found)
