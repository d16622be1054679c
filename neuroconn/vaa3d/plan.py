"""Everything a TeraFly export decides before it writes the first byte."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from neuroconn.errors import OutputError, UsageError
from neuroconn.geometry import ZYX, Frame
from neuroconn.vaa3d.halving import Downsample
from neuroconn.vaa3d.mdata import NULL_TILE, Block, Column, TileTable
from neuroconn.vaa3d.names import Floats, TileNames, name_tiles
from neuroconn.vaa3d.partition import LevelPlan, Partition, Tiling, plan_terafly_levels
from neuroconn.vaa3d.pyramid import Pyramid
from neuroconn.vaa3d.tiles import Compression, check_compression, check_grey

PATH_LIMIT = 1024
"""Vaa3D keeps absolute paths in buffers of this many bytes, the closing NUL included."""
WINDOWS_LIMIT = 260
"""The same of Windows, unless it is told otherwise."""
MOST_TILES = 65535
"""Rows or columns of tiles that ``mdata.bin`` can count."""
MOST_VOXELS = 2**31 - 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TeraflyOptions:
    """How a TeraFly tree is written; none of this changes level 0's voxels but the last."""

    tile: int = 256
    """Tile side in voxels."""
    partition: Partition = "fixed"
    """``fixed`` tiles are made of whole chunks of the brain; ``balanced`` ones differ by a voxel
    at most, as in most volumes in circulation."""
    compression: Compression = "none"
    downsample: Downsample = "max"
    """``max`` keeps thin neurites in the overview; ``mean`` is for raw data."""
    isotropic: bool = False
    """Halve z only once the other axes have caught up with it."""
    avoid_powers_of_two: bool = False
    """Keep TeraFly from showing the brightest voxels of 16-bit views black."""


@dataclass(frozen=True)
class TeraflyPlan:
    """The levels, tiles and names of a volume to be written."""

    shape: ZYX
    dtype: Literal["uint8", "uint16"]
    spacing_um: Floats = (1.0, 1.0, 1.0)
    origin_um: Floats = (0.0, 0.0, 0.0)
    options: TeraflyOptions = field(default_factory=TeraflyOptions)

    def __post_init__(self) -> None:
        check_grey(self.dtype, "a TeraFly volume")
        check_compression(self.options.compression)
        check_header(self.shape, self.tilings)
        _ = self.names

    @cached_property
    def levels(self) -> list[LevelPlan]:
        """The pyramid, finest level first."""
        return plan_terafly_levels(self.shape, self.spacing_um, isotropic=self.options.isotropic)

    @cached_property
    def tilings(self) -> list[Tiling]:
        """How each level is cut."""
        return [
            Tiling.of(level.shape, self.options.tile, self.options.partition)
            for level in self.levels
        ]

    @cached_property
    def names(self) -> list[TileNames]:
        """What the tiles of each level are called."""
        return name_tiles(self.levels, self.tilings, self.spacing_um, self.origin_um)

    @cached_property
    def pyramid(self) -> Pyramid:
        """Which tiles every tile is made of."""
        return Pyramid(self.levels, self.tilings)

    @property
    def tile_count(self) -> int:
        """Tiles of all levels."""
        return sum(map(len, self.tilings))

    def table(self, level: int, present: Callable[[ZYX], bool]) -> TileTable:
        """Return the tile table of a level; tiles not ``present`` are listed as all zeros."""
        return tile_table(
            self.levels[level],
            self.tilings[level],
            self.names[level],
            present,
            frame=Frame(self.spacing_um, self.origin_um),
            itemsize=check_grey(self.dtype).itemsize,
        )

    def identity(self) -> dict[str, Any]:
        """Return what must agree for a rerun to continue this volume."""
        plan = {"shape": list(self.shape), "dtype": str(self.dtype), **asdict(self.options)}
        return plan | {"spacing_um": list(self.spacing_um), "origin_um": list(self.origin_um)}

    def check_path(self, output: Path) -> None:
        """Refuse folders whose tiles Vaa3D could not find; warn of those Windows would not open.

        Raises
        ------
        OutputError
            If the path holds ``NULL.tif``, which marks empty tiles wherever it stands in a path,
            or if a tile's absolute path would not fit Vaa3D's buffers.
        """
        root = str(output.absolute())
        if NULL_TILE in root:
            raise OutputError(
                f"{root} holds {NULL_TILE!r}, so TeraFly would take every tile for an empty one: "
                f"choose another folder"
            )
        longest = max(
            len(f"{root}/{level.folder}/{names.path((-1, -1, -1))}".encode())
            for level, names in zip(self.levels, self.names, strict=True)
        )
        if longest >= PATH_LIMIT:
            raise OutputError(
                f"tile paths below {root[:60]}... take {longest} bytes, Vaa3D reads fewer than "
                f"{PATH_LIMIT}: choose a shorter path"
            )
        if longest >= WINDOWS_LIMIT:
            logger.warning(
                "tile paths take up to %d bytes; Vaa3D reads fewer than %d, but on Windows fewer "
                "than %d: keep copies there in a folder with a shorter name",
                longest,
                PATH_LIMIT,
                WINDOWS_LIMIT,
            )


def check_header(shape: ZYX, tilings: Sequence[Tiling]) -> None:
    """Refuse what ``mdata.bin`` has no numbers for.

    Raises
    ------
    UsageError
        If a level has more rows or columns of tiles than 16 bits count, or an axis more voxels
        than 31 bits do.
    """
    rows, columns = (max(tiling.counts[axis] for tiling in tilings) for axis in (1, 2))
    if max(rows, columns) > MOST_TILES:
        raise UsageError(
            f"{rows} rows and {columns} columns of tiles are more than the {MOST_TILES} that "
            f"mdata.bin can count: use larger tiles"
        )
    if max(shape) > MOST_VOXELS:
        raise UsageError(
            f"{shape} voxels: mdata.bin counts {MOST_VOXELS} along an axis; export a crop"
        )


def tile_table(
    level: LevelPlan,
    tiling: Tiling,
    names: TileNames,
    present: Callable[[ZYX], bool],
    *,
    frame: Frame,
    itemsize: int,
) -> TileTable:
    """List the tiles of one level as ``mdata.bin`` does.

    Parameters
    ----------
    level, tiling, names
        The level, how it is cut, and what its tiles are called.
    present : callable
        Given a (z, y, x) tile position, whether it has a file; if not, it is all zeros.
    frame : Frame
        Voxel size and origin of level 0.
    itemsize : int
        Bytes per voxel: 1 or 2.
    """
    z0, y0, x0 = tiling.starts

    def column(row: int, col: int) -> Column:
        blocks = tuple(
            Block(names.file((k, row, col)) if present((k, row, col)) else None, start, depth)
            for k, (start, depth) in enumerate(zip(z0, tiling.z, strict=True))
        )
        size = tiling.y[row], tiling.x[col]
        return Column(names.folder(row, col), (y0[row], x0[col]), size, blocks, itemsize)

    _, ny, nx = tiling.counts
    rows = tuple(tuple(column(row, col) for col in range(nx)) for row in range(ny))
    return TileTable(level.shape, level.spacing_um(frame.spacing_um), frame.origin_um, rows)
