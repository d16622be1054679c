"""How many chunks a worker should hold at a time, from what reading and computing take.

While the network runs on one chunk, others are read and written. With ``k`` chunks in a worker the
network is busy about ``min(1, k * model / (model + store))`` of the time; so it takes one chunk for
the network, enough others to fill the time of the store, and one more because times vary.
"""

from __future__ import annotations

import math

MOST = 8
"""Each chunk costs memory for its tile, so there is an end to it."""
_SAMPLES = 4


def wanted_slots(store_s: float, model_s: float) -> int:
    """Return chunks at a time that keep the network busy.

    Parameters
    ----------
    store_s : float
        Seconds that reading, encoding and writing one chunk take.
    model_s : float
        Seconds that the network takes.

    Examples
    --------
    >>> [wanted_slots(store, 0.08) for store in (0.0, 0.045, 0.225, 9.0)]
    [2, 3, 5, 8]
    """
    if model_s <= 0:
        return MOST
    return min(MOST, 1 + math.ceil(store_s / model_s) + 1)


class SlotMeter:
    """Says once how many slots a worker should have, after its first chunks.

    The quickest of them counts: it waited least for the network and for the cores.

    Examples
    --------
    >>> meter = SlotMeter()
    >>> [meter.add(seconds, 0.08) for seconds in (0.5, 0.31, 0.305, 0.6, 0.4)]
    [None, None, None, 5, None]
    """

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []

    def add(self, seconds: float, model_s: float) -> int | None:
        """Take the times of a chunk, in all and in the network; perhaps return the slots."""
        if len(self._seen) == _SAMPLES:
            return None
        self._seen.append((seconds - model_s, model_s))
        return wanted_slots(*min(self._seen)) if len(self._seen) == _SAMPLES else None
