"""What of a brain was read as fill value: said before a run as far as it shows, and after it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from neuroconn.geometry import ZYX
from neuroconn.inference.damage import BrainReader
from neuroconn.inference.journal.line import Record
from neuroconn.volume.recorded import UNKNOWN
from neuroconn.volume.store import Image

_NAMED = 10
_LOOKED_AT = 50_000


def lost_objects(image: Image, level: int) -> tuple[str, ...]:
    """Objects of a level that are not as long as the conversion made them, or not there.

    Looks at names and sizes, not at voxels, and only where that is quick: at brains of ours with
    shards, up to fifty thousand of them.

    Parameters
    ----------
    image : Image
        A brain.
    level : int
        The level a run would read.

    Returns
    -------
    tuple of str
        One line, or none.
    """
    reader = BrainReader(image, level)
    if reader.recorded is None or reader.array.shards is None or len(reader.grid) > _LOOKED_AT:
        return ()
    known = map(tuple, np.argwhere(reader.recorded.sums != UNKNOWN).tolist())
    with ThreadPoolExecutor(16) as pool:  # each waits for the storage most of the time
        lost = [why for why in pool.map(reader.altered_size, known) if why]
    if not lost:
        return ()
    more = f" and {len(lost) - 1} more are not as they were" if len(lost) > 1 else ""
    fate = "the chunks that need them will fail; put a copy back, or convert again"
    return (f"the brain is damaged: {lost[0]}{more}; {fate}",)


def filled_parts(records: Iterable[Record], image: Image, level: int) -> tuple[str, ...]:
    """Say which parts of the visited brain were read as fill value.

    Parameters
    ----------
    records : iterable of Record
        The journal of the run.
    image : Image
        The brain.
    level : int
        The level that was read.

    Returns
    -------
    tuple of str
        A line for what is not stored, and one for what is damaged.
    """
    chunks = absent = 0
    damaged: set[ZYX] = set()
    for record in records:
        chunks += record.absent > 0
        absent += record.absent
        damaged.update(record.damaged)
    array, lines = image.array(level), []
    if absent:
        lines.append(
            f"{absent} voxels of {chunks} visited chunks lie in objects that the brain does not "
            f"store, and were read as {array.fill_value}"
        )
    if damaged:
        names = [BrainReader(image, level).name(index) for index in sorted(damaged)[:_NAMED]]
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        lines.append(
            f"{len(damaged)} damaged objects of the brain were read as {array.fill_value} "
            f"(on_damage: fill): {', '.join(names)}{more}"
        )
    return tuple(lines)
