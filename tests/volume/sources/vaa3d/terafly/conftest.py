"""TeraFly trees of a few tiles, written with tifffile and a few lines of our own."""

from collections.abc import Callable
from itertools import accumulate, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.vaa3d.mdata import Block, Column, TileTable, encode
from neuroconn.vaa3d.v3draw import write_v3draw

Sizes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

VOLUME = np.random.default_rng(5).integers(0, 65535, (20, 34, 42), dtype=np.uint16)
SIZES: Sizes = ((9, 11), (11, 10, 13), (15, 2, 25))


def _save(path: Path, voxels: NDArray[Any], **tiff: Any) -> None:
    if path.suffix == ".tif":
        tifffile.imwrite(path, voxels, **{"photometric": "minisblack", "metadata": None, **tiff})
    else:
        write_v3draw(path, [voxels[None]], (1, *voxels.shape), voxels.dtype)  # type: ignore[arg-type]


def _build(
    root: Path,
    volume: NDArray[Any] = VOLUME,
    sizes: Sizes = SIZES,
    *,
    table: bool = True,
    suffix: str = ".tif",
    absent: Callable[[int, int, int], bool] = lambda k, i, j: False,
    spacing: tuple[float, float, float] = (2.0, 0.35, 0.35),
    **tiff: Any,
) -> dict[tuple[int, int, int], Path]:
    """Write a level and return its tiles by (z, y, x) position; names start at 45720."""
    level = root / "RES({1}x{2}x{0})".format(*volume.shape)
    z, y, x = ([*accumulate(axis, initial=0)] for axis in sizes)
    columns: dict[tuple[int, int], list[Block]] = {}
    files = {}
    for i, j, k in product(*(range(len(sizes[axis])) for axis in (1, 2, 0))):
        row, place = f"{10 * y[i] + 45720:06d}", f"{10 * x[j] + 45720:06d}"
        name = f"{row}_{place}_{10 * z[k]:06d}{suffix}"
        path = files[k, i, j] = level / row / f"{row}_{place}" / name
        blocks = columns.setdefault((i, j), [])
        blocks.append(Block(None if absent(k, i, j) else name, z[k], sizes[0][k]))
        if not absent(k, i, j):
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(path, volume[z[k] : z[k + 1], y[i] : y[i + 1], x[j] : x[j + 1]], **tiff)
    if table:
        rows = [
            [
                Column(
                    files[0, i, j].parent.relative_to(level).as_posix(),
                    (y[i], x[j]), (sizes[1][i], sizes[2][j]), tuple(columns[i, j]), volume.itemsize,
                )
                for j in range(len(sizes[2]))
            ]
            for i in range(len(sizes[1]))
        ]  # fmt: skip
        _write_table(level, volume.shape, rows, spacing)
    return files


def _write_table(level: Path, shape: Any, rows: Any, spacing: Any = (2.0, 0.35, 0.35)) -> None:
    table = TileTable(shape, spacing, (10.5, 20.25, 30000.5), tuple(map(tuple, rows)))
    (level / "mdata.bin").write_bytes(encode(table))


@pytest.fixture(scope="session")
def save() -> Callable[..., Any]:
    """Write one tile; its suffix is its format."""
    return _save


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """Write a level and return its tiles by (z, y, x) position."""
    return _build


@pytest.fixture(scope="session")
def write_table() -> Callable[..., Any]:
    """Write ``mdata.bin``."""
    return _write_table
