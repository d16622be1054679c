"""How many chunks a worker should hold at a time, from what reading and computing take.

While the network runs on one chunk, others are read and written. With ``k`` chunks in a worker the
network is busy about ``min(1, k * model / (model + store))`` of the time; so it takes one chunk for
the network, enough others to fill the time of the store, and one more because times vary.

On a CPU reading and the network share the cores, and there is nothing to gain from a second chunk
unless the store is slow enough to be waited for: two at a time in one process took 1.45 times as
long as one after the other, measured on two cores.
"""

from __future__ import annotations

import math

MOST = 8
"""Each chunk costs memory for its tile, so there is an end to it."""
_SAMPLES = 4
_QUICK_STORE = 0.2
"""Share of the network's time below which there is nothing to hide on a CPU."""


def wanted_slots(store_s: float, model_s: float, *, shares_cores: bool = False) -> int:
    """Return chunks at a time that keep the network busy.

    Parameters
    ----------
    store_s : float
        Seconds that reading, encoding and writing one chunk take.
    model_s : float
        Seconds that the network takes.
    shares_cores : bool, optional
        Whether the network runs on the cores that read and write.

    Examples
    --------
    >>> [wanted_slots(store, 0.08) for store in (0.0, 0.045, 0.225, 9.0)]
    [2, 3, 5, 8]
    >>> [wanted_slots(store, 0.08, shares_cores=True) for store in (0.01, 0.045)]
    [1, 3]
    """
    if model_s <= 0:
        return MOST
    if shares_cores and store_s < _QUICK_STORE * model_s:
        return 1
    return min(MOST, 1 + math.ceil(store_s / model_s) + 1)


class SlotMeter:
    """Says once how many slots a worker should have, after its first chunks.

    The quickest of them counts: it waited least for the network and for the cores.

    Parameters
    ----------
    shares_cores : bool, optional
        As for :func:`wanted_slots`.

    Examples
    --------
    >>> meter = SlotMeter()
    >>> [meter.add(seconds, 0.08) for seconds in (0.5, 0.31, 0.305, 0.6, 0.4)]
    [None, None, None, 5, None]
    """

    def __init__(self, *, shares_cores: bool = False) -> None:
        self._shares_cores = shares_cores
        self._seen: list[tuple[float, float]] = []

    def add(self, seconds: float, model_s: float) -> int | None:
        """Take the times of a chunk, in all and in the network; perhaps return the slots."""
        if len(self._seen) == _SAMPLES:
            return None
        self._seen.append((seconds - model_s, model_s))
        if len(self._seen) < _SAMPLES:
            return None
        return wanted_slots(*min(self._seen), shares_cores=self._shares_cores)
