"""Read and write ESWC: SWC with what Vaa3D and TeraFly note of each node besides.

A row is that of an SWC, then ``seg_id level mode timestamp teraflyindex`` and any number of
features. All come back as they were; Vaa3D splits on single blanks, so that is what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation.forest import Forest
from neuroconn.annotation.rows import write_lines
from neuroconn.annotation.swc import header_lines, node_rows, read_swc, split_nodes
from neuroconn.errors import AnnotationError

_NAMES = ("seg_id", "level", "mode", "timestamp", "teraflyindex")
_HEADER = "##n,type,x,y,z,radius,parent," + ",".join(_NAMES) + ",feature_value"
_SWC = 7
_WHOLE = 3
"""Of the names above, the first are whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class EswcColumns:
    """What an ESWC says of n nodes beyond an SWC."""

    segments: NDArray[np.int64]
    """(n,) number of the traced segment."""
    levels: NDArray[np.int64]
    """(n,) level of branching, or of confidence, as the tool that wrote it means it."""
    modes: NDArray[np.int64]
    """(n,) how the segment was made."""
    times: NDArray[np.float64]
    """(n,) time stamps, whole numbers."""
    teraflyindex: NDArray[np.float64]
    """(n,) resolution at which TeraFly showed the brain, whole numbers."""
    features: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """(n, k) further values; NaN where a row ends early."""

    def __post_init__(self) -> None:
        count = len(self.segments)
        if not self.features.size:
            object.__setattr__(self, "features", np.empty((count, 0)))
        found = {c.shape for c in self.columns} | {self.features.shape[:1]}
        if found != {(count,)} or self.features.ndim != 2:
            raise AnnotationError(f"the columns of an ESWC need a value for each of {count} nodes")

    @classmethod
    def of(cls, forest: Forest) -> EswcColumns:
        """Columns of trees of which nothing else is known: a segment a tree, all else 0."""
        heads = _heads(forest)
        trees = np.unique(heads, return_inverse=True)[1].astype(np.int64)
        nothing, none = np.zeros(len(forest), np.int64), np.zeros(len(forest))
        return cls(trees, nothing, nothing, none, none)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EswcColumns):
            return NotImplemented
        return all(
            np.array_equal(a, b, equal_nan=True)
            for a, b in zip(
                (*self.columns, self.features), (*other.columns, other.features), strict=True
            )
        )

    @property
    def columns(self) -> tuple[NDArray[np.int64] | NDArray[np.float64], ...]:
        """The five that every row has, in the order of the file."""
        return self.segments, self.levels, self.modes, self.times, self.teraflyindex


def read_eswc(path: str | Path, *, empty: bool = False) -> tuple[Forest, EswcColumns]:
    """Read an ESWC, or an SWC, which says less.

    Parameters
    ----------
    path : str or Path
        Text; columns that a row lacks are 0.
    empty : bool, optional
        Take a file without nodes for an empty forest, as TeraFly writes it where nothing was
        traced, instead of refusing it.

    Returns
    -------
    Forest
        As `read_swc` reads it.
    EswcColumns
        Of its nodes, in the same order.

    Raises
    ------
    AnnotationError
        If the file is broken; the message names the line.
    """
    path = Path(path)
    forest = read_swc(path, empty=empty)
    lines, rows = split_nodes(path)
    values = np.full((len(rows), max([12, *(len(row) for row in rows)])), np.nan)
    values[:, :12] = 0
    for number, row in enumerate(rows):
        for column in range(_SWC, len(row)):
            values[number, column] = _number(path, lines[number], column, row[column])
    segments, levels, modes = (values[:, _SWC + k].astype(np.int64) for k in range(_WHOLE))
    times, index, features = values[:, 10].copy(), values[:, 11].copy(), values[:, 12:].copy()
    return forest, EswcColumns(segments, levels, modes, times, index, features)


def write_eswc(
    path: str | Path,
    forest: Forest,
    columns: EswcColumns | None = None,
    *,
    name: str = "",
    comment: str = "",
    notes: Sequence[str] = (),
) -> None:
    """Write an ESWC as Vaa3D does, whole or not at all.

    A value that the usual decimals would change is written in full, so reading the file gives back
    the same forest and the same columns bit for bit.

    Parameters
    ----------
    path : str or Path
        Where to write; overwritten if it is there.
    forest : Forest
        Positions are written as they are; Vaa3D takes them for voxels of the image.
    columns : EswcColumns, optional
        By default those of :meth:`EswcColumns.of`.
    name, comment, notes
        For the header, as for `write_swc`.

    Raises
    ------
    AnnotationError
        If the columns are of another number of nodes.
    """
    told = EswcColumns.of(forest) if columns is None else columns
    if len(told.segments) != len(forest):
        raise AnnotationError(
            f"{len(forest)} nodes cannot have the columns of {len(told.segments)}"
        )
    whole = [column.tolist() for column in told.columns[:_WHOLE]]
    rounded = [[_shown(v, 0) for v in column.tolist()] for column in told.columns[_WHOLE:]]
    rows = [
        " ".join((row, *map(str, more), *_features(features)))
        for row, more, features in zip(
            node_rows(forest), zip(*whole, *rounded, strict=True), told.features, strict=True
        )
    ]
    write_lines(Path(path), [*header_lines(name, comment, notes), _HEADER, *rows])


def _features(values: NDArray[np.float64]) -> list[str]:
    known = np.flatnonzero(~np.isnan(values))
    stop = int(known[-1]) + 1 if known.size else 0
    return [_shown(v, 5) for v in values[:stop].tolist()]


def _shown(value: float, digits: int) -> str:
    short = f"{value:.{digits}f}"
    return short if float(short) == value else repr(value)


def _number(path: Path, line: int, column: int, word: str) -> float:
    place = column - _SWC
    name = _NAMES[place] if place < len(_NAMES) else f"feature {place - len(_NAMES) + 1}"
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if np.isnan(value):
        raise AnnotationError(f"{path}, line {line}: {name} {word[:60]!r} is not a number")
    if place < _WHOLE and not (np.isfinite(value) and value == np.floor(value)):
        raise AnnotationError(f"{path}, line {line}: {name} {word[:60]} is not a whole number")
    return value


def _heads(forest: Forest) -> NDArray[np.int64]:
    """Root of each node, by pointer doubling."""
    ancestor = np.where(forest.parents < 0, np.arange(len(forest)), forest.parents)
    for _ in range(len(forest).bit_length()):
        ancestor = ancestor[ancestor]
    return ancestor
