"""Read and write SWC: one node a line, ``id type x y z radius parent``.

The reader takes what real tools write (parents after their children, id 0, several roots, ESWC
columns, a byte order mark, float ids, any white space) and refuses what no tree can be (cycles,
missing parents, ids given twice, coordinates that are not numbers). Nothing here recurses, so a
chain of a million nodes is read in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation.forest import Forest
from neuroconn.annotation.rows import read_lines, write_lines
from neuroconn.errors import AnnotationError

logger = logging.getLogger(__name__)

_COLUMNS = ("id", "type", "x", "y", "z", "radius", "parent")
_ID, _TYPE, _RADIUS, _PARENT = 0, 1, 5, 6
_LARGEST_ID = 2.0**53


@dataclass(frozen=True, slots=True)
class _Table:
    """The numbers of a file, and where each row came from."""

    path: Path
    lines: NDArray[np.int64]
    values: NDArray[np.float64]

    def fail(self, row: int, why: str) -> AnnotationError:
        name = int(self.values[row, _ID]) if np.isfinite(self.values[row, _ID]) else "?"
        return AnnotationError(f"{self.path}, line {self.lines[row]} (id {name}): {why}")


def read_swc(path: str | Path, *, repair: bool = False, empty: bool = False) -> Forest:
    """Read an SWC or ESWC file.

    Parameters
    ----------
    path : str or Path
        Text in UTF-8 (a byte order mark is fine); columns beyond the seventh are ignored.
    repair : bool, optional
        Take a negative radius for 0, with a warning, instead of refusing the file.
    empty : bool, optional
        Take a file without nodes for an empty forest, instead of refusing it.

    Returns
    -------
    Forest
        Nodes in the order of the file, positions (z, y, x) in the file's own unit.

    Raises
    ------
    AnnotationError
        If the file is not a forest; the message names line, id and value.
    """
    lines, rows = _rows(Path(path))
    if empty and not rows:
        return Forest(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    table = _parse(Path(path), lines, rows)
    _check_numbers(table)
    radii = _radii(table, repair)
    parents = _parents(table)
    _check_cycles(table, parents)
    values = table.values
    return Forest(values[:, 4:1:-1], parents, radii, values[:, _TYPE].astype(np.int64))


def write_swc(
    path: str | Path,
    forest: Forest,
    *,
    name: str = "",
    comment: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write a forest as Vaa3D does: 0-based voxels, single spaces, three decimals.

    A value that three decimals would change is written in full, so reading the file gives back
    the same forest bit for bit.

    Parameters
    ----------
    path : str or Path
        Where to write; overwritten if it is there.
    forest : Forest
        Positions are written as they are; Vaa3D takes them for voxels of the image.
    name, comment : str, optional
        For the header. Line breaks become blanks.
    notes : sequence of str, optional
        More lines for the header.
    """
    lines = [*header_lines(name, comment, notes), "##n,type,x,y,z,radius,parent"]
    write_lines(Path(path), [*lines, *node_rows(forest)])


def header_lines(name: str, comment: str, notes: Sequence[str]) -> list[str]:
    """Return the first lines of an SWC; line breaks become blanks."""
    return [
        f"#name {' '.join(name.split())}".rstrip(),
        f"#comment {' '.join(comment.split())}".rstrip(),
        *(f"# {' '.join(note.split())}" for note in notes),
    ]


def node_rows(forest: Forest) -> Iterator[str]:
    """Yield the rows of an SWC; nodes are called 1, 2, 3, ..."""
    columns = [np.arange(1, len(forest) + 1).tolist(), forest.kinds.tolist()]
    numbers = [[_number(v) for v in forest.positions[:, axis].tolist()] for axis in (2, 1, 0)]
    numbers.append([_number(v) for v in forest.radii.tolist()])
    parents = np.where(forest.parents < 0, -1, forest.parents + 1).tolist()
    return (" ".join(map(str, row)) for row in zip(*columns, *numbers, parents, strict=True))


def split_nodes(path: Path) -> tuple[list[int], list[list[str]]]:
    """Line number and words of every node, those beyond the seventh too."""
    lines, rows = _rows(path)
    return lines, [row.split() for row in rows]


def _number(value: float) -> str:
    short = f"{value:.3f}"
    return short if float(short) == value else repr(value)


def _rows(path: Path) -> tuple[list[int], list[str]]:
    rows, lines = [], []
    for number, line in enumerate(read_lines(path), 1):
        row = line.partition("#")[0].strip()
        if row:
            rows.append(row)
            lines.append(number)
    return lines, rows


def _parse(path: Path, lines: list[int], rows: list[str]) -> _Table:
    if not rows:
        raise AnnotationError(f"{path} holds no nodes: an SWC has one a line, {' '.join(_COLUMNS)}")
    try:
        values = np.loadtxt(rows, usecols=range(7), ndmin=2, comments=None)
    except (ValueError, OverflowError):
        raise _unreadable(path, rows, lines) from None
    return _Table(path, np.asarray(lines), values)


def _unreadable(path: Path, rows: list[str], lines: list[int]) -> AnnotationError:
    for row, line in zip(rows, lines, strict=True):
        words = row.split()
        if len(words) < 7:
            hint = " Commas do not separate columns here." if "," in row else ""
            return AnnotationError(
                f"{path}, line {line}: {len(words)} columns where an SWC has 7 "
                f"({' '.join(_COLUMNS)}): {_shorten(row)}.{hint}"
            )
        for word, column in zip(words, _COLUMNS, strict=False):
            try:
                float(word)
            except ValueError:
                return AnnotationError(
                    f"{path}, line {line}: {column} {_shorten(word)} is not a number"
                )
    return AnnotationError(f"{path} is not an SWC: its numbers cannot be read")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _check_numbers(table: _Table) -> None:
    values = table.values
    for row, column in np.argwhere(~np.isfinite(values))[:1]:
        raise table.fail(row, f"{_COLUMNS[column]} is {values[row, column]}, which is no place")
    whole = values[:, (_ID, _TYPE, _PARENT)]
    for row, column in np.argwhere((whole != np.floor(whole)) | (abs(whole) > _LARGEST_ID))[:1]:
        name = ("id", "type", "parent")[column]
        raise table.fail(row, f"{name} {whole[row, column]} is not a whole number")
    for row in np.flatnonzero(values[:, _ID] < 0)[:1]:
        raise table.fail(row, "ids start at 0: -1 stands for 'no parent'")


def _radii(table: _Table, repair: bool) -> NDArray[np.float64]:
    radii = table.values[:, _RADIUS]
    negative = np.flatnonzero(radii < 0)
    if negative.size and not repair:
        raise table.fail(negative[0], f"radius {radii[negative[0]]} is negative")
    if negative.size:
        logger.warning("%s: %d negative radii are taken for 0", table.path, negative.size)
    zero = int((radii == 0).sum())
    if zero:
        logger.warning("%s: %d of %d nodes have radius 0", table.path, zero, len(radii))
    return np.maximum(radii, 0.0)


def _parents(table: _Table) -> NDArray[np.int64]:
    """Index of each node's parent, found by sorting the ids."""
    ids = table.values[:, _ID].astype(np.int64)
    wanted = table.values[:, _PARENT].astype(np.int64)
    order = np.argsort(ids, kind="stable")
    for twice in np.flatnonzero(np.diff(ids[order]) == 0)[:1]:
        first, second = table.lines[order[twice]], order[twice + 1]
        raise table.fail(second, f"this id is already that of line {first}")
    for row in np.flatnonzero(wanted == ids)[:1]:
        raise table.fail(row, "the node is its own parent; a root has parent -1")
    place = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    parents = order[place]
    missing = (ids[parents] != wanted) & (wanted != -1)
    for row in np.flatnonzero(missing)[:1]:
        raise table.fail(row, f"parent {wanted[row]} is nowhere in the file")
    return np.where(wanted == -1, -1, parents)


def _check_cycles(table: _Table, parents: NDArray[np.int64]) -> None:
    """Refuse nodes from which no root can be reached, by pointer doubling."""
    roots = parents < 0
    ancestor = np.where(roots, np.arange(len(parents)), parents)
    for _ in range(len(parents).bit_length()):
        ancestor = ancestor[ancestor]
    lost = np.flatnonzero(~roots[ancestor])
    if lost.size:
        ids = table.values[lost[:5], _ID].astype(np.int64).tolist()
        more = ", ..." if lost.size > 5 else ""
        raise table.fail(
            lost[0],
            f"a cycle: {lost.size} nodes reach no root (ids {', '.join(map(str, ids))}{more})",
        )
