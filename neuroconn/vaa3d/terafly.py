"""Write a volume of any size as a TeraFly tree, in one pass over level 0.

Level 0 comes from a callable, box by box. What a tile gives to coarser levels is halved while it is
in memory and waits beside the tree until the tiles above are complete; no tile is read again. Each
tile is written beside the tree, moved into it and noted in a journal; nothing but finished tiles is
ever seen in a level, and ``mdata.bin``, without which Vaa3D refuses the volume, comes last.

Memory: a thread holds the tile it makes, its block (an eighth) and what the callable needs,
whatever the size of the volume. Scratch space: some blocks for each level.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.files import differences, storage_errors, write_whole
from neuroconn.vaa3d.journal import TileJournal
from neuroconn.vaa3d.ledger import Ledger
from neuroconn.vaa3d.making import PARTIAL, ReadBox, TileSource, Work
from neuroconn.vaa3d.mdata import FORMAT_NAME, encode
from neuroconn.vaa3d.plan import TeraflyPlan
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.record import NAME, TileRecord
from neuroconn.vaa3d.workers import Start, local

IDENTITY = "neuroconn.json"

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
    reused: int = 0
    """Tiles taken over from the export that was updated."""


def write_terafly(
    read: ReadBox | TileSource,
    output: Path,
    plan: TeraflyPlan,
    *,
    identity: Mapping[str, Any] | None = None,
    threads: int = 1,
    workers: Start | None = None,
    update: Path | None = None,
    may_differ: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> TeraflyReport:
    """Write the volume that ``read`` gives into the folder ``output``.

    Running it again with the same arguments continues where it stopped; the tree is the same
    however often that happens, and a finished tree is left alone.

    Parameters
    ----------
    read : callable or TileSource
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
    workers : callable, optional
        Others to make the tiles, instead of threads.
    update : Path, optional
        A finished export of the same identity, but for what ``may_differ``. Tiles whose stamps are
        the same are linked from there, or copied; the tree is that of an export from the start.
    may_differ : tuple of str, optional
        Keys of the identity that stamps speak for.
    progress : callable, optional
        Called with (tiles done, tiles in all) after every tile.

    Returns
    -------
    TeraflyReport

    Raises
    ------
    OutputError
        If ``output`` holds something else, is being written, or cannot be a TeraFly path; if
        ``update`` is no finished export, or one of something else.
    StorageError
        If the disk is full.
    VolumeError
        If ``read`` returns something else than it was asked for.
    """
    plan.check_path(output)
    source = read if isinstance(read, TileSource) else TileSource(read)
    whole = json.loads(json.dumps({"format": "terafly", **plan.identity(), **(identity or {})}))
    old = None if update is None else _updated(update, output, plan, whole, may_differ)
    _claim(output, whole)
    if (output / plan.levels[0].folder / "mdata.bin").exists():
        shutil.rmtree(output / PARTIAL, ignore_errors=True)
        return TeraflyReport(_levels(plan, _empty_tiles(plan, output)), 0, plan.tile_count)
    work = Work(source, output.absolute(), plan, None if update is None else update.absolute())
    return _run(work, Ledger(plan.pyramid, old), workers or local(threads), progress)


def _run(work: Work, ledger: Ledger, start: Start, progress: Progress | None) -> TeraflyReport:
    """Make the missing tiles, then the files that say where tiles are."""
    plan, made, reused = work.plan, 0, 0
    with storage_errors(work.output):
        work.scratch.mkdir(parents=True, exist_ok=True)
    with TileJournal(work.scratch / "journal") as journal:
        _clear_drafts(work.scratch)
        ledger.resume(journal.records(), work.has_tile, work.has_block)
        kept = ledger.done
        with start(work) as workers:
            while ledger.done < plan.tile_count:
                while workers.room > 0 and (job := ledger.next()) is not None:
                    workers.submit(job)
                for tile in workers.drain():
                    with storage_errors(work.output):
                        journal.record(tile)
                    for spent in ledger.finish(tile):
                        work.block_path(*spent).unlink(missing_ok=True)
                    made, reused = made + (not tile.reused), reused + tile.reused
                    if progress is not None:
                        progress(ledger.done, plan.tile_count)
        _finish(work, ledger.tiles)
    shutil.rmtree(work.scratch)
    empty = [int(np.count_nonzero(sizes == 0)) for sizes in ledger.tiles.sizes]
    return TeraflyReport(_levels(plan, empty), made, kept, reused)


def _finish(work: Work, tiles: TileRecord) -> None:
    """Write what makes a folder of tiles a volume; the finest level's table is the last file."""
    plan, scratch = work.plan, work.scratch
    with storage_errors(work.output):
        write_whole(work.output / NAME, tiles.lines(), scratch=scratch)
        for level in reversed(range(len(plan.levels))):
            folder = work.output / plan.levels[level].folder
            table = plan.table(level, partial(_has_file, tiles.sizes[level]))
            write_whole(folder / ".iim.format", FORMAT_NAME.encode(), scratch=scratch)
            write_whole(folder / "mdata.bin", encode(table), scratch=scratch)


def _has_file(sizes: NDArray[np.int64], index: ZYX) -> bool:
    return bool(sizes[index])


def _clear_drafts(scratch: Path) -> None:
    """Remove what a killed run left half-written."""
    for pattern in ("*.tif", "*.part", "*.tmp"):
        for path in scratch.glob(pattern):
            path.unlink(missing_ok=True)


def _updated(
    old: Path,
    output: Path,
    plan: TeraflyPlan,
    identity: dict[str, Any],
    may_differ: tuple[str, ...],
) -> TileRecord:
    """Read the record of an export to update, if it is one that can be."""
    path = old / IDENTITY
    if old.resolve() == output.resolve():
        raise OutputError(f"{old} cannot be updated in place: choose another folder for the output")
    if not path.is_file():
        raise OutputError(f"{old} is not an export of ours, so it cannot be updated")
    changed = [key for key in differences(_read_identity(path), identity) if key not in may_differ]
    if changed:
        raise OutputError(
            f"{old} is an export with other {', '.join(changed)}, so all tiles would change: "
            f"export without it"
        )
    unfinished = [x for x in plan.levels if not (old / x.folder / "mdata.bin").is_file()]
    if unfinished or (old / PARTIAL).exists():
        raise OutputError(f"{old} is not finished: run its own command again first")
    return TileRecord.read(old, [tiling.counts for tiling in plan.tilings])


def _claim(output: Path, identity: dict[str, Any]) -> None:
    """Make ``output`` ours, or find that it is already and holds the same volume."""
    path = output / IDENTITY
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file, and a TeraFly volume is a folder")
    if path.is_file():
        found = _read_identity(path)
        changed = differences(found, identity)
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


def _empty_tiles(plan: TeraflyPlan, output: Path) -> list[int]:
    """Count the tiles of a finished tree that have no file."""
    levels = (TeraflyVolume(output / level.folder).levels[0] for level in plan.levels)
    return [sum(path is None for _, path in level.tiles()) for level in levels]


def _levels(plan: TeraflyPlan, empty: list[int]) -> tuple[LevelSummary, ...]:
    return tuple(
        LevelSummary(x.folder, x.shape, x.spacing_um(plan.spacing_um), len(tiling), n)
        for x, tiling, n in zip(plan.levels, plan.tilings, empty, strict=True)
    )
