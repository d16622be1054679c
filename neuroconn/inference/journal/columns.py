"""Journals of a million lines: records as columns instead of one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.journal.line import STATUSES, Record

Rows: TypeAlias = NDArray[np.void]
"""Records as rows of :data:`ROW`."""

ROW = np.dtype(
    [
        ("z", np.int64),
        ("y", np.int64),
        ("x", np.int64),
        ("status", np.uint8),  # place in STATUSES
        ("strong", np.uint32),
        ("weak", np.uint32),
        ("voxels", np.int64),
        ("digest", np.uint32),
        ("attempt", np.int64),
        ("elided", np.bool_),
        ("absent", np.int64),
        ("seconds", np.float64),
    ]
)
"""What a record says, but for damaged objects, by the names :class:`Record` has for it."""

NEURITE, FAILED = STATUSES.index("neurite"), STATUSES.index("failed")


def sound_end(data: bytes) -> int:
    """Bytes of the whole lines before the first that is torn or damaged.

    Examples
    --------
    >>> line = Record((0, 1, 2), "empty").to_line()
    >>> sound_end(line + line[:-5]) == len(line)
    True
    """
    from neuroconn.inference.journal.kernel import sound_lines  # numba is slow to load

    return int(sound_lines(np.frombuffer(data, np.uint8))[1])


def parse_lines(data: bytes) -> Rows:
    """Read whole lines.

    Raises
    ------
    ValueError
        If a line is cut short or its checksum is wrong.

    Examples
    --------
    >>> rows = parse_lines(Record((0, 1, 2), "neurite", strong=1, voxels=50).to_line())
    >>> rows["x"], rows["voxels"]
    (array([2]), array([50]))
    """
    from neuroconn.inference.journal import kernel

    text = np.frombuffer(data, np.uint8)
    count, end = kernel.sound_lines(text)
    if end != len(data):
        raise ValueError("the record is torn or damaged")
    numbers = np.empty((count, len(kernel.FIELDS) + 1), np.int64)
    seconds = np.empty(count)
    unread = np.empty((count, 3), np.int64)
    strange = kernel.read_lines(text, numbers, seconds, unread)
    rows = np.empty(count, ROW)
    for k, name in enumerate((*kernel.FIELDS, "absent")):
        rows[name] = numbers[:, k]
    rows["seconds"] = seconds
    for n, start, stop in unread[:strange].tolist():
        rows[n] = _row(Record.from_line(data[start:stop]))
    return rows


@dataclass
class Ledger:
    """The records of a journal that count: of each chunk the first, and the first without failure.

    Attributes
    ----------
    conflicts : list of (z, y, x)
        Chunks with two different digests, by the blocks read so far.

    Examples
    --------
    >>> lines = [Record((0, 0, 0), "failed"), Record((0, 0, 0), "empty", digest=1)]
    >>> ledger = Ledger(ChunkGrid((1, 1, 1), (1, 1, 1)))
    >>> block = b"".join(record.to_line() for record in [*lines, *lines])
    >>> [len(rows) for rows, positions in ledger.rows([block])]
    [2]
    """

    grid: ChunkGrid
    conflicts: list[ZYX] = field(default_factory=list)

    def rows(self, blocks: Iterable[bytes]) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
        """Read blocks of whole lines.

        Yields
        ------
        rows : (n,) rows
            Those of a block that count.
        positions : (n,) int64 array
            Their chunks' places in the order of the grid.

        Raises
        ------
        ValueError
            If a line is torn or damaged.
        IndexError
            If a record speaks of a chunk that the grid does not have.
        """
        from neuroconn.inference.journal.kernel import first_of_each

        # What was seen of each chunk, and its digest; untouched pages take no memory.
        seen = np.zeros(len(self.grid), np.uint8)
        known = np.zeros(len(self.grid), np.uint32)
        for block in blocks:
            rows = parse_lines(block)
            positions = self._positions(rows)
            failed = rows["status"] == FAILED
            digests = np.ascontiguousarray(rows["digest"])
            counts, differ = first_of_each(positions, failed, digests, seen, known)
            self.conflicts += [self.grid.unravel(int(p)) for p in positions[differ]]
            yield rows[counts], positions[counts]

    def _positions(self, rows: Rows) -> NDArray[np.int64]:
        nz, ny, nx = self.grid.counts
        z, y, x = rows["z"], rows["y"], rows["x"]
        outside = (z < 0) | (z >= nz) | (y < 0) | (y >= ny) | (x < 0) | (x >= nx)
        for n in np.flatnonzero(outside):
            self.grid.ravel((int(z[n]), int(y[n]), int(x[n])))  # says what is wrong
        positions: NDArray[np.int64] = (z * ny + y) * nx + x
        return positions


def with_gaps(blocks: Iterable[bytes]) -> Iterator[Record]:
    """Pick the records of chunks for which a part of the brain was read as fill, each chunk once.

    Nearly all lines say nothing of the kind, and are not parsed.

    Examples
    --------
    >>> whole, holed = Record((0, 0, 0), "empty"), Record((0, 0, 1), "empty", absent=9)
    >>> [record.index for record in with_gaps([whole.to_line() + holed.to_line()])]
    [(0, 0, 1)]
    """
    words = (b'"absent":', b'"damaged":')
    seen: set[ZYX] = set()
    for block in blocks:
        if not any(word in block for word in words):
            continue
        for line in block.splitlines(keepends=True):
            if any(word in line for word in words):
                record = Record.from_line(line)
                if record.index not in seen:
                    seen.add(record.index)
                    yield record


def _row(record: Record) -> Any:
    return (
        *record.index,
        STATUSES.index(record.status),
        record.strong,
        record.weak,
        record.voxels,
        record.digest,
        record.attempt,
        record.elided,
        record.absent,
        record.seconds,
    )
