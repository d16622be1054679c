"""What the walk may have missed: probes of unexplored chunks, and a bound that follows from them.

When a walk has closed, some chunks nothing led to are inferred all the same. Hits become seeds and
the walk goes on, round after round. A round probes two kinds of chunks:

* *directed*: those that look most like neurite on a coarse level. They find what was missed, and
  say nothing about the rest.
* *random*: one from each of ``n`` equal shares of the rest, in the order of their coarse scores.
  What the walk left out is bounded by how few of these are hits.

A draw is made from the identity of the run and the state of a closed walk, and stored before its
first probe runs, so a run that was killed in the middle goes on with the same probes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.infer import AuditSettings
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import FAILED, NEURITE, UNEXPLORED, Frontier

LEAST = 20
"""Probes of either kind that are never too many: fewer would prove nothing."""


@dataclass(frozen=True, slots=True)
class Round:
    """One draw of probes."""

    number: int
    """1 for the first."""
    asked: tuple[int, int]
    """Random and directed probes the settings asked for, before the caps."""
    pool: int
    """Unexplored chunks the random probes stand for."""
    neurite: int
    """Chunks that were known to hold neurite when the probes were drawn."""
    failed: int
    """Chunks that had failed by then: found later, they were in no pool."""
    directed: tuple[ZYX, ...]
    random: tuple[ZYX, ...]

    @property
    def probes(self) -> tuple[ZYX, ...]:
        """All probes of the round."""
        return self.directed + self.random

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Round:
        """Inverse of :meth:`to_json`, also after a trip through a file."""
        chunks = {k: tuple((z, y, x) for z, y, x in stored[k]) for k in ("directed", "random")}
        random, directed = stored["asked"]
        return cls(**{**stored, **chunks, "asked": (random, directed)})


@dataclass(frozen=True, slots=True)
class Audit:
    """What the probes of a run say about the chunks nobody explored."""

    rounds: int
    probes: int
    """Chunks probed, both kinds."""
    hits: int
    """Those of them that hold neurite."""
    found: int
    """Chunks with neurite that the walk reached only through hits, hits included."""
    unexplored: int
    """Chunks still unexplored."""
    missed: int
    """At most so many of them hold neurite."""
    share: float
    """The same as a share of them."""
    confidence: float

    def __str__(self) -> str:
        if not self.unexplored:
            return f"no chunk is left unexplored; {self.hits} of {self.probes} probes were hits"
        return (
            f"at most {100 * self.share:.3g} % of the {self.unexplored:,} unexplored chunks hold "
            f"neurite ({100 * self.confidence:g} % confidence); {self.hits} of {self.probes} "
            f"probes in {self.rounds} {'round' if self.rounds == 1 else 'rounds'} were hits"
        )


def is_due(rounds: Sequence[Round], frontier: Frontier, settings: AuditSettings) -> bool:
    """Whether a walk that has closed needs one more round of probes.

    The first is always due, another one if the last one had hits and there are rounds left, or if
    the settings ask for more probes than any round was given.
    """
    if not settings.probes or not frontier.counts()["unexplored"]:
        return False
    if not rounds or all(r.asked[0] < settings.probes for r in rounds):
        return True
    return len(rounds) < settings.rounds and _hits(rounds[-1].probes, frontier) > 0


def draw(
    frontier: Frontier,
    scores: NDArray[np.floating[Any]],
    settings: AuditSettings,
    run_id: str,
    number: int,
) -> Round:
    """Choose the probes of a round; the same ones whenever the same run asks.

    Parameters
    ----------
    frontier : Frontier
        Of a walk that has closed.
    scores : ndarray of float, shape ``frontier.grid.counts``
        How much each chunk looks like neurite from afar.
    settings : AuditSettings
        How many probes.
    run_id : str
        Digest of the run's identity.
    number : int
        1 for the first round.

    Examples
    --------
    >>> grid = ChunkGrid(shape=(1, 1, 100), chunk=(1, 1, 1))
    >>> scores = np.arange(100.0).reshape(grid.counts)
    >>> settings = AuditSettings(probes=10, directed=2)
    >>> chosen = draw(Frontier(grid, [(0, 0, 0)]), scores, settings, "run", 1)
    >>> chosen.directed, len(chosen.random), chosen.pool
    (((0, 0, 99), (0, 0, 97)), 10, 97)
    """
    grid, counts = frontier.grid, frontier.counts()
    seed = hashlib.sha256(f"{run_id}/{number}".encode()).digest()[:16]
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    # Of a small walk few chunks are probed: an audit is not to cost more than what it audits.
    visited = counts["neurite"] + counts["empty"] + counts["failed"]
    cap = max(LEAST, int(settings.share * visited))
    positions = np.flatnonzero(frontier.state.reshape(-1) == UNEXPLORED)
    order = positions[np.argsort(scores.reshape(-1)[positions], kind="stable")]
    # Half of what is unexplored at most: the bound needs a rest to speak of.
    directed = _apart(order[::-1], min(settings.directed, cap, len(order) // 2), grid)
    pool = order[~np.isin(order, directed)]
    n = min(settings.probes, cap, len(pool))
    edges = np.arange(n + 1) * len(pool) // max(n, 1)
    random = pool[rng.integers(edges[:-1], edges[1:])] if n else pool[:0]
    return Round(
        number=number,
        asked=(settings.probes, settings.directed),
        pool=len(pool),
        neurite=counts["neurite"],
        failed=counts["failed"],
        directed=tuple(grid.unravel(int(p)) for p in directed),
        random=tuple(grid.unravel(int(p)) for p in random),
    )


def conclude(rounds: Sequence[Round], frontier: Frontier, confidence: float) -> Audit | None:
    """Say what the probes of a run prove about the chunks that are unexplored now.

    The chunks with neurite in the pool of round ``r`` are bounded with an error of
    ``(1 - confidence) / 2**r``, so that all bounds hold together, however many rounds follow. What
    was found since then is taken off, and the best bound counts.

    Returns
    -------
    Audit or None
        None if there was no round.

    Notes
    -----
    With one probe from each of ``n`` strata the number of hits is a sum of Bernoulli variables with
    different probabilities. Below its mean, less one, such a sum has a lighter tail than the
    binomial with the same mean [1]_, so the Clopper-Pearson bound holds for it.

    References
    ----------
    .. [1] W. Hoeffding, "On the distribution of the number of successes in independent trials",
       Ann. Math. Statist. 27, 1956, theorem 4.
    """
    if not rounds:
        return None
    counts = frontier.counts()
    unexplored, now = counts["unexplored"], counts["neurite"]
    missed = unexplored
    for r in rounds:
        bound = _at_most(r, frontier, confidence=1 - (1 - confidence) / 2**r.number)
        since = now - r.neurite - r.failed - _hits(r.directed, frontier)
        missed = min(missed, max(0, bound - max(0, since)))
    probes = [chunk for r in rounds for chunk in r.probes]
    return Audit(
        rounds=len(rounds),
        probes=len(probes),
        hits=_hits(probes, frontier),
        found=now - rounds[0].neurite,
        unexplored=unexplored,
        missed=missed,
        share=missed / unexplored if unexplored else 0.0,
        confidence=confidence,
    )


def missed_share(hits: int, probes: int, *, confidence: float = 0.95) -> float:
    """Bound from above the share of a population of which ``hits`` of ``probes`` draws were hits.

    The one-sided Clopper-Pearson bound; without a hit it is about 3 / probes.

    Examples
    --------
    >>> round(missed_share(0, 300), 4)
    0.0099
    >>> round(missed_share(2, 300), 3)
    0.021

    Raises
    ------
    ValueError
        If there are more hits than probes, or the confidence is not between 0 and 1.
    """
    from scipy.stats import beta

    if not 0 <= hits <= probes:
        raise ValueError(f"{hits} hits in {probes} probes cannot be")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, got {confidence}")
    if hits == probes:
        return 1.0
    return float(beta.ppf(confidence, hits + 1, probes - hits))


def _at_most(drawn: Round, frontier: Frontier, *, confidence: float) -> int:
    """Chunks of a pool that may hold neurite; a probe that failed may."""
    n = len(drawn.random)
    if not n:
        return drawn.pool
    states = [int(frontier.state[index]) for index in drawn.random]
    hits = sum(state in (NEURITE, FAILED) for state in states)
    # Strata differ by one chunk: the largest stands for all.
    largest = -(-drawn.pool // n) * n
    return int(missed_share(hits, n, confidence=confidence) * largest)


def _hits(chunks: Iterable[ZYX], frontier: Frontier) -> int:
    return sum(int(frontier.state[index]) == NEURITE for index in chunks)


def _apart(order: NDArray[np.intp], n: int, grid: ChunkGrid) -> NDArray[np.intp]:
    """First ``n`` positions of ``order`` of which no two are neighbours: those share a neurite."""
    chosen: list[int] = []
    taken: set[ZYX] = set()
    for position in order.tolist():
        if len(chosen) == n:
            break
        index = grid.unravel(position)
        if index not in taken:
            chosen.append(position)
            taken.update(grid.neighbours(index, 26))
    return np.array(chosen, dtype=np.intp)
