"""Making one tile: on a thread of this process, or on a worker somewhere that sees the output.

A task reads what it needs, writes one tile and one block, each whole and under its final name only
when it is on disk, and returns a few numbers. Two tasks that make the same tile, because one of
them was believed lost, write the same bytes.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import OutputError, StorageError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.files import publish, storage_errors
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.journal import Block, Made
from neuroconn.vaa3d.ledger import Job
from neuroconn.vaa3d.plan import TeraflyPlan
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.tiles import write_tile

PARTIAL = ".partial"
"""Folder beside the levels for all that is not finished."""

ReadBox = Callable[[Box], NDArray[Any] | None]
"""Level-0 voxels of a box, in the plan's dtype; None says that all of them are zero."""


@dataclass(frozen=True, slots=True)
class TileSource:
    """Where the voxels of level 0 come from. For many processes, all of it must pickle."""

    read: ReadBox
    """Called from several threads at once."""
    stamp: Callable[[Box], int] | None = None
    """Digest, below 2**64, of what the voxels of a box depend on and may change from one export to
    the next of the same identity."""
    keep: Callable[[Box], bool] | None = None
    """Whether a tile is wanted; all voxels of one that is not are zero."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is exported to where; pickles to workers."""

    source: TileSource
    output: Path
    plan: TeraflyPlan
    update: Path | None = None
    """A finished export whose tiles are taken over where they would be the same."""
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Tells runs apart: what a worker has opened for another is not what is there now."""

    @property
    def scratch(self) -> Path:
        """Where unfinished files and blocks are."""
        return self.output / PARTIAL

    def tile_path(self, level: int, index: ZYX, root: Path | None = None) -> Path:
        """Return the file of a tile."""
        folder = (root or self.output) / self.plan.levels[level].folder
        return folder / self.plan.names[level].path(index)

    def block_path(self, level: int, index: ZYX) -> Path:
        """Return the file of a block: voxels and nothing else, in C order."""
        return self.scratch / f"{_name(level, index)}.block"

    def has_tile(self, level: int, index: ZYX, size: int) -> bool:
        """Whether the file of a tile is there and has its size."""
        return _has(self.tile_path(level, index), size)

    def has_block(self, level: int, index: ZYX) -> bool:
        """Whether the file of a block is there and whole."""
        size = self.plan.pyramid.gives(level, index).size * np.dtype(self.plan.dtype).itemsize
        return _has(self.block_path(level, index), size)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A tile under temporary names, or what stands for it."""

    tile: Path | None
    block: Path | None
    made: Made


def make_tile(work: Work, job: Job, gate: AbstractContextManager[Any] | None = None) -> Made:
    """Make one tile and the block it gives.

    Parameters
    ----------
    work : Work
        What is exported.
    job : Job
        Which tile; its inputs are done.
    gate : context manager, optional
        Held while computing, and not while waiting for the disk.

    Raises
    ------
    StorageError
        If the disk is full, or a block is not there.
    VolumeError
        If the source gives something else than it was asked for.
    """
    with storage_errors(work.output):
        with gate or nullcontext():
            draft = _draft(work, job)
        # Only now, so that a tile is never listed before all of it is on disk.
        if draft.block is not None:
            publish(draft.block, work.block_path(job.level, job.index))
        if draft.tile is not None:
            publish(draft.tile, work.tile_path(job.level, job.index))
        return draft.made


def _draft(work: Work, job: Job) -> _Draft:
    region = work.plan.pyramid.needs(job.level, job.index)
    stamp = _stamp(work, region) if job.level == 0 else 0
    if job.old is not None and _is_same(job, stamp):
        return _taken_over(work, job, stamp)
    values = _level_0(work, region) if job.level == 0 else _assembled(work, job, region)
    if values is not None and work.plan.options.avoid_powers_of_two:
        _step_down(values)
    made = Made(job.level, job.index, 0, Block.ZERO, stamp)
    if values is None or not values.any():
        return _Draft(None, None, made)
    return _written(work, made, region, values)


def _written(work: Work, made: Made, region: Box, values: NDArray[Any]) -> _Draft:
    """Write tile and block under temporary names."""
    level, index, tile, block = made.level, made.index, None, None
    own = values[work.plan.tilings[level].box(index).within(region)]
    if own.any():
        tile = _temporary(work, level, index, "tif")
        write_tile(tile, own, compression=work.plan.options.compression)
        made = replace(made, size=tile.stat().st_size)
    coarse = _halved(work.plan, level, index, region, values)
    if coarse.any():
        block = _temporary(work, level, index, "part")
        coarse.tofile(block)
        made = replace(made, block=Block.STORED)
    return _Draft(tile, block, made)


def _stamp(work: Work, region: Box) -> int:
    """Digest of what a region depends on, tiles that are left out included."""
    if work.source.stamp is None:
        return 0
    stamp = work.source.stamp(region)
    tiles = work.plan.tilings[0].overlapping(region)
    if work.source.keep is None or len(tiles) == 1:
        return stamp
    for tile in tiles:
        stamp = (stamp * 1_000_003 + work.source.keep(tile)) % 2**64
    return stamp


def _is_same(job: Job, stamp: int) -> bool:
    if job.level:
        return all(block == Block.OLD for _, block in job.inputs)
    return job.old is not None and job.old[1] == stamp


def _taken_over(work: Work, job: Job, stamp: int) -> _Draft:
    """Link the tile of the export that is updated, or copy it where links cannot be."""
    size = job.old[0] if job.old else 0
    made = Made(job.level, job.index, size, Block.OLD, stamp)
    if not size or work.update is None:
        return _Draft(None, None, made)
    old = work.tile_path(job.level, job.index, work.update)
    if not _has(old, size):
        raise OutputError(f"{old} is missing or damaged: do not update from it, export anew")
    tile = _temporary(work, job.level, job.index, "tif")
    try:
        os.link(old, tile)
    except OSError:  # another file system, or one without links
        shutil.copyfile(old, tile)
    return _Draft(tile, None, made)


def _level_0(work: Work, region: Box) -> NDArray[Any] | None:
    """Voxels of the source; where tiles are left out, zeros."""
    keep, tiles = work.source.keep, work.plan.tilings[0].overlapping(region)
    if keep is None or len(tiles) == 1:
        return None if keep is not None and not keep(tiles[0]) else _read(work, region)
    values = np.zeros(region.shape, dtype=work.plan.dtype)
    for tile in filter(keep, tiles):
        part = tile.clip(region)
        found = _read(work, part)
        if found is not None:
            values[part.within(region)] = found
    return values


def _read(work: Work, box: Box) -> NDArray[Any] | None:
    values, dtype = work.source.read(box), np.dtype(work.plan.dtype)
    if values is not None and (values.shape != box.shape or values.dtype != dtype):
        raise VolumeError(
            f"asked for {dtype} {box.shape}, got {values.dtype} {values.shape}: "
            f"every tile of a TeraFly volume must be grey and of one dtype"
        )
    return values


def _assembled(work: Work, job: Job, region: Box) -> NDArray[Any] | None:
    """Put a region of a coarse level together from the blocks of the level below."""
    if all(block == Block.ZERO for _, block in job.inputs):
        return None
    below, dtype = job.level - 1, work.plan.dtype
    values = np.zeros(region.shape, dtype=dtype)
    for child, kind in job.inputs:
        block = work.plan.pyramid.gives(below, child)
        part = block.clip(region)
        if not part.size or kind == Block.ZERO:
            continue
        if kind == Block.OLD:
            values[part.within(region)] = _old_voxels(work, job.level, part)
            continue
        path = work.block_path(below, child)
        try:
            stored = np.memmap(path, dtype=dtype, mode="r", shape=block.shape)
        except (FileNotFoundError, ValueError):
            raise StorageError(f"{path} is gone or cut off: run the same command again") from None
        values[part.within(region)] = stored[part.within(block)]
    return values


def _old_voxels(work: Work, level: int, part: Box) -> NDArray[Any]:
    """Halve what the export that is updated holds of the level below."""
    step = work.plan.levels[level].step
    (z0, y0, x0), (z1, y1, x1) = (
        tuple(v * k for v, k in zip(corner, step, strict=True))
        for corner in (part.start, part.stop)
    )
    volume = _opened(work.update or work.output, work.run)
    found = volume.levels[level - 1].read(Box((z0, y0, x0), (z1, y1, x1)))
    return halve(found, step, work.plan.options.downsample)


@lru_cache(maxsize=2)
def _opened(path: Path, _run: str) -> TeraflyVolume:
    return TeraflyVolume(path)


def _halved(
    plan: TeraflyPlan, level: int, index: ZYX, region: Box, values: NDArray[Any]
) -> NDArray[Any]:
    """Return the block of a tile."""
    block = plan.pyramid.gives(level, index)
    if not block.size:
        return np.zeros((0, 0, 0), dtype=values.dtype)
    step = plan.levels[level + 1].step
    parts = (
        slice(low * k - start, high * k - start)
        for low, high, k, start in zip(block.start, block.stop, step, region.start, strict=True)
    )
    return halve(values[tuple(parts)], step, plan.options.downsample)


def _step_down(values: NDArray[Any]) -> None:
    """Lower powers of two in place; see :func:`neuroconn.vaa3d.overlay.avoid_powers_of_two`."""
    if values.dtype == np.uint16:
        # Imported here: numba takes longer to load than a small tree takes to write.
        from neuroconn.vaa3d.kernels import step_down

        step_down(values)


def _temporary(work: Work, level: int, index: ZYX, suffix: str) -> Path:
    # Of its own: a task that was believed lost may still be writing.
    return work.scratch / f"{_name(level, index)}-{secrets.token_hex(4)}.{suffix}"


def _name(level: int, index: ZYX) -> str:
    return "-".join(map(str, (level, *index)))


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
