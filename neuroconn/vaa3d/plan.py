"""Everything a TeraFly export decides before it writes the first byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX, Frame
from neuroconn.vaa3d.halving import Downsample
from neuroconn.vaa3d.mdata import NULL_TILE, Block, Column, TileTable
from neuroconn.vaa3d.names import Floats, TileNames, name_tiles
from neuroconn.vaa3d.partition import LevelPlan, Partition, Tiling, plan_terafly_levels
from neuroconn.vaa3d.tiles import Compression, check_compression, check_grey

PATH_LIMIT = 1024
"""Vaa3D keeps absolute paths in buffers of this many bytes, the closing NUL included."""


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
        """Refuse folders whose tiles Vaa3D could not find.

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
