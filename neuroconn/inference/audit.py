"""What the walk may have missed: random probes of unexplored chunks, and a bound from them."""

from __future__ import annotations

import hashlib

import numpy as np

from neuroconn.geometry import ZYX
from neuroconn.inference.frontier import UNEXPLORED, Frontier


def choose_probes(frontier: Frontier, n: int, run_id: str) -> list[ZYX]:
    """Draw unexplored chunks without replacement, the same ones whenever the same run asks.

    Parameters
    ----------
    frontier : Frontier
        Of a walk that is done.
    n : int
        How many; all of them if there are fewer.
    run_id : str
        Digest of the run's identity, from which the draw is made.

    Returns
    -------
    list of (z, y, x)
        In the order of the draw, so that a longer audit begins with a shorter one.
    """
    positions = np.flatnonzero(frontier.state.reshape(-1) == UNEXPLORED)
    seed = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:16], "little")
    # Ranks drawn one by one, not a shuffle: ten million chunks and 300 probes is the usual case.
    rng, chosen = np.random.default_rng(seed), dict[int, None]()
    while len(chosen) < min(n, len(positions)):
        chosen[int(rng.integers(len(positions)))] = None
    return [frontier.grid.unravel(int(positions[rank])) for rank in chosen]


def missed_share(hits: int, probes: int, *, confidence: float = 0.95) -> float:
    """Bound from above the share of unexplored chunks that hold neurite.

    The one-sided Clopper-Pearson bound; without a hit it is about 3 / probes. It holds for the
    chunks that were unexplored when the probes were drawn.

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
