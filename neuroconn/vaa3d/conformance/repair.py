"""Mends what can be mended without touching a voxel: PageNumber, ``mdata.bin``, ``.iim.format``."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroconn.errors import VolumeError
from neuroconn.vaa3d.conformance.backup import Backup, Edit
from neuroconn.vaa3d.conformance.findings import Finding
from neuroconn.vaa3d.conformance.frames import Floats
from neuroconn.vaa3d.conformance.level import FORMAT, TABLE, ColumnJob, LevelCheck
from neuroconn.vaa3d.conformance.order import in_order
from neuroconn.vaa3d.conformance.rebuild import rebuilt, resized
from neuroconn.vaa3d.conformance.rules import RULES
from neuroconn.vaa3d.conformance.tiff import PAGE_NUMBER, Page, TiffFacts, TiffFault, read_tiff
from neuroconn.vaa3d.conformance.tile import STACK_SUFFIXES
from neuroconn.vaa3d.conformance.tree import PARTIAL, Progress, level_folders
from neuroconn.vaa3d.mdata import FORMAT_NAME

LISTED = 100
"""Changes that a report names; it counts them all."""
_MOST_PAGES = 65535


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did and what it left alone."""

    mended: tuple[tuple[str, str], ...]
    """File and change; the first :data:`LISTED` of the tiles."""
    refused: tuple[tuple[str, str], ...]
    """File and why it was left as it was; the first :data:`LISTED`."""
    tiles: int
    """Tiles whose PageNumber was written."""
    backup: str | None
    """Where the old bytes are; None if nothing was changed."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "mended": [{"file": file, "what": what} for file, what in self.mended],
            "refused": [{"file": file, "why": why} for file, why in self.refused],
            "tiles": self.tiles,
            "backup": self.backup,
        }


def repair_vaa3d(
    tree: str | Path,
    *,
    spacing_um: Floats | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RepairReport:
    """Mend a tree; every voxel stays as it is, and what is changed is kept first.

    PageNumber tags are written in place, right on every page. ``mdata.bin`` is written again where
    it is missing or broken, from its own sound columns or else from the names and headers of a
    complete grid of tiles. ``.iim.format`` is written where it is missing or wrong. May be
    interrupted at any time and run again.

    Parameters
    ----------
    tree : path
        The folder of the ``RES(...)`` folders.
    spacing_um : (z, y, x) floats, optional
        Voxel size of the finest level in µm, to be written on all levels; else taken from the
        tables, from neighbouring levels, or from names, where these tell.
    threads : int, optional
        Folders looked into at once.
    progress : callable, optional
        Called with the tiles looked at so far and their number.

    Returns
    -------
    RepairReport

    Raises
    ------
    VolumeError
        If there is no tree, or an export into it is unfinished.
    StorageError
        If the disk refuses a change.
    """
    root = Path(tree)
    names = level_folders(root)
    if (root / PARTIAL).is_dir():
        raise VolumeError(
            f"{root} is an unfinished export, and has {PARTIAL}: run the same export again"
        )
    work = _Repair(root, [LevelCheck(root, name) for name in names], spacing_um)
    work.formats()
    with ThreadPoolExecutor(threads or min(16, 4 * len(os.sched_getaffinity(0)))) as pool:
        work.numbers(pool, progress)
    work.tables()
    return work.report()


class _Repair:
    """One repair under way."""

    def __init__(self, root: Path, levels: list[LevelCheck], spacing_um: Floats | None) -> None:
        self.root, self.spacing_um = root, spacing_um
        self.backup = Backup(root)
        self.found = {level.name: list(level.judge_table()) for level in levels}
        self.levels = sorted(levels, key=_size, reverse=True)
        self.mended: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.tiles = 0

    def report(self) -> RepairReport:
        kept = str(self.backup.folder) if self.backup.used else None
        return RepairReport(tuple(self.mended), tuple(self.refused), self.tiles, kept)

    def formats(self) -> None:
        for level in self.levels:
            if any(one.rule.startswith("level.format") for one in self.found[level.name]):
                self.backup.replace(level.path / FORMAT, FORMAT_NAME.encode())
                self.mended.append((f"{level.name}/{FORMAT}", "written"))

    def numbers(self, pool: ThreadPoolExecutor, progress: Progress | None) -> None:
        done, total = 0, sum(level.tiles for level in self.levels)
        jobs = ((level, job) for level in self.levels for job in level.jobs())
        for looked, results in in_order(pool, lambda at: self._numbers_of(*at), jobs):
            for name, what, well in results:
                self.tiles += well
                listed = self.mended if well else self.refused
                if len(listed) < LISTED:
                    listed.append((name, what))
            done += looked
            if progress is not None:
                progress(done, total)

    def _numbers_of(
        self, level: LevelCheck, job: ColumnJob
    ) -> tuple[int, list[tuple[str, str, bool]]]:
        results = []
        tiles = level.tiles_of(job)
        for path in tiles:
            name = path.relative_to(self.root).as_posix()
            try:
                if pages := _mend_numbers(self.root, path, self.backup):
                    results.append((name, f"PageNumber of {pages} pages", True))
            except VolumeError as error:
                results.append((name, str(error), False))
        return len(tiles), results

    def tables(self) -> None:
        for level in self.levels:
            name = f"{level.name}/{TABLE}"
            broken = [one for one in self.found[level.name] if _calls_for_a_table(one)]
            try:
                if broken:
                    data = rebuilt(level, self.levels, broken, self.spacing_um)
                elif self.spacing_um is not None:
                    data = resized(level, self.levels, self.spacing_um)
                else:
                    continue
            except VolumeError as error:
                self.refused.append((name, str(error)))
                continue
            if data.bytes is not None:
                self.backup.replace(level.path / TABLE, data.bytes)
                self.mended.append((name, data.how))


def _size(level: LevelCheck) -> int:
    z, y, x = level.shape or (0, 0, 0)
    return z * y * x


def _calls_for_a_table(found: Finding) -> bool:
    about = found.rule.startswith("table.") or found.rule == "level.table-missing"
    return about and found.severity == "error" and RULES[found.rule].repairable


def _mend_numbers(root: Path, path: Path, backup: Backup) -> int:
    """Write the PageNumber tags of a tile that has wrong ones; returns how many were wrong."""
    if path.suffix.lower() in STACK_SUFFIXES:
        return 0
    try:
        facts = read_tiff(path)
    except (OSError, TiffFault):
        return 0  # a tile without a header has no tag to mend
    total = len(facts.pages)
    wrong = [
        (number, page)
        for number, page in enumerate(facts.pages)
        if page.number is not None and page.number != (number, total)
    ]
    if not wrong:
        return 0
    if facts.fault is not None:
        raise VolumeError(f"its pages end in damage, so that nobody knows their number: "
                          f"{facts.fault.what}")  # fmt: skip
    if total > _MOST_PAGES:
        raise VolumeError(f"{total} pages are more than PageNumber can count")
    _check_own(root, path)
    backup.patch(path, list(_edits(path, facts, wrong)))
    return len(wrong)


def _check_own(root: Path, path: Path) -> None:
    """Refuse files that others share: a change would reach them too."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise VolumeError("it is a link that leads out of the tree: copy it into the tree first")
    if path.stat().st_nlink > 1:
        raise VolumeError("another name leads to the same file (hard link): copy it first")


def _edits(path: Path, facts: TiffFacts, pages: list[tuple[int, Page]]) -> list[Edit]:
    """Return the entries of a directory as they are and as they should be.

    An entry is tag, type, count, value: written as a whole, for type and count may be wrong too.
    """
    layout = struct.Struct(facts.order + ("HHQ2H4x" if facts.big else "HHI2H"))
    edits = []
    with path.open("rb") as file:
        for number, page in pages:
            file.seek(page.entry)
            old = file.read(layout.size)
            new = layout.pack(PAGE_NUMBER, 3, 2, number, len(facts.pages))
            edits.append((page.entry, old, new))
    return edits
