"""The store against the journal: what it says is there, and nothing else.

A missing stored object reads as "unexplored" without an error, and a flipped bit may decode; so
every journalled core is read back and its digest compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import OutputError, VolumeError
from neuroconn.geometry import ZYX
from neuroconn.inference.coarse import coarse_block, coarse_objects
from neuroconn.inference.journal.at_once import at_once, threads_for
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.metadata import damaged_documents, restore_documents
from neuroconn.inference.output.run_folder import RunFolder, require_run
from neuroconn.inference.output.strays import strays
from neuroconn.inference.task import checksum
from neuroconn.volume.address import Address, address_of
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import Image, open_image
from neuroconn.volume.stored import remove_stored, stored_indices


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
    metadata: tuple[tuple[str, str], ...] = ()
    """Metadata documents that are not as they were; nothing can be read until they are."""
    left: tuple[str, ...] = ()
    """Files that writes left which were killed."""
    foreign: tuple[str, ...] = ()
    """Files among the stored objects that are not ours: kept, and no damage."""
    repaired: bool = False
    """Whether the damage was taken out, for the next ``infer`` to fill in."""

    @property
    def sound(self) -> bool:
        """Whether store and journal agree."""
        return not (self.damaged or self.unjournalled or self.coarse or self.metadata or self.left)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "sound": self.sound}


def verify(output: str | Address, *, repair: bool = False) -> VerifyReport:
    """Compare the store of a run with its journal.

    Parameters
    ----------
    output : path or URL
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
    StorageError
        If an object store refuses.
    """
    path = address_of(output)
    folder = require_run(path)
    documents = damaged_documents(path, folder)
    if not repair and documents:
        return VerifyReport(str(path), 0, (), (), (), 0, metadata=documents)
    if not repair:
        report = _inspect(path, folder, _open_map(path), Journal.read(folder.path))
        # Of a run under way, what is stored and not journalled is on its way.
        running = folder.running() is not None
        return replace(report, unjournalled=(), left=()) if running else report
    with Journal.open(folder.path, Journal.read(folder.path).identity) as journal:
        restore_documents(path, folder, [key for key, _ in documents])
        image = _open_map(path)
        report = replace(_inspect(path, folder, image, journal), metadata=documents)
        if report.sound:
            return report
        # In this order: whatever a crash leaves is stored and not journalled, so it is redone.
        journal.rewrite(without={index for index, _ in report.damaged})
        _take_out(image, report)
        folder.write_report({**folder.read_report(), "pyramid_of": None})
    return replace(report, repaired=True)


def _open_map(path: Address) -> Image:
    try:
        return open_image(path)
    except VolumeError as error:
        raise OutputError(
            f"{error}. If its creation was cut short, the same infer command finishes it"
        ) from None


def _inspect(path: Address, folder: RunFolder, image: Image, journal: Journal) -> VerifyReport:
    digests: dict[ZYX, int] = {}
    failed: set[ZYX] = set()
    for record in journal.records():
        if record.status == "failed":
            failed.add(record.index)
        else:
            digests[record.index] = record.digest
    stored = set(stored_indices(image.array(0), image.grid(0)))
    damaged = list(_damage(image, digests, stored))
    complete = folder.read_report().get("pyramid_of") == len(digests)
    # Coarse levels are made when a walk ends; over damaged chunks they say nothing.
    coarse = _coarse_damage(image, digests) if complete and not damaged else iter(())
    left, foreign = strays(image)
    return VerifyReport(
        output=str(path),
        checked=len(digests),
        damaged=tuple(sorted(damaged)),
        unjournalled=tuple(sorted(stored - digests.keys())),
        coarse=tuple(coarse),
        failed=len(failed - digests.keys()),
        left=tuple(map(str, left)),
        foreign=tuple(map(str, foreign)),
    )


def _damage(image: Image, digests: dict[ZYX, int], stored: set[ZYX]) -> Iterator[tuple[ZYX, str]]:
    """Yield the cores that are not as they were, with what is wrong with them."""
    array, grid = image.array(0), image.grid(0)

    def look(index: ZYX) -> str:
        if index not in stored:
            return "missing from the store"
        try:
            core = read_region(array, grid.core(index))
        except VolumeError as error:
            return str(error)
        same = checksum(core) == digests[index]
        return "" if same else "its voxels are not those that were written"

    for index, reason in at_once(look, digests, threads_for(image.path)):
        if reason:
            yield index, reason


def _coarse_damage(image: Image, explored: dict[ZYX, int]) -> Iterator[tuple[int, ZYX, str]]:
    arrays = [image.array(number) for number in range(len(image.levels))]

    def look(item: tuple[int, ZYX]) -> str:
        number, index = item
        core = image.grid(number).core(index)
        try:
            stored = read_region(arrays[number], core)
            expected = coarse_block(image, number, core)
        except VolumeError as error:
            return str(error)
        same = np.array_equal(stored, expected, equal_nan=stored.dtype.kind == "f")
        return "" if same else f"not the minimum of level {number - 1}"

    objects = coarse_objects(image, explored)
    for (number, index), reason in at_once(look, objects, threads_for(image.path)):
        if reason:
            yield number, index, reason


def _take_out(image: Image, report: VerifyReport) -> None:
    for file in report.left:
        Path(file).unlink(missing_ok=True)
    level_0 = [*(index for index, _ in report.damaged), *report.unjournalled]
    remove_stored(image.array(0), *level_0)
    for number in range(1, len(image.levels)):
        remove_stored(image.array(number), *_of_level(report.coarse, number))


def _of_level(coarse: Iterable[tuple[int, ZYX, str]], number: int) -> Iterator[ZYX]:
    yield from (index for level, index, _ in coarse if level == number)
