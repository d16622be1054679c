"""The finest level of a TeraFly tree, with or without the table of its tiles."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.conformance.frames import frame_of_names, neighbour_frame
from neuroconn.vaa3d.mdata import Column, TileTable
from neuroconn.vaa3d.named import TileFacts, named_shape, table_from_names
from neuroconn.vaa3d.reader import TeraflyLevel
from neuroconn.volume.sources.base import Choice, Identity, Source, chosen_channel, digest
from neuroconn.volume.sources.vaa3d.terafly_tiles import check_tile, read_window, tile_facts

TABLE = "mdata.bin"
SHOWN = 3
"""Missing tiles that a message names; it counts them all."""


class TeraflySource(Source):
    """Tiles of one level; every read opens the tiles it needs, so threads share nothing."""

    format = "TeraFly"

    def __init__(self, level: TeraflyLevel, *, placed: bool) -> None:
        """``placed``: whether the table says where the volume lies, or only the order of tiles."""
        self._level = level
        self.shape: ZYX = level.shape
        self.dtype = np.dtype(level.dtype)
        tiles = level.tiles()
        stored = [(box, path) for box, path in tiles if path is not None]
        self.unit: ZYX = (
            1, max(box.shape[1] for box, _ in tiles), max(box.shape[2] for box, _ in tiles),
        )  # fmt: skip
        self.description = f"TeraFly level of {len(tiles)} tiles"
        self.identity = _identity(level.folder, tiles, self.dtype)
        self.notes = tuple(_notes(stored, len(tiles), self.dtype))
        if placed:
            self._place()
        else:
            self._place_by_neighbours()

    def _place(self) -> None:
        table, source = self._level.table, self._level.folder / TABLE
        with source.open("rb") as file:
            axes = struct.unpack_from("<3i", file.read(16), 4)
        if axes != (1, 2, 3):
            self.notes += (
                f"{source} declares the axes {axes} instead of (1, 2, 3): the volume may be "
                "mirrored or turned against its brain. Voxels are kept as they lie",
            )
        try:
            frame = self._level.frame
            self.spacing_um, self.origin_um = frame.spacing_um, frame.origin_um
        except ValueError:
            self.notes += (
                f"{source} has no usable voxel size or origin: {table.spacing_um} µm, "
                f"{table.origin_um} µm",
            )

    def _place_by_neighbours(self) -> None:
        """Without a table: by that of another level, or by names where these leave no doubt."""
        folder, table = self._level.folder, self._level.table
        near = neighbour_frame(folder, table.shape)
        spacing, origin = frame_of_names(table)
        said = "and voxel size and origin are unknown"
        if near is not None:
            self.spacing_um, self.origin_um = near[:2]
            said = f"and voxel size and origin are those of {near[2]}"
        elif spacing is not None and origin is not None:
            self.spacing_um, self.origin_um = spacing, origin
            said = "which also tell voxel size and origin (to a micrometre)"
        self.notes += (
            f"{folder} has no {TABLE}: tiles are laid out in the order of their names, {said}",
        )

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume; tiles without a file are zeros."""
        volume = np.zeros(box.shape, self.dtype)
        for tile, path in self._level.stored(box):
            shared = tile.clip(box)
            facts = TileFacts(tile.shape, self.dtype)
            volume[shared.within(box)] = read_window(path, facts, shared.within(tile))
        return volume


def open_terafly(path: Path, choice: Choice) -> TeraflySource:
    """Open the finest level of a tree, or the level that ``path`` is.

    Parameters
    ----------
    path : Path
        The folder of the ``RES(...)`` folders, or one of them.
    choice : Choice
        Trees of one grey channel only.

    Raises
    ------
    VolumeError
        If tiles are missing, contradict each other or the table, or are not one grey channel of 8
        or 16 bit. Of tiles that differ from their volume, those that the opened headers do not
        give away are found when they are read.
    """
    chosen_channel(1, choice, str(path))
    folder = _finest(path)
    _check_channels(folder)
    placed = (folder / TABLE).exists()
    if placed:
        level = TeraflyLevel.open(folder)
        _check_cover(level.table, folder / TABLE)
        _check_present(level)
    else:
        level = TeraflyLevel(folder, table_from_names(folder, tile_facts))
    return TeraflySource(level, placed=placed)


def _finest(path: Path) -> Path:
    folders = [entry for entry in path.glob("RES*") if entry.is_dir()]
    if not folders:
        return path
    return max(sorted(folders), key=_voxels)


def _check_channels(folder: Path) -> None:
    """Refuse trees of several channels, which are laid out in another way."""
    try:
        kind = (folder / ".iim.format").read_text(errors="replace").strip()
    except OSError:
        kind = ""
    signs = [kind] if "4D" in kind else []
    signs += [name for name in ("cmap.bin", "CH_0", "CH_00", "CHN_0") if (folder / name).exists()]
    if signs:
        raise VolumeError(
            f"{folder} is a TeraFly level of several channels ({', '.join(signs)}); a brain has "
            "one grey channel: write one channel as a tree of its own"
        )


def _voxels(folder: Path) -> int:
    z, y, x = named_shape(folder) or TeraflyLevel.open(folder).shape
    return z * y * x


def _check_cover(table: TileTable, source: Path) -> None:
    """Refuse tables whose tiles overlap, leave holes or leave the volume."""
    depth, height, width = table.shape
    _check_chain([_span(row[0], 0) for row in table.rows], height, "rows", source)
    for row in table.rows:
        _check_chain([_span(column, 1) for column in row], width, "columns", source)
        for column in row:
            if _span(column, 0) != _span(row[0], 0):
                raise VolumeError(f"{source} is damaged: {column.folder} leaves its row")
            blocks = [(block.start, block.start + block.depth) for block in column.blocks]
            _check_chain(blocks, depth, f"tiles of {column.folder}", source)


def _span(column: Column, axis: int) -> tuple[int, int]:
    return column.start[axis], column.start[axis] + column.shape[axis]


def _check_chain(spans: list[tuple[int, int]], size: int, what: str, source: Path) -> None:
    whole = spans and spans[0][0] == 0 and spans[-1][1] == size
    if not whole or any(a >= b for a, b in spans) or any(a[1] != b[0] for a, b in pairwise(spans)):
        shown = ", ".join(f"{a}:{b}" for a, b in spans[:SHOWN])
        raise VolumeError(
            f"{source} is damaged: its {what} should fill 0:{size} one after another and lie at "
            f"{shown}{', ...' if len(spans) > SHOWN else ''}. Import the volume again in TeraFly"
        )


def _check_present(level: TeraflyLevel) -> None:
    missing = level.missing()
    if missing:
        shown = ", ".join(str(path.relative_to(level.folder)) for path in missing[:SHOWN])
        count = sum(path is not None for _, path in level.tiles())
        raise VolumeError(
            f"{level.folder} lacks {len(missing)} of the {count} tiles that {TABLE} lists "
            f"({shown}{', ...' if len(missing) > SHOWN else ''}): copy them again"
        )


def _notes(stored: list[tuple[Box, Path]], count: int, dtype: np.dtype[Any]) -> Iterator[str]:
    """Look into the first tile, so that a tree of another kind or codec is refused at once."""
    if len(stored) < count:
        yield f"{count - len(stored)} of {count} tiles have no file by intention and read as zeros"
    if stored:
        box, path = stored[0]
        facts = tile_facts(path)
        check_tile(path, facts, TileFacts(box.shape, dtype))
        if facts.signed:
            yield f"{path} calls its voxels signed; they are read as unsigned, as TeraFly does"


def _identity(folder: Path, tiles: list[tuple[Box, Path | None]], dtype: np.dtype[Any]) -> Identity:
    """Identify by names and places: asking half a million files for their sizes takes minutes."""
    stored = [path for _, path in tiles if path is not None]
    places = [
        [box.start, box.stop, path and path.relative_to(folder).as_posix()] for box, path in tiles
    ]
    heads = b""
    for path in (*stored[:1], *stored[-1:]):
        try:
            with path.open("rb") as file:
                heads += file.read(4096)
        except OSError as error:
            raise VolumeError(f"{path} cannot be read: {error.strerror}") from error
    return Identity(
        name=folder.name,
        files=len(stored),
        bytes=sum(box.size for box, path in tiles if path is not None) * dtype.itemsize,
        layout=digest([dtype.str, places]),
        sample=digest(heads),
    )
