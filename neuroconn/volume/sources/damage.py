"""Reading on past damage, so that all of it is named and not only the first place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.base import Source, UnreadableError


@dataclass(frozen=True, slots=True)
class BadPlace:
    """Voxels of a source that cannot be read."""

    start: ZYX
    stop: ZYX
    reason: str

    def __str__(self) -> str:
        spans = zip("zyx", self.start, self.stop, strict=True)
        return f"{', '.join(f'{n} {a}:{b}' for n, a, b in spans)}: {self.reason}"


def read_on(source: Source, box: Box, out: NDArray[Any]) -> tuple[list[BadPlace], int]:
    """Read a box; what cannot be decoded is filled with zeros and named.

    Parameters
    ----------
    source : Source
        What to read.
    box : Box
        Voxels inside its volume.
    out : ndarray, shape of ``box``
        Where they belong.

    Returns
    -------
    bad : list of BadPlace
        One for each smallest decodable box that is damaged. An undamaged box costs one read; a
        damaged one is halved along the source's own units until the damage is alone.
    clipped : int
        Voxels that a mapping had to clip.

    Raises
    ------
    UnreadableError
        If nothing of the source can be read.
    """
    try:
        return [], source.read_into(box, out)
    except UnreadableError:
        raise
    except VolumeError as error:
        halves = _halves(box, source.unit)
        if halves is None:
            out[...] = 0
            return [BadPlace(box.start, box.stop, str(error))], 0
    bad: list[BadPlace] = []
    clipped = 0
    for half in halves:
        places, count = read_on(source, half, out[half.within(box)])
        bad += places
        clipped += count
    return bad, clipped


def salvage(source: Source, box: Box) -> tuple[NDArray[Any], list[BadPlace]]:
    """Return the voxels of a box, zeros where it is damaged, and the bad places."""
    voxels = np.empty(box.shape, source.dtype)
    bad, _ = read_on(source, box, voxels)
    return voxels, bad


def _halves(box: Box, unit: ZYX) -> tuple[Box, Box] | None:
    """Cut a box between two units, along the axis that has most of them; None if it is one."""
    spans = [
        (a // n, -(-b // n)) for a, b, n in zip(box.start, box.stop, unit, strict=True)
    ]  # in units
    axis = max(range(3), key=lambda k: spans[k][1] - spans[k][0])
    first, last = spans[axis]
    if last - first < 2:
        return None
    cut = (first + last) // 2 * unit[axis]
    low, high = list(box.stop), list(box.start)
    low[axis] = high[axis] = cut
    return Box(box.start, (low[0], low[1], low[2])), Box((high[0], high[1], high[2]), box.stop)
