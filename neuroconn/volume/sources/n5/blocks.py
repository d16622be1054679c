"""The blocks of an N5 array: one file each, and none where all is 0."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.hdf5.file import one_line
from neuroconn.volume.sources.n5.metadata import N5Array

MAX_BLOCKS = 2**28
"""Blocks that are kept track of, one byte each."""
SPARSEST = 1000
"""An array with fewer than one block in so many stored is damaged rather than sparse."""


def listed_blocks(folder: Path, array: N5Array, where: str) -> tuple[NDArray[np.bool_], int, bytes]:
    """Return which blocks there are, their bytes in all, and the first bytes of two of them.

    Raises
    ------
    VolumeError
        If there are next to none, a block is empty, or no block at all.
    """
    if math.prod(array.grid) > MAX_BLOCKS:
        raise VolumeError(
            f"{where} is {array.shape} in blocks of {array.block}, more blocks than a disk holds"
        )
    blocks = sorted(_blocks(folder, array, where))
    if len(blocks) * SPARSEST < math.prod(array.grid):
        raise VolumeError(
            f"{where} is {array.shape} and holds {len(blocks)} of {math.prod(array.grid)} blocks; "
            "it was never written, or is damaged. Copy it again"
        )
    present = np.zeros(array.grid, np.bool_)
    for block, _ in blocks:
        present[block] = True
    sample = b""
    for block, _ in (blocks[0], blocks[-1]):
        with folder.joinpath(*map(str, block)).open("rb") as file:
            sample += file.read(4096)
    return present, sum(size for _, size in blocks), sample


def _blocks(folder: Path, array: N5Array, where: str) -> list[tuple[tuple[int, ...], int]]:
    """List every block on disk with its size; what is no block of the grid is passed over."""
    found = []
    queue: list[tuple[Path, tuple[int, ...]]] = [(folder, ())]
    with one_line(where):
        while queue:
            here, index = queue.pop()
            for name, size in _entries(here, array, len(index)):
                inner = (*index, int(name))
                if size is None:
                    queue.append((here / name, inner))
                else:
                    found.append((inner, size))
    return found


def _entries(folder: Path, array: N5Array, axis: int) -> Iterator[tuple[str, int | None]]:
    """Yield what is numbered as blocks are: folders, and on the last axis files and their size."""
    last, header = axis + 1 == len(array.grid), 4 + 4 * len(array.grid)
    with os.scandir(folder) as entries:
        for entry in entries:
            number = re.fullmatch(r"0|[1-9][0-9]{0,17}", entry.name)
            if number is None or int(entry.name) >= array.grid[axis]:
                continue
            if entry.is_symlink() or entry.is_dir() == last:
                raise VolumeError(f"{entry.path} is no block of its own; copy it again")
            size = entry.stat().st_size if last else None
            if size is not None and size < header:
                raise VolumeError(f"{entry.path} has {size} bytes, no block; copy it again")
            yield entry.name, size
