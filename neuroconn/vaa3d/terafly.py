"""Write a volume of any size as a TeraFly tree.

Level 0 comes from a callable, box by box. Every further level is halved, on the volume's own grid,
from the tiles of the level before as they were written. Each tile is made, written beside the tree,
moved into it and noted in a journal; nothing but finished tiles is ever seen in a level, and
``mdata.bin``, without which Vaa3D refuses the volume, comes last.

Memory: a thread holds the tile it makes, one slab of the level before (a tile's worth of voxels)
and what the callable needs; never more than about three tiles, whatever the size of the volume.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import OutputError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.files import publish, storage_errors, write_whole
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.journal import TileJournal
from neuroconn.vaa3d.mdata import FORMAT_NAME, encode
from neuroconn.vaa3d.overlay import avoid_powers_of_two
from neuroconn.vaa3d.plan import TeraflyPlan
from neuroconn.vaa3d.reader import TeraflyLevel, TeraflyVolume
from neuroconn.vaa3d.tiles import write_tile

IDENTITY = "neuroconn.json"
PARTIAL = ".partial"

ReadBox = Callable[[Box], NDArray[Any] | None]
"""Level-0 voxels of a box, in the plan's dtype; None says that all of them are zero."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One line of the level table."""

    folder: str
    shape: ZYX
    spacing_um: tuple[float, float, float]
    tiles: int
    empty: int
    """Tiles that are all zeros and have no file."""


@dataclass(frozen=True, slots=True)
class TeraflyReport:
    """What a finished tree holds and how much of it this run made."""

    levels: tuple[LevelSummary, ...]
    written: int
    """Tiles made by this run, empty ones included."""
    kept: int
    """Tiles an earlier run had made."""


def write_terafly(
    read: ReadBox,
    output: Path,
    plan: TeraflyPlan,
    *,
    identity: Mapping[str, Any] | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> TeraflyReport:
    """Write the volume that ``read`` gives into the folder ``output``.

    Running it again with the same arguments continues where it stopped; the tree is the same
    however often that happens, and a finished tree is left alone.

    Parameters
    ----------
    read : callable
        Given a :class:`Box` of level 0, returns its (z, y, x) voxels in ``plan.dtype``, or None
        where all are zero. Called from ``threads`` threads at once.
    output : Path
        Created; may exist if it is empty or holds this same volume, unfinished or finished.
    plan : TeraflyPlan
        Shape, dtype, spacing and options.
    identity : mapping, optional
        What else the voxels depend on (sources, settings), as JSON values; a rerun with another
        identity is refused rather than mixed in.
    threads : int, optional
        Tiles made at the same time.
    progress : callable, optional
        Called with (tiles done, tiles in all) after every tile.

    Returns
    -------
    TeraflyReport

    Raises
    ------
    OutputError
        If ``output`` holds something else, is being written, or cannot be a TeraFly path.
    StorageError
        If the disk is full.
    VolumeError
        If ``read`` returns something else than it was asked for.
    """
    plan.check_path(output)
    whole = {"format": "terafly", **plan.identity(), **(identity or {})}
    _claim(output, json.loads(json.dumps(whole)))
    if (output / plan.levels[0].folder / "mdata.bin").exists():
        shutil.rmtree(output / PARTIAL, ignore_errors=True)
        return _summary(plan, output, written=0)
    written = _Writer(read, output, plan, threads, progress).run()
    return _summary(plan, output, written=written)


class _Writer:
    """One run over the missing tiles."""

    def __init__(
        self,
        read: ReadBox,
        output: Path,
        plan: TeraflyPlan,
        threads: int,
        progress: Progress | None,
    ) -> None:
        self.read, self.output, self.plan, self.threads = read, output, plan, threads
        self.progress = progress or (lambda done, total: None)
        self.scratch = output / PARTIAL

    def run(self) -> int:
        self.scratch.mkdir(parents=True, exist_ok=True)
        written = 0
        with TileJournal(self.scratch / "journal") as journal:
            self.journal = journal
            for level in range(len(self.plan.levels)):
                missing = [i for i in self.plan.tilings[level] if not self._is_done(level, i)]
                below = self._level(level - 1) if level else None
                jobs = ((level, index, below) for index in missing)
                for _ in _bounded(self._make, jobs, self.threads):
                    written += 1
                    self.progress(len(journal.done), self.plan.tile_count)
            # The finest level's table is the last file: where it stands, all is done.
            for level in reversed(range(len(self.plan.levels))):
                self._finish(level)
        shutil.rmtree(self.scratch)
        return written

    def _is_done(self, level: int, index: ZYX) -> bool:
        size = self.journal.done.get((level, index))
        if not size:
            return size == 0
        path = self._path(level, index)
        if path.is_file() and path.stat().st_size == size:
            return True
        del self.journal.done[level, index]
        return False

    def _make(self, level: int, index: ZYX, below: TeraflyLevel | None) -> None:
        box = self.plan.tilings[level].box(index)
        values = self._level_0(box) if below is None else self._halved(below, level, box)
        if values is not None and self.plan.options.avoid_powers_of_two:
            values = avoid_powers_of_two(values)
        if values is None or not values.any():
            self.journal.record(level, index, 0)
            return
        temporary = self.scratch / f"{level}-{'-'.join(map(str, index))}.tif"
        with storage_errors(self.output):
            write_tile(temporary, values, compression=self.plan.options.compression)
            size = temporary.stat().st_size
            publish(temporary, self._path(level, index))
            self.journal.record(level, index, size)

    def _level_0(self, box: Box) -> NDArray[Any] | None:
        values = self.read(box)
        if values is not None and (
            values.shape != box.shape or values.dtype != np.dtype(self.plan.dtype)
        ):
            raise VolumeError(
                f"asked for {self.plan.dtype} {box.shape}, got {values.dtype} {values.shape}: "
                f"every tile of a TeraFly volume must be grey and of one dtype"
            )
        return values

    def _halved(self, below: TeraflyLevel, level: int, box: Box) -> NDArray[Any] | None:
        step, how = self.plan.levels[level].step, self.plan.options.downsample
        if not below.any(_scaled(box, step)):
            return None
        values = np.empty(box.shape, dtype=self.plan.dtype)
        depth = max(1, box.shape[0] // 8)
        for slab in box.split((depth, *box.shape[1:])):
            values[slab.within(box)] = halve(below.read(_scaled(slab, step)), step, how)
        return values

    def _level(self, level: int) -> TeraflyLevel:
        table = self.plan.table(level, lambda index: self.journal.done[level, index] > 0)
        return TeraflyLevel(self.output / self.plan.levels[level].folder, table)

    def _path(self, level: int, index: ZYX) -> Path:
        return self.output / self.plan.levels[level].folder / self.plan.names[level].path(index)

    def _finish(self, level: int) -> None:
        reader = self._level(level)
        with storage_errors(reader.folder):
            write_whole(reader.folder / ".iim.format", FORMAT_NAME.encode(), scratch=self.scratch)
            write_whole(reader.folder / "mdata.bin", encode(reader.table), scratch=self.scratch)


def _claim(output: Path, identity: dict[str, Any]) -> None:
    """Make ``output`` ours, or find that it is already and holds the same volume."""
    path = output / IDENTITY
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file, and a TeraFly volume is a folder")
    if path.is_file():
        found = _read_identity(path)
        changed = sorted(k for k in identity | found if identity.get(k) != found.get(k))
        if changed:
            raise OutputError(
                f"{output} holds an export with other {', '.join(changed)}: mixing them would "
                f"leave seams; remove it or choose another folder"
            )
        return
    if output.exists() and {entry.name for entry in output.iterdir()} - {PARTIAL}:
        raise OutputError(f"{output} is not empty and not an export of ours: choose a new folder")
    with storage_errors(output):
        (output / PARTIAL).mkdir(parents=True, exist_ok=True)
        text = json.dumps(identity, indent=1, sort_keys=True) + "\n"
        write_whole(path, text.encode(), scratch=output / PARTIAL)


def _read_identity(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != "terafly":
        raise OutputError(f"{path} is not the record of an export: choose a new folder")
    return found


def _bounded(
    make: Callable[..., None], jobs: Iterable[tuple[Any, ...]], threads: int
) -> Iterator[None]:
    """Run jobs, ``threads`` at a time, yielding after each; the first failure stops the rest."""
    if threads <= 1:
        for job in jobs:
            make(*job)
            yield
        return
    queue = iter(jobs)
    with ThreadPoolExecutor(threads, thread_name_prefix="tile") as pool:
        running: set[Future[None]] = {pool.submit(make, *job) for job in islice(queue, threads)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
                yield
            running |= {pool.submit(make, *job) for job in islice(queue, len(finished))}


def _scaled(box: Box, step: ZYX) -> Box:
    (z0, y0, x0), (z1, y1, x1) = (
        tuple(v * k for v, k in zip(corner, step, strict=True)) for corner in (box.start, box.stop)
    )
    return Box((z0, y0, x0), (z1, y1, x1))


def _summary(plan: TeraflyPlan, output: Path, *, written: int) -> TeraflyReport:
    levels = []
    for level, planned in zip(plan.levels, plan.tilings, strict=True):
        reader = TeraflyVolume(output / level.folder).levels[0]
        empty = sum(path is None for _, path in reader.tiles())
        spacing = level.spacing_um(plan.spacing_um)
        levels.append(LevelSummary(level.folder, level.shape, spacing, len(planned), empty))
    return TeraflyReport(tuple(levels), written, plan.tile_count - written)
