"""Read TeraFly volumes: where tiles lie comes from ``mdata.bin``, never from their names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, Frame
from neuroconn.vaa3d.mdata import Column, TileTable, decode
from neuroconn.vaa3d.tiles import read_tile


class TeraflyLevel:
    """One ``RES(...)`` folder, read box by box."""

    def __init__(self, folder: Path, table: TileTable) -> None:
        self.folder, self.table = folder, table
        self.dtype: np.dtype[Any] = table.dtype

    @classmethod
    def open(cls, folder: Path) -> TeraflyLevel:
        """Open a level by its ``mdata.bin``.

        Raises
        ------
        VolumeError
            If there is no readable ``mdata.bin``, the level is not one grey channel, or a tile is
            said to lie outside the folder.
        """
        path = folder / "mdata.bin"
        try:
            table = decode(path.read_bytes(), source=str(path))
        except OSError as error:
            raise VolumeError(
                f"cannot read {path} ({error.strerror}): without it nobody knows where tiles lie; "
                f"import the volume in TeraFly once, which writes it"
            ) from None
        kinds = {(column.itemsize, column.channels) for row in table.rows for column in row}
        if len(kinds) > 1 or {channels for _, channels in kinds} != {1}:
            raise VolumeError(f"{path}: tiles must share one dtype and one channel, got {kinds}")
        for row in table.rows:
            for column in row:
                _check_names(column, path)
        return cls(folder, table)

    @property
    def shape(self) -> ZYX:
        """Voxels along (z, y, x)."""
        return self.table.shape

    @property
    def frame(self) -> Frame:
        """Voxel size and origin in µm, to the seven digits the file holds."""
        spacing, origin = (
            tuple(float(f"{v:.7g}") for v in values)
            for values in (self.table.spacing_um, self.table.origin_um)
        )
        return Frame(spacing, origin)  # type: ignore[arg-type]

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of ``box``; absent (NULL) tiles are zeros.

        Parameters
        ----------
        box : Box
            Voxels of this level; must lie inside it.

        Returns
        -------
        ndarray of uint8 or uint16, shape ``box.shape``

        Raises
        ------
        IndexError
            If the box leaves the level.
        VolumeError
            If a listed tile is missing, damaged, or not what ``mdata.bin`` says.
        """
        if not Box.of_shape(self.shape).contains(box):
            raise IndexError(f"{box} leaves the level of shape {self.shape}")
        values = np.zeros(box.shape, dtype=self.dtype)
        for tile, path in self.stored(box):
            shared = tile.clip(box)
            planes, rows, columns = shared.within(tile)
            pixels = read_tile(path, tile.shape, self.dtype, planes)
            values[shared.within(box)] = pixels[:, rows, columns]
        return values

    def any(self, box: Box) -> bool:
        """Whether ``box`` meets a tile that has a file; if not, all its voxels are zero."""
        return any(True for _ in self.stored(box))

    def stored(self, box: Box) -> Iterator[tuple[Box, Path]]:
        """Voxels and file of every tile that meets ``box`` and is not all zeros by its name."""
        for row in self.table.rows:
            if not _meets(row[0].start[0], row[0].shape[0], box, axis=1):
                continue
            for column in row:
                if _meets(column.start[1], column.shape[1], box, axis=2):
                    for block in column.blocks:
                        tile = column.box(block)
                        if block.file is not None and tile.clip(box).size:
                            yield tile, self._path(column, block.file)

    def _path(self, column: Column, file: str) -> Path:
        return self.folder / column.folder / file

    def missing(self) -> list[Path]:
        """Return listed tiles that have no file; each folder is read once, no tile is touched.

        Raises
        ------
        VolumeError
            If a tile is a link that leads out of the level.
        """
        root = self.folder.resolve()
        stored = (path for _, path in self.tiles() if path is not None)
        lost = []
        for folder, paths in groupby(stored, key=lambda path: path.parent):
            found = _files(folder, root)
            lost += [path for path in paths if path.name not in found]
        return lost

    def tiles(self) -> list[tuple[Box, Path | None]]:
        """Every tile's voxels and file (None: all zeros), in the order of ``mdata.bin``."""
        return [
            (column.box(b), None if b.file is None else self._path(column, b.file))
            for row in self.table.rows
            for column in row
            for b in column.blocks
        ]


class TeraflyVolume:
    """A TeraFly tree: its levels, finest first.

    Parameters
    ----------
    path : Path
        The folder that holds the ``RES(...)`` folders, or one of them.

    Raises
    ------
    VolumeError
        If there is no level to read.
    """

    def __init__(self, path: Path | str) -> None:
        root = Path(path)
        folders = [root] if root.name.startswith("RES") else sorted(root.glob("RES*"))
        levels = [TeraflyLevel.open(folder) for folder in folders if folder.is_dir()]
        if not levels:
            raise VolumeError(f"{root} holds no RES(...) folder, so it is not a TeraFly volume")
        self.path = root
        self.levels = sorted(levels, key=lambda level: -np.prod(level.shape, dtype=float))

    @property
    def shape(self) -> ZYX:
        """Voxels of the finest level along (z, y, x)."""
        return self.levels[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8 or uint16."""
        return self.levels[0].dtype

    @property
    def frame(self) -> Frame:
        """Voxel size and origin of the finest level, in µm."""
        return self.levels[0].frame

    def read(self, box: Box, level: int = 0) -> NDArray[Any]:
        """Return the voxels of ``box`` at one level; see :meth:`TeraflyLevel.read`."""
        return self.levels[level].read(box)


def _check_names(column: Column, source: Path) -> None:
    """Refuse names that lead out of the level: the table may come from anywhere."""
    files = [block.file for block in column.blocks if block.file is not None]
    parts = PurePosixPath(column.folder).parts
    plain = all(file not in ("", ".", "..") and "/" not in file for file in files)
    shown = all(name.isprintable() for name in (column.folder, *files))
    if not plain or not shown or ".." in parts or parts[:1] == ("/",):
        raise VolumeError(
            f"{source} lists {column.folder!r} / {files[:1]}, which is not a name inside its own "
            "folder: the table is damaged or not to be trusted"
        )


def _files(folder: Path, root: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise VolumeError(f"{folder} cannot be read: {error.strerror}") from error
    links = [folder, *(folder / entry.name for entry in files if entry.is_symlink())]
    for path in links:
        if not path.resolve().is_relative_to(root):
            raise VolumeError(
                f"{path} leads out of {root}: tiles must lie in their volume. Copy them into it"
            )
    return {entry.name for entry in files}


def _meets(start: int, size: int, box: Box, *, axis: int) -> bool:
    return start < box.stop[axis] and box.start[axis] < start + size
