"""``infer`` up to its first chunk, and then a look ahead: what it would find, and what it costs.

1. Everything that ``infer`` checks is checked, workers are started or reached.
2. A coarse look sorts the chunks that are not done by how likely they hold neurite.
3. Some of each kind are inferred on the workers, for their verdicts and their times.
4. From both follow visits, time and size, each with an interval.

Nothing is written: no output, no journal, no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from neuroconn.inference.audit import LEAST
from neuroconn.inference.backends import Backend
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.plan import Plan
from neuroconn.inference.predictors import PredictorFactory, engine_predictor
from neuroconn.inference.prepare import Job
from neuroconn.inference.rehearsal.costs import free_bytes, tiling, workers
from neuroconn.inference.rehearsal.estimate import Estimate, Measured
from neuroconn.inference.rehearsal.regrets import regrets
from neuroconn.inference.rehearsal.trials import Trial, try_out
from neuroconn.inference.rehearsal.visits import Interval, Strata, visits_per_neurite
from neuroconn.inference.seeds.bright import chunk_scores
from neuroconn.volume.address import Address

BUDGET_S = 60.0
"""Seconds that inferring sample chunks may take, beside loading the network."""

_STATED = 0.10, 0.02
"""Compressed share of a core with and without neurite, where nothing was measured."""
_COARSE = 8 / 7
"""Size of a map with its coarse levels."""
_OPEN = ("unexplored", "queued", "in_flight")

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Findings:
    """What a look ahead found."""

    strata: Strata
    looked: bool
    """Whether coarse scores are behind the strata."""
    trial: Trial
    neurite: Interval
    visits: Interval
    basis: str


def rehearse(
    brain: str | Address,
    output: str | Address,
    *,
    measure: bool = True,
    budget_s: float = BUDGET_S,
    say: Say | None = None,
    **what: Any,
) -> Estimate:
    """Say what :func:`neuroconn.infer` would do and cost with the same arguments.

    Parameters
    ----------
    brain, output : path or URL
        As for ``infer``.
    measure : bool, optional
        Whether to infer some chunks on the workers. Without it nothing is known of times, and
        only coarse looks speak for the visits.
    budget_s : float, optional
        Seconds that this may take, beside loading the network.
    say : callable, optional
        Told in one line what is about to happen, for people who wait.
    **what
        Seeds, region, model, settings and options, as for ``infer``.

    Returns
    -------
    Estimate

    Raises
    ------
    NeuroconnError
        Whatever ``infer`` would raise before its first chunk.

    Examples
    --------
    >>> estimate = rehearse("brain.ome.zarr", "map.ome.zarr",
    ...                     seed_source="auto")  # doctest: +SKIP
    >>> estimate.visits, estimate.seconds  # doctest: +SKIP
    """
    from neuroconn.inference.run import infer

    found: list[Estimate] = []
    header = what.pop("header", None)
    predictor = what.get("predictor", engine_predictor)

    def look(job: Job, backend: Backend, plan: Plan, frontier: Frontier) -> None:
        if header is not None:
            header(job, backend, plan, frontier)
        budget = budget_s if measure else None
        findings = _look_ahead(job, backend, plan, frontier, predictor, budget, say or _nothing)
        found.append(_estimate(job, backend, plan, frontier, findings, predictor))

    infer(brain, output, **what, dry_run=True, header=look)
    return found[0]


def _look_ahead(
    job: Job,
    backend: Backend,
    plan: Plan,
    frontier: Frontier,
    predictor: PredictorFactory,
    budget_s: float | None,
    say: Say,
) -> _Findings:
    counts = frontier.counts()
    opened = np.isin(frontier.state, [frontier.states.index(name) for name in _OPEN])
    # With every open chunk queued, or none, nobody has to guess which are visited.
    certain = counts["queued"] in (0, int(opened.sum()))
    scores = np.zeros(job.grid.counts, dtype=np.float32)
    if not certain:
        say("looking at a coarse level of the whole brain")
        scores = chunk_scores(job.brain, job.grid, job.settings.level)
    strata = Strata.of(scores, opened, plan.run_id)
    trial = Trial()
    if budget_s is not None and counts["queued"]:
        say(f"inferring sample chunks for up to {budget_s:g} s; nothing of them is stored")
        trial = try_out(
            backend,
            plan,
            predictor,
            strata.draw(),
            inner_chunk=job.settings.inner_chunk,
            budget_s=budget_s,
        )
    neurite = strata.estimate(trial.verdicts(job.grid))
    if certain:
        exact = float(counts["queued"])
        basis = "every chunk that is left" if exact else "nothing is left to do"
        visits = Interval(exact, exact, exact)
        neurite = neurite if exact else visits
    else:
        visits, basis = _visits(job, counts["queued"], int(opened.sum()), neurite, trial)
    visits = _limited(visits, job.settings.max_chunks, counts)
    return _Findings(strata, not certain, trial, neurite, visits, basis)


def _visits(
    job: Job, queued: int, opened: int, neurite: Interval, trial: Trial
) -> tuple[Interval, str]:
    rules = job.settings.evidence
    each = visits_per_neurite(rules.rule, rules.connectivity, job.settings.bridge)
    source = f"{len(trial.outcomes)} inferred chunks" if trial.outcomes else "no inferred chunk"
    basis = (
        f"a coarse look and {source}, {each.likely:g} visits per chunk with neurite, if all of "
        "them are reached"
    )
    return neurite.times(each).within(queued, opened), basis


def _limited(visits: Interval, max_chunks: int | None, counts: dict[str, int]) -> Interval:
    if max_chunks is None:
        return visits
    done = counts["neurite"] + counts["empty"] + counts["failed"]
    return visits.within(0, max(0, max_chunks - done))


def _estimate(
    job: Job,
    backend: Backend,
    plan: Plan,
    frontier: Frontier,
    found: _Findings,
    predictor: PredictorFactory,
) -> Estimate:
    measured = found.trial.measured(backend.models)
    size = _stored_bytes(job, found, measured)
    seconds = _seconds(found.visits, measured)
    models = backend.models
    estimate = Estimate(
        brain=str(plan.brain),
        output=str(plan.output),
        run_id=plan.run_id,
        tiling=tiling(job, plan),
        workers=workers(backend, plan, predictor),
        chunks=frontier.counts(),
        seeds=_seeds(job, frontier),
        region=job.region.description if job.region else None,
        looks=found.strata.to_json() if found.looked else {},
        neurite=found.neurite if found.looked or measured else None,
        visits=found.visits,
        basis=found.basis,
        audit=_probes(job, found) if found.looked else 0,
        bytes=size,
        free=free_bytes(job.output),
        measured=measured,
        seconds=seconds,
        device_hours=seconds.times(models / 3600) if seconds else None,
        warnings=(),
    )
    return regrets(estimate, job, failed=tuple(found.trial.failed))


def _seeds(job: Job, frontier: Frontier) -> int:
    if job.seeds is job.grid:
        return len(job.grid) - frontier.counts()["masked"]
    return len(list(job.seeds))


def _probes(job: Job, found: _Findings) -> int:
    """Chunks that the first round of the audit may infer at most."""
    audit = job.settings.audit
    left = max(0, sum(found.strata.to_json().values()) - round(found.visits.likely))
    cap = max(LEAST, int(audit.share * found.visits.likely))
    return min(left, min(audit.probes, cap) + min(audit.directed, cap)) if audit.probes else 0


def _seconds(visits: Interval, measured: Measured | None) -> Interval | None:
    if measured is None:
        return None if visits.high else Interval(0.0, 0.0, 0.0)
    each, error = 1 / measured.chunks_per_second, 2 * measured.spread
    low, high = visits.low * each / (1 + error), visits.high * each / max(1 - error, 0.25)
    return Interval(low, visits.likely * each, high)


def _stored_bytes(job: Job, found: _Findings, measured: Measured | None) -> Interval:
    """Size of the cores that would be visited, coarse levels included."""
    raw = prod(job.grid.chunk) * np.dtype(job.encoding.dtype).itemsize
    full, empty = (share * raw for share in _STATED)
    if measured is not None:
        full, empty = measured.neurite_bytes, measured.empty_bytes

    def total(visits: float, neurite: float) -> float:
        held = min(neurite, visits)
        return (held * full + (visits - held) * empty) * _COARSE

    v, n = found.visits, found.neurite
    return Interval(total(v.low, n.low), total(v.likely, n.likely), total(v.high, n.high))


def _nothing(_: str) -> None:
    """Say nothing."""
