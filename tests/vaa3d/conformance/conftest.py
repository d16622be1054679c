"""A TeraFly tree of nine tiles, written with tifffile and a few lines of our own, to be broken."""

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.mdata import FORMAT_NAME, Block, Column, TileTable, encode

sys.path.insert(0, str(Path(__file__).parent))  # the breaks are modules of their own

Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
SPACING = (2.0, 0.5, 0.5)
ORIGIN = (10.0, 7.0, 12.0)
SIZES: tuple[Sizes, ...] = (((4, 2), (12, 8), (150, 122)), ((3,), (10,), (136,)))
VOLUME = 3 + 4 * np.random.default_rng(0).integers(1, 900, (6, 20, 272), dtype=np.uint16)


@dataclass
class Tree:
    """A tree and how it was written."""

    root: Path
    tables: list[TileTable] = field(default_factory=list)

    def folder(self, level: int) -> Path:
        z, y, x = self.tables[level].shape
        return self.root / f"RES({y}x{x}x{z})"

    def column(self, level: int, row: int, column: int) -> Column:
        return self.tables[level].rows[row][column]

    def tile(self, z: int = 0, y: int = 0, x: int = 0, level: int = 0) -> Path:
        column = self.column(level, y, x)
        return self.folder(level) / column.folder / str(column.blocks[z].file)

    def tiles(self) -> list[Path]:
        return sorted(self.root.rglob("*.tif"))

    def table(self, level: int = 0) -> Path:
        return self.folder(level) / "mdata.bin"

    def change(self, level: int = 0, **what: Any) -> None:
        """Write the table with other values in its header."""
        self.table(level).write_bytes(encode(replace(self.tables[level], **what)))

    def change_column(self, place: tuple[int, int] = (1, 1), level: int = 0, **what: Any) -> None:
        """Write the table with other values in one column."""
        rows = [list(row) for row in self.tables[level].rows]
        rows[place[0]][place[1]] = replace(rows[place[0]][place[1]], **what)
        self.change(level, rows=tuple(map(tuple, rows)))

    def poke(self, at: int, data: bytes, level: int = 0) -> None:
        """Overwrite bytes of the table."""
        whole = bytearray(self.table(level).read_bytes())
        whole[at : at + len(data)] = data
        self.table(level).write_bytes(bytes(whole))

    def voxels(self, level: int = 0) -> NDArray[Any]:
        """Read the level with tifffile alone."""
        table = self.tables[level]
        found = np.zeros(table.shape, table.dtype)
        for column in (column for row in table.rows for column in row):
            for block in column.blocks:
                if block.file is not None:
                    path = self.folder(level) / column.folder / block.file
                    found[column.box(block).slices] = tifffile.imread(path).reshape(
                        column.box(block).shape
                    )
        return found


def save(path: Path, voxels: NDArray[Any], *, number: Any = None, **tiff: Any) -> None:
    """Write a tile; ``number(page, total)`` gives a PageNumber tag."""
    options = {"photometric": "minisblack", "metadata": None, "contiguous": False, **tiff}
    if options.pop("imagej", False):
        tifffile.imwrite(path, voxels, imagej=True)
        return
    kinds = ("bigtiff", "byteorder")
    with tifffile.TiffWriter(path, **{k: options.pop(k) for k in kinds if k in options}) as writer:
        for page, plane in enumerate(voxels):
            if number is not None:
                options["extratags"] = [(297, "H", 2, number(page, len(voxels)), True)]
            writer.write(plane, **options)


def write_level(
    root: Path, volume: NDArray[Any], sizes: Sizes, factor: int, options: dict[str, Any]
) -> TileTable:
    z, y, x = ([*accumulate(axis, initial=0)] for axis in sizes)
    level = root / "RES({1}x{2}x{0})".format(*volume.shape)
    rows = []
    for i in range(len(sizes[1])):
        row = []
        for j in range(len(sizes[2])):
            names = [
                int(v * factor * SPACING[a] + ORIGIN[a] + 0.5) * 10
                for a, v in ((1, y[i]), (2, x[j]))
            ]
            folder = f"{names[0]:06}/{names[0]:06}_{names[1]:06}"
            (level / folder).mkdir(parents=True)
            blocks = []
            for k, depth in enumerate(sizes[0]):
                number = int(10 * (z[k] * factor * SPACING[0] + ORIGIN[0]))
                file = f"{names[0]:06}_{names[1]:06}_{number:06}.tif"
                part = volume[z[k] : z[k + 1], y[i] : y[i + 1], x[j] : x[j + 1]]
                save(level / folder / file, part, **options)
                blocks.append(Block(file, z[k], depth))
            shape = sizes[1][i], sizes[2][j]
            row.append(Column(folder, (y[i], x[j]), shape, tuple(blocks), volume.itemsize))
        rows.append(tuple(row))
    spacing: Any = tuple(factor * s for s in SPACING)
    return TileTable(volume.shape, spacing, ORIGIN, tuple(rows))  # type: ignore[arg-type]


def build(
    root: Path,
    volume: NDArray[Any] = VOLUME,
    sizes: tuple[Sizes, ...] = SIZES,
    how: Any = "max",
    **options: Any,
) -> Tree:
    """Write a sound tree of two levels."""
    root.mkdir(exist_ok=True)
    tree = Tree(root)
    for number, cut in enumerate(sizes):
        tree.tables.append(write_level(root, volume, cut, 2**number, options))
        (tree.folder(number) / ".iim.format").write_text(FORMAT_NAME)
        tree.change(number)
        volume = halve(volume, how=how)
    return tree


def retag(path: Path, tag: int, new: bytes, *, at: int = 0) -> None:
    """Overwrite bytes of one tag's entry on every page: 0 its number, 2 type, 4 count, 8 value."""
    with tifffile.TiffFile(path) as tif:
        places = [page.tags[tag].offset for page in tif.pages]  # type: ignore[union-attr]
    with path.open("r+b") as file:
        for place in places:
            file.seek(place + at)
            file.write(new)


def drop(path: Path, tag: int) -> None:
    """Make a tag unknown on every page."""
    retag(path, tag, struct.pack("<H", 65000))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return build(tmp_path / "tree")


@pytest.fixture(scope="session")
def make() -> Callable[..., Tree]:
    return build


@pytest.fixture(scope="session")
def tiff() -> Any:
    """The functions that write and spoil tiles."""
    return type("Tiff", (), {"save": staticmethod(save), "retag": staticmethod(retag),
                             "drop": staticmethod(drop)})  # fmt: skip
