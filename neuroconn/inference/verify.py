"""The store against the journal: what it says is there, and nothing else.

A missing stored object reads as "unexplored" without an error, and a flipped bit may decode; so
every journalled core is read back and its digest compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX
from neuroconn.inference.coarse import coarse_block, coarse_objects
from neuroconn.inference.journal import Journal
from neuroconn.inference.output import RunFolder, require_run
from neuroconn.inference.task import checksum
from neuroconn.volume.regions import read_region, stored_object
from neuroconn.volume.store import Image, open_image


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What ``verify`` found in the output of a run."""

    output: str
    checked: int
    """Journalled chunks that were read back."""
    damaged: tuple[tuple[ZYX, str], ...]
    """Journalled chunks whose core is missing, unreadable or other than it was."""
    unjournalled: tuple[ZYX, ...]
    """Stored chunks that no line of the journal speaks of: in flight when a run was killed."""
    coarse: tuple[tuple[int, ZYX, str], ...]
    """Objects of coarse levels that are not the minimum of the level below."""
    failed: int
    """Chunks the run gave up; the map has holes there."""
    repaired: bool = False
    """Whether the damage was taken out, for the next ``infer`` to fill in."""

    @property
    def sound(self) -> bool:
        """Whether store and journal agree."""
        return not (self.damaged or self.unjournalled or self.coarse)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "sound": self.sound}


def verify(output: str | Path, *, repair: bool = False) -> VerifyReport:
    """Compare the store of a run with its journal.

    Parameters
    ----------
    output : path
        An output of ``infer``.
    repair : bool, optional
        Take damaged and unjournalled objects out of store and journal. Running the same ``infer``
        again then computes those chunks, and only those.

    Returns
    -------
    VerifyReport

    Raises
    ------
    OutputError
        If the path is not such an output, or, when repairing, a client is at work in it.
    """
    path = Path(output)
    folder, image = require_run(path), open_image(path)
    if not repair:
        return _inspect(path, folder, image, Journal.read(folder.path))
    with Journal.open(folder.path, Journal.read(folder.path).identity) as journal:
        report = _inspect(path, folder, image, journal)
        if report.sound:
            return report
        # In this order: whatever a crash leaves is stored and not journalled, so it is redone.
        _rewrite(journal, {index for index, _ in report.damaged})
        _take_out(image, report)
        folder.write_report({**folder.read_report(), "pyramid_of": None})
    return replace(report, repaired=True)


def _inspect(path: Path, folder: RunFolder, image: Image, journal: Journal) -> VerifyReport:
    digests: dict[ZYX, int] = {}
    failed: set[ZYX] = set()
    for record in journal.records():
        if record.status == "failed":
            failed.add(record.index)
        else:
            digests[record.index] = record.digest
    damaged = [(i, reason) for i, d in digests.items() if (reason := _damage(image, i, d))]
    complete = folder.read_report().get("pyramid_of") == len(digests)
    # Coarse levels are made when a walk ends; over damaged chunks they say nothing.
    coarse = _coarse_damage(image, digests) if complete and not damaged else iter(())
    return VerifyReport(
        output=str(path),
        checked=len(digests),
        damaged=tuple(sorted(damaged)),
        unjournalled=tuple(sorted(set(_stored(image)) - digests.keys())),
        coarse=tuple(coarse),
        failed=len(failed - digests.keys()),
    )


def _damage(image: Image, index: ZYX, digest: int) -> str:
    """Say what is wrong with a stored core; nothing if it is as it was."""
    file = stored_object(image.array(0), index)
    if file is not None and not file.is_file():
        return "missing from the store"
    try:
        core = read_region(image.array(0), image.grid(0).core(index))
    except VolumeError as error:
        return str(error)
    return "" if checksum(core) == digest else "its voxels are not those that were written"


def _coarse_damage(image: Image, explored: dict[ZYX, int]) -> Iterator[tuple[int, ZYX, str]]:
    for number, index in coarse_objects(image, explored):
        core = image.grid(number).core(index)
        try:
            stored = read_region(image.array(number), core)
            expected = coarse_block(image, number, core)
        except VolumeError as error:
            yield number, index, str(error)
            continue
        if not np.array_equal(stored, expected, equal_nan=stored.dtype.kind == "f"):
            yield number, index, f"not the minimum of level {number - 1}"


def _stored(image: Image) -> Iterator[ZYX]:
    """Chunks of level 0 that have a stored object."""
    grid = image.grid(0)
    root = stored_object(image.array(0), (0, 0, 0))
    if root is None:
        return
    for file in root.parents[2].rglob("*"):
        parts = file.relative_to(root.parents[2]).parts
        if len(parts) == 3 and all(p.isdecimal() for p in parts) and file.is_file():
            index = (int(parts[0]), int(parts[1]), int(parts[2]))
            if index in grid:
                yield index


def _rewrite(journal: Journal, without: set[ZYX]) -> None:
    """Replace the journal by one that does not speak of some chunks, whole or not at all."""
    part = journal.path.with_suffix(".part")
    with part.open("wb") as file:
        for record in journal.records():
            if record.index not in without:
                file.write(record.to_line())
        file.flush()
        os.fsync(file.fileno())
    part.replace(journal.path)


def _take_out(image: Image, report: VerifyReport) -> None:
    objects = [(0, index) for index, _ in report.damaged]
    objects += [(0, index) for index in report.unjournalled]
    objects += [(number, index) for number, index, _ in report.coarse]
    for number, index in objects:
        file = stored_object(image.array(number), index)
        if file is not None:
            file.unlink(missing_ok=True)
