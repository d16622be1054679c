"""What a level's table says about places and names, one column after another."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

from neuroconn.geometry import ZYX
from neuroconn.vaa3d.conformance.findings import Finding, finding
from neuroconn.vaa3d.conformance.rules import DEEPEST, Severity
from neuroconn.vaa3d.conformance.table import RawBlock, RawColumn, RawHeader

_AXES = {(a * i, b * j, 3) for i in (1, -1) for j in (1, -1) for a, b in ((1, 2), (2, 1))}
"""What readers accept."""
_FOLDER = re.compile(r"(\d+)/(\d+)_(\d+)")
_TILE = re.compile(r"(\d+)_(\d+)_(\d+)\.(?:tif|raw|v3draw)")
NEAR = 10
"""Tenths of a micrometre that roundings may move a name."""

Span = tuple[int, int]


def judge_header(header: RawHeader, where: str) -> Iterator[Finding]:
    """Check the first 68 bytes by themselves."""
    if header.version != 2:
        yield finding("table.version", where, f"version {header.version:g}")
    if header.axes != (1, 2, 3):
        grave: Severity = "warning" if header.axes in _AXES else "error"
        yield finding("table.axes", where, f"axes {header.axes}", grave)
    if not all(math.isfinite(v) and v > 0 for v in header.spacing_um):
        yield finding("table.voxel-size", where, f"{header.spacing_um} µm (z, y, x)")
    elif header.axes == (1, 2, 3) and header.spacing_um != header.again_um:
        what = f"{header.spacing_um} and {header.again_um} µm (z, y, x), which should be equal"
        yield finding("table.voxel-size", where, what, "warning")
    if not all(math.isfinite(v) for v in header.origin_um):
        yield finding("table.origin", where, f"{header.origin_um} µm (z, y, x)", "error")
    elif min(header.origin_um) < 0:
        yield finding("table.origin", where, f"{header.origin_um} µm (z, y, x)")
    if min(header.shape) < 1 or min(header.rows, header.columns) < 1:
        what = f"{header.shape} voxels (z, y, x) in {header.rows} x {header.columns} columns"
        yield finding("table.partition", where, what)


class TableJudge:
    """Checks columns as they come; remembers one row, one column and what names looked like."""

    def __init__(self, header: RawHeader, level: str) -> None:
        self._header, self._level = header, level
        self._table = f"{level}/mdata.bin"
        self._first: RawColumn | None = None
        self._row: RawColumn | None = None
        self._across: list[Span] = []
        self._last: Span = (0, 0)
        self._folders: set[str] = set()
        self._names = NameJudge(header, level)

    @property
    def widths(self) -> Counter[int]:
        """How often numbers of each width were met."""
        return self._names.widths

    def column(self, column: RawColumn) -> Iterator[Finding]:
        """Check a column; they must come in the order of the table."""
        if self._first is None:
            self._first = column
            yield from self._depth_of(column)
        yield from self._kind(column)
        yield from self._twice(column)
        yield from self._place(column)
        if leads_inside(column):
            yield from self._names.column(column)
        else:
            names = [block.name for block in column.blocks]
            what = f"it lists {column.folder!r} / {names[:1]}"
            yield finding("table.path", self._table, what)

    def end(self) -> Iterator[Finding]:
        """Check what only the last column completes."""
        if self._row is not None and self._last[1] != self._header.shape[1]:
            yield self._broken(f"rows end at y {self._last[1]}, not at {self._header.shape[1]}")
        yield from self._names.end()

    def _broken(self, what: str) -> Finding:
        return finding("table.partition", self._table, what)

    def _depth_of(self, column: RawColumn) -> Iterator[Finding]:
        """Check the z ranges of the first column, which count for all of them."""
        depth = self._header.shape[0]
        spans = _spans(column.blocks)
        yield from self._chain(spans, depth, "z ranges")
        slices = [block.depth for block in column.blocks]
        if slices and max(slices) > DEEPEST:
            yield finding("tile.deep", self._table, f"tiles of {max(slices)} slices")
        if 1 in slices and depth > 1:
            yield finding("tile.thin", self._table, "tiles of one slice")

    def _kind(self, column: RawColumn) -> Iterator[Finding]:
        first = self._first or column
        if column.channels != 1:
            what = f"column {column.folder!r} has {column.channels} channels"
            yield finding("table.channels", self._table, what)
        if column.itemsize not in (1, 2) or column.itemsize != first.itemsize:
            what = f"column {column.folder!r} has {column.itemsize} bytes a voxel"
            yield finding("table.bytes", self._table, f"{what}, the first has {first.itemsize}")
        if _spans(column.blocks) != _spans(first.blocks):
            what = f"column {column.folder!r} lies at z {_show(_spans(column.blocks))}, "
            what += f"the first at {_show(_spans(first.blocks))}"
            yield finding("table.z-partition", self._table, what)
        if column.depth != self._header.shape[0]:
            yield self._broken(
                f"column {column.folder!r} is {column.depth} deep, the level "
                f"{self._header.shape[0]}"
            )

    def _twice(self, column: RawColumn) -> Iterator[Finding]:
        files = Counter(block.name for block in column.blocks if not block.empty)
        twice = [f"{column.folder}/{name}" for name, times in files.items() if times > 1]
        if column.folder in self._folders:
            twice.append(column.folder)
        for name in twice:
            yield finding("table.duplicate", self._table, f"it lists {name} twice")
        self._folders.add(column.folder)

    def _place(self, column: RawColumn) -> Iterator[Finding]:
        row, number = column.place
        down, across = _span(column, 0), _span(column, 1)
        if number == 0:
            if down[0] != self._last[1]:
                yield self._broken(f"row {row} starts at y {down[0]}, not at {self._last[1]}")
            self._row, self._last = column, down
            if 1 in column.shape and min(self._header.shape[1:]) > 1:
                yield finding("tile.thin", f"{self._level}/{column.folder}", "one voxel wide")
        elif self._row is not None and down != _span(self._row, 0):
            yield self._broken(f"column {column.folder!r} lies at y {down[0]} to {down[1]}, its "
                               f"row at {_span(self._row, 0)}")  # fmt: skip
        if row == 0:
            self._across.append(across)
            if number == self._header.columns - 1:
                yield from self._chain(self._across, self._header.shape[2], "columns")
        elif number < len(self._across) and across != self._across[number]:
            yield self._broken(f"column {column.folder!r} lies at x {across[0]} to {across[1]}, "
                               f"in the first row at {self._across[number]}")  # fmt: skip

    def _chain(self, spans: list[Span], size: int, what: str) -> Iterator[Finding]:
        ends = bool(spans) and spans[0][0] == 0 and spans[-1][1] == size
        joined = all(a[1] == b[0] for a, b in pairwise(spans)) and all(a < b for a, b in spans)
        if not ends or not joined:
            yield self._broken(f"its {what} should fill 0:{size} and lie at {_show(spans)}")


class NameJudge:
    """Checks that names sort like the tiles they name, and say where those lie."""

    def __init__(self, header: RawHeader, level: str) -> None:
        self._header, self._level = header, level
        self._row, self._column = "", ""
        self._odd: Counter[str] = Counter()
        self._example: dict[str, str] = {}
        self.widths: Counter[int] = Counter()

    def column(self, column: RawColumn) -> Iterator[Finding]:
        """Check the names of a column and its tiles."""
        match = _FOLDER.fullmatch(column.folder)
        if match is None or match[1] != match[2]:
            self._note("pattern", column.folder)
            return
        yield from self._order(column, match)
        for number in match.groups():
            self.widths[len(number)] += 1
        self._check_place(column.folder, int(match[2]), 1, column.start[0])
        self._check_place(column.folder, int(match[3]), 2, column.start[1])
        yield from self._tiles(column, match)

    def end(self) -> Iterator[Finding]:
        """Tell what is told once for a whole level."""
        for rule, times in self._odd.items():
            more = f" and {times - 1} more" if times > 1 else ""
            yield finding(f"names.{rule}", self._level, f"{self._example[rule]}{more}")

    def _note(self, rule: str, example: str) -> None:
        self._odd[rule] += 1
        self._example.setdefault(rule, example)

    def _order(self, column: RawColumn, match: re.Match[str]) -> Iterator[Finding]:
        before, here = (self._row, match[1]) if column.place[1] == 0 else (self._column, match[3])
        if before and column.place != (0, 0) and not _after(before, here):
            what = f"it comes after {before} in mdata.bin"
            yield finding("names.order", f"{self._level}/{column.folder}", what)
        self._row, self._column = match[1], match[3]

    def _tiles(self, column: RawColumn, folder: re.Match[str]) -> Iterator[Finding]:
        last = ""
        for block in column.blocks:
            if block.empty:
                continue
            match = _TILE.fullmatch(block.name)
            if match is None or match.group(1, 2) != folder.group(2, 3):
                self._note("pattern", f"{column.folder}/{block.name}")
                continue
            self.widths[len(match[3])] += 1
            self._check_place(f"{column.folder}/{block.name}", int(match[3]), 0, block.start)
            if last and not _after(last, match[3]):
                what = f"it comes after {last} in mdata.bin"
                yield finding("names.order", f"{self._level}/{column.folder}/{block.name}", what)
            last = match[3]

    def _check_place(self, name: str, number: int, axis: int, start: int) -> None:
        spacing, origin = self._header.spacing_um[axis], self._header.origin_um[axis]
        place = 10 * (start * spacing + origin)
        if math.isfinite(place) and abs(number - place) > NEAR:
            self._note("position", f"{name} says {number}, {'zyx'[axis]} is {place:.0f}")


def step_between(fine: ZYX, coarse: ZYX) -> ZYX | None:
    """Return by how much each axis was halved from one level to the next; None if it was not.

    Examples
    --------
    >>> step_between((5, 301, 420), (5, 150, 210))
    (1, 2, 2)
    >>> step_between((251, 10, 10), (126, 5, 5)) is None
    True
    """
    step = tuple(
        1 if m == n else 2 if m == n // 2 else 0 for n, m in zip(fine, coarse, strict=True)
    )
    return None if 0 in step else (step[0], step[1], step[2])


def leads_inside(column: RawColumn) -> bool:
    """Whether the names of a column lead to files inside its level, and can be printed."""
    files = [block.name for block in column.blocks if not block.empty]
    folder = PurePosixPath(column.folder)
    if not folder.parts or folder.is_absolute() or ".." in folder.parts:
        return False
    plain = all("/" not in file and file not in ("", ".", "..") for file in files)
    return plain and all(name.isprintable() for name in (column.folder, *files))


def _after(before: str, here: str) -> bool:
    """Whether one number follows another, as text and as a number."""
    return before < here and int(before) < int(here)


def _span(column: RawColumn, axis: int) -> Span:
    return column.start[axis], column.start[axis] + column.shape[axis]


def _spans(blocks: tuple[RawBlock, ...]) -> list[Span]:
    return [(block.start, block.start + block.depth) for block in blocks]


def _show(spans: list[Span]) -> str:
    """Write some spans.

    Examples
    --------
    >>> _show([(0, 3), (3, 5)]), _show([])
    ('0:3, 3:5', 'nothing')
    """
    shown = ", ".join(f"{a}:{b}" for a, b in spans[:3])
    return (shown + (", ..." if len(spans) > 3 else "")) or "nothing"
