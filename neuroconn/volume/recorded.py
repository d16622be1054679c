"""What a conversion wrote, object by object: the only way to tell a lost object from an empty one.

A Zarr object that is not there reads as fill value, without an error. The journal of a conversion
says which objects it wrote and how long they were; foreign images have no such record.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ChunkGrid
from neuroconn.volume.cascade import WrittenBand
from neuroconn.volume.convert_journal import FOLDER, NAME, parse_journal, read_header, read_journal
from neuroconn.volume.convert_plan import ConvertPlan
from neuroconn.volume.store import Image

UNKNOWN, EMPTY = -1, -2
"""In place of a sum: nothing is recorded; recorded as empty, which takes no space."""


@dataclass(frozen=True)
class Recorded:
    """What a conversion says of the objects of a level."""

    grid: ChunkGrid
    """Shards; without shards, the blocks that one thread wrote at once."""
    sums: NDArray[np.int64]
    """Of each: the size of its file; without shards, the CRC-32 of its voxels."""


def recorded_levels(image: Image) -> dict[int, Recorded]:
    """Return what is recorded of each level; nothing for an image we did not convert."""
    header, records = _journal(image)
    plan = None if header is None else _plan(image, header)
    if plan is None:
        return {}
    found: dict[int, Recorded] = {}
    for record in records:
        for written in map(WrittenBand.from_json, record["written"]):
            grid = plan.grid(written.level)
            if written.level not in found:
                found[written.level] = Recorded(grid, np.full(grid.counts, UNKNOWN))
            shards = plan.shards(written.level, written.band)
            for shard, sum_ in zip(shards, written.sums, strict=True):
                index = grid.index_of(shard.start)
                found[written.level].sums[index] = EMPTY if sum_ is None else sum_
    return found


def _journal(image: Image) -> tuple[dict[str, Any] | None, Iterable[dict[str, Any]]]:
    if isinstance(image.path, Path):
        return read_header(image.path), read_journal(image.path)
    records = parse_journal(image.document(f"{FOLDER}/{NAME}") or b"")
    return (records[0] if records else None), records[1:]


def _plan(image: Image, header: dict[str, Any]) -> ConvertPlan | None:
    """Return what the records count by; None if there are none of this kind."""
    conversion = image.attributes.get("conversion") if image.ours else None
    if conversion is None or "band" not in header:
        return None
    chunk, shard, band = (
        (z, y, x) for z, y, x in (conversion["chunk"], conversion["shard"], header["band"])
    )
    itemsize = image.array(0).dtype.itemsize
    return ConvertPlan(image.levels, chunk, shard, band, itemsize, "max")
