"""TeraFly trees without ``mdata.bin``: where tiles lie follows from their order and their sizes.

The numbers in names are places in tenths of a micrometre, rounded and of an unknown voxel size, so
they give the order only. Sizes come from the tiles themselves: all rows have the same columns
and all columns the same z blocks, so the first tile of every row, the first tile of every column
and the tiles of the first column tell all the others.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.mdata import Block, Column, TileTable
from neuroconn.vaa3d.tiles import STACKS

MANY = 1000
"""Tiles whose headers are all read before a conversion; of more, those that tell the others."""

_SUFFIXES = (".tif", ".tiff", *STACKS)
_LEVEL = re.compile(r"RES\((\d+)x(\d+)x(\d+)\)")
_NUMBER = re.compile(r"\d+")
_Grid = list[list[list[Path]]]
"""Tiles by row, column and block."""
_Sizes = tuple[list[int], list[int], list[int]]
"""Sizes of tiles along z, y and x."""


@dataclass(frozen=True, slots=True)
class TileFacts:
    """What a tile says about itself."""

    shape: ZYX
    dtype: np.dtype[Any]
    """uint8 or uint16, native."""
    signed: bool = False
    """Whether the file calls them signed; Vaa3D reads them as unsigned all the same."""


def named_shape(folder: Path) -> ZYX | None:
    """Return the (z, y, x) shape that the name of a level says, if it says one.

    Examples
    --------
    >>> named_shape(Path("brain/RES(300x420x130)"))
    (130, 300, 420)
    """
    match = _LEVEL.fullmatch(folder.name)
    if match is None:
        return None
    y, x, z = (int(n) for n in match.groups())
    return z, y, x


def table_from_names(folder: Path, tile_facts: Callable[[Path], TileFacts]) -> TileTable:
    """Lay out a level by the order of its names and the headers of its tiles.

    Parameters
    ----------
    folder : Path
        A ``RES(...)`` folder.
    tile_facts : callable
        Says what a tile's header says, or raises :class:`VolumeError`.

    Returns
    -------
    TileTable
        Its spacing is 1 and its origin 0: nothing in the tree tells them.

    Raises
    ------
    VolumeError
        If a tile is missing, or tiles contradict each other or the folder's name; the message
        names the tile or the column.
    """
    grid = _grid(folder)
    facts = {path: tile_facts(path) for path in _telling(grid)}
    sizes, dtype = _usual(grid, facts)
    for path, box in _placed(grid, sizes):
        if path in facts and (facts[path].shape, facts[path].dtype) != (box.shape, dtype):
            raise VolumeError(
                f"{path} holds {facts[path].dtype} {facts[path].shape}, and where it lies the "
                f"others leave room for {dtype} {box.shape}: it is damaged, or tiles are missing"
            )
    shape, named = (sum(sizes[0]), sum(sizes[1]), sum(sizes[2])), named_shape(folder)
    if named not in (None, shape):
        raise VolumeError(
            f"{folder} is named after {named} voxels (z, y, x) and its tiles add up to {shape}: "
            "a row, a column or a layer of tiles is missing. Copy the volume again"
        )
    return _table(folder, grid, sizes, dtype.itemsize)


def _grid(folder: Path) -> _Grid:
    """List all tiles in the order of their names; every column must look like the first one."""
    root = folder.resolve()
    rows = [(row, _folders(row, root)) for row in _folders(folder, root)]
    grid = []
    for row, columns in rows:
        _check_alike(columns, row, rows[0][1], rows[0][0])
        grid.append([_tiles(column, root) for column in columns])
        for column, tiles in zip(columns, grid[-1], strict=True):
            _check_alike(tiles, column, grid[0][0], rows[0][1][0])
    return grid


def _folders(parent: Path, root: Path) -> list[Path]:
    """Rows of a level or columns of a row: what TeraFly takes for one has no dot and no blank."""
    found = [entry for entry in _entries(parent, root) if not {".", " "} & set(entry.name)]
    for entry in found:
        if not entry.is_dir():
            raise VolumeError(
                f"{parent / entry.name} is a file where TeraFly expects folders of tiles; "
                "move it away"
            )
    return _ordered([parent / entry.name for entry in found], parent)


def _tiles(column: Path, root: Path) -> list[Path]:
    found = [e.name for e in _entries(column, root) if "." in e.name and not e.name.startswith(".")]
    for name in found:
        if not name.lower().endswith(_SUFFIXES):
            raise VolumeError(
                f"{column / name} is no tile, and TeraFly takes every file for one; move it away"
            )
    return _ordered([column / name for name in found], column)


def _entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise VolumeError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in found:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
            raise VolumeError(
                f"{entry.path} leads out of {root}: tiles must lie in their volume. "
                "Copy them into it"
            )
    return found


def _ordered(paths: list[Path], parent: Path) -> list[Path]:
    """Sort by name, as TeraFly does; refuse names whose numbers sort otherwise."""
    if not paths:
        raise VolumeError(f"{parent} holds no tiles; copy the volume again")
    paths = sorted(paths)
    numbers = [int(label) for label in map(_label, paths) if label.isdigit()]
    if len(numbers) == len(paths) and any(a >= b for a, b in pairwise(numbers)):
        raise VolumeError(
            f"the names in {parent} sort one way as text and another as numbers, so nobody knows "
            "the order of its tiles: pad the numbers with zeros to one width"
        )
    return paths


def _label(path: Path) -> str:
    """Last number of a name, its place along the axis that names in one folder differ in."""
    numbers = _NUMBER.findall(path.name.partition(".")[0])
    return numbers[-1] if numbers else ""


def _check_alike(paths: list[Path], here: Path, others: list[Path], there: Path) -> None:
    mine, theirs = ([_label(path) for path in group] for group in (paths, others))
    if mine == theirs:
        return
    lost = [path.name for path in others if _label(path) not in mine]
    extra = [path.name for path in paths if _label(path) not in theirs]
    raise VolumeError(
        f"{here} holds {len(paths)} parts and {there} {len(others)}, which must be alike "
        f"(only there: {lost[:3]}, only here: {extra[:3]}): without mdata.bin there is no telling "
        "what belongs into the hole. Copy the volume again"
    )


def _telling(grid: _Grid) -> Iterator[Path]:
    """Tiles whose headers are read."""
    if len(grid) * len(grid[0]) * len(grid[0][0]) <= MANY:
        yield from (path for row in grid for column in row for path in column)
        return
    yield from dict.fromkeys([*grid[0][0], *(r[0][0] for r in grid), *(c[0] for c in grid[0])])


def _usual(grid: _Grid, facts: dict[Path, TileFacts]) -> tuple[_Sizes, np.dtype[Any]]:
    """Return the size of every layer, row and column and the type: what most tiles of it say."""
    counts = len(grid[0][0]), len(grid), len(grid[0])
    votes = [[Counter[int]() for _ in range(count)] for count in counts]
    types = Counter(found.dtype for found in facts.values())
    for index in product(*map(range, counts)):
        found = facts.get(grid[index[1]][index[2]][index[0]])
        if found is not None:
            for axis, place, size in zip(votes, index, found.shape, strict=True):
                axis[place][size] += 1
    z, y, x = ([vote.most_common(1)[0][0] for vote in axis] for axis in votes)
    return (z, y, x), types.most_common(1)[0][0]


def _placed(grid: _Grid, sizes: _Sizes) -> Iterator[tuple[Path, Box]]:
    """Tiles and their voxels: the end of one is the start of the next."""
    z, y, x = (list(pairwise(accumulate(axis, initial=0))) for axis in sizes)
    for row, (y0, y1) in zip(grid, y, strict=True):
        for column, (x0, x1) in zip(row, x, strict=True):
            for path, (z0, z1) in zip(column, z, strict=True):
                yield path, Box((z0, y0, x0), (z1, y1, x1))


def _table(folder: Path, grid: _Grid, sizes: _Sizes, itemsize: int) -> TileTable:
    tiles = _placed(grid, sizes)
    rows = []
    for row in grid:
        columns = []
        for paths in row:
            placed = [next(tiles) for _ in paths]
            (_, y, x), (_, height, width) = placed[0][1].start, placed[0][1].shape
            blocks = tuple(Block(p.name, b.start[0], b.shape[0]) for p, b in placed)
            place = paths[0].parent.relative_to(folder).as_posix()
            columns.append(Column(place, (y, x), (height, width), blocks, itemsize))
        rows.append(tuple(columns))
    shape = sum(sizes[0]), sum(sizes[1]), sum(sizes[2])
    return TileTable(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(rows))
