"""Every voxel of a tree: whether it decodes, and whether each level is made of the one below.

A level may be the maximum or the mean of the finer one; which it is shows by the voxels. Each tile
is decoded twice, once for itself and once for the comparison, a few planes at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.conformance.findings import Finding, finding
from neuroconn.vaa3d.conformance.layout import step_between
from neuroconn.vaa3d.conformance.level import TABLE, LevelCheck
from neuroconn.vaa3d.conformance.order import in_order
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.mdata import decode
from neuroconn.vaa3d.overlay import avoid_powers_of_two
from neuroconn.vaa3d.reader import TeraflyLevel
from neuroconn.vaa3d.tiles import read_tile

AT_ONCE = 8 << 20
"""Voxels decoded at once."""

_Values = NDArray[Any]
_WAYS: dict[str, Callable[[_Values, ZYX], _Values]] = {
    "max": lambda fine, step: halve(fine, step, "max"),
    "mean": lambda fine, step: halve(fine, step, "mean"),
    "mean, powers of two avoided": lambda fine, step: avoid_powers_of_two(
        halve(fine, step, "mean")
    ),
}
"""How a level can have been made of the finer one."""


@dataclass(slots=True)
class _Seen:
    """What the voxels of one level are like."""

    largest: int = 0
    powers: int = 0
    """Voxels of 16 bits that are a power of two above 1."""
    empty: int = 0
    """Stored tiles that are all zeros."""
    example: str = ""


@dataclass(frozen=True, slots=True)
class _Compared:
    """One tile of a coarse level against the finer level."""

    voxels: int
    differing: dict[str, int] = field(default_factory=dict)
    """Voxels that another way of halving would have given, by that way."""


def judge_pixels(
    checks: list[LevelCheck],
    pool: ThreadPoolExecutor,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Finding]:
    """Decode every tile of every level that has a sound table, and compare the levels.

    Parameters
    ----------
    checks : list of LevelCheck
        Finest first; how each was made is noted in them.
    pool : ThreadPoolExecutor
        Where tiles are decoded.
    progress : callable, optional
        Called with the tiles decoded or compared so far and their number.
    """
    readers = [_reader(check) for check in checks]
    pairs = [(a, b) for a, b in pairwise(range(len(checks))) if readers[a] and readers[b]]
    coarse = {b: readers[b].tiles() for _, b in pairs}  # type: ignore[union-attr]
    stored = [_stored(reader) for reader in readers]
    total = sum(map(len, stored)) + sum(map(len, coarse.values()))
    count = _Counter(total, progress)
    for check, reader, tiles in zip(checks, readers, stored, strict=True):
        if reader is not None:
            yield from _decode(check, reader, tiles, pool, count)
    for a, b in pairs:
        fine, level = readers[a], readers[b]
        if fine is not None and level is not None:
            boxes = [box for box, _ in coarse[b]]
            yield from _compare(checks[b], fine, level, boxes, pool, count)


class _Counter:
    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _reader(check: LevelCheck) -> TeraflyLevel | None:
    """Open a level as a brain; one whose table is broken has been found out already."""
    try:
        return TeraflyLevel(check.path, decode((check.path / TABLE).read_bytes()))
    except (OSError, VolumeError):
        return None


def _stored(reader: TeraflyLevel | None) -> list[tuple[Box, Path]]:
    tiles = [] if reader is None else reader.tiles()
    return [(box, path) for box, path in tiles if path is not None and path.is_file()]


def _decode(
    check: LevelCheck,
    reader: TeraflyLevel,
    tiles: list[tuple[Box, Path]],
    pool: ThreadPoolExecutor,
    count: _Counter,
) -> Iterator[Finding]:
    def look(tile: tuple[Box, Path]) -> tuple[Path, _Seen | str]:
        try:
            return tile[1], _look(tile[1], tile[0].shape, reader.dtype)
        except VolumeError as error:
            return tile[1], str(error).removeprefix(f"{tile[1]} ")

    whole = _Seen()
    for path, seen in in_order(pool, look, tiles):
        where = f"{check.name}/{path.relative_to(check.path).as_posix()}"
        if isinstance(seen, str):
            yield finding("pixels.undecodable", where, seen)
        else:
            whole.largest = max(whole.largest, seen.largest)
            whole.powers += seen.powers
            whole.empty += seen.empty
            whole.example = whole.example or (where if seen.empty else "")
        count.step()
    if whole.powers:
        peak = whole.largest
        bad = peak & (peak - 1) == 0
        what = f"{whole.powers} voxels; the brightest voxel is {peak}"
        yield finding("pixels.power-of-two", check.name, what, "warning" if bad else None)
    if whole.empty:
        yield finding("pixels.empty", whole.example, f"{whole.empty} tiles of {check.name}")


def _look(path: Path, shape: ZYX, dtype: np.dtype[Any]) -> _Seen:
    depth = max(1, AT_ONCE // max(1, shape[1] * shape[2]))
    seen, any_ = _Seen(), False
    for start in range(0, shape[0], depth):
        values = read_tile(path, shape, dtype, slice(start, min(shape[0], start + depth)))
        seen.largest = max(seen.largest, int(values.max(initial=0)))
        any_ |= bool(values.any())
        if values.dtype.itemsize == 2:
            seen.powers += int(np.count_nonzero((values > 1) & ((values & (values - 1)) == 0)))
    seen.empty = int(not any_)
    return seen


def _compare(
    check: LevelCheck,
    fine: TeraflyLevel,
    coarse: TeraflyLevel,
    boxes: list[Box],
    pool: ThreadPoolExecutor,
    count: _Counter,
) -> Iterator[Finding]:
    step = step_between(fine.shape, coarse.shape)
    if step is None or fine.dtype != coarse.dtype:
        return

    def look(box: Box) -> tuple[Box, _Compared | None]:
        try:
            return box, _difference(fine, coarse, box, step)
        except VolumeError:
            return box, None  # a tile that is missing or damaged has been found already

    differing: Counter[str] = Counter(dict.fromkeys(_WAYS, 0))
    places: dict[str, Box] = {}
    voxels = 0
    for box, found in in_order(pool, look, boxes):
        count.step()
        if found is None:
            continue
        voxels += found.voxels
        for way, number in found.differing.items():
            differing[way] += number
            if number:
                places.setdefault(way, box)
    way, least = min(differing.items(), key=lambda item: item[1])
    if not least:
        check.made_by = way if voxels else None
        return
    what = f"{least} of {voxels} voxels are not the {way} of {fine.folder.name}, "
    place = f"the first between {places[way].start} and {places[way].stop} (z, y, x)"
    yield finding("pixels.pyramid", check.name, what + place)


def _difference(fine: TeraflyLevel, coarse: TeraflyLevel, box: Box, step: ZYX) -> _Compared:
    """Halve the finer level where ``box`` is made of it, and count where that differs."""
    differing = dict.fromkeys(_WAYS, 0)
    z, y, x = step
    depth = max(1, AT_ONCE // max(1, box.shape[1] * box.shape[2] * x * y * z))
    for slab in box.split((depth, *box.shape[1:])):
        start, stop = (tuple(v * k for v, k in zip(c, step, strict=True)) for c in
                       (slab.start, slab.stop))  # fmt: skip
        source = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        if not fine.any(source) and not coarse.any(slab):
            continue
        below, here = fine.read(source), coarse.read(slab)
        for way, halved in _WAYS.items():
            differing[way] += int(np.count_nonzero(halved(below, step) != here))
    return _Compared(box.size, differing)
