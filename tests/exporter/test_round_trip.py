"""TeraFly in, converted, exported, TeraFly out: an independent reader sees the same voxels."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from neuroconn.config.overlay import OverlaySettings
from neuroconn.exporter import export
from neuroconn.geometry import Box, Frame, Level
from neuroconn.vaa3d.conformance import check_vaa3d
from neuroconn.vaa3d.mdata import Block, Column, TileTable, encode
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.volume import convert, create_image, open_image, write_region

SPACING, ORIGIN = (2.0, 0.5, 0.5), (100.0, 2286.0, 2413.0)
ALONE = OverlaySettings(
    factor=0, low_percentile=0, high_percentile=100, avoid_powers_of_two=False, downsample="max"
)
"""The image as it is: a window over the whole range, and nothing laid over it."""
SHAPE = (21, 50, 261)
SIZES = ((12, 9), (21, 29), (53, 54, 100, 54))
"""Tiles of any size, as those in circulation."""


def brain(dtype: Any) -> NDArray[Any]:
    limit = np.iinfo(dtype).max
    voxels = np.random.default_rng(3).integers(0, limit, SHAPE, endpoint=True).astype(dtype)
    voxels[0, 0, :2] = 0, limit
    voxels[12:, 21:, 207:] = 0
    return voxels


def write_tree(root: Path, voxels: NDArray[Any], *, table: bool) -> Path:
    """Write one level as others do: LZW, a row a strip, PageNumber; its last tile is NULL.tif."""
    level = root / "RES({1}x{2}x{0})".format(*SHAPE)
    z, y, x = ([*accumulate(axis, initial=0)] for axis in SIZES)
    rows = []
    for i, height in enumerate(SIZES[1]):
        row = []
        for j, width in enumerate(SIZES[2]):
            names = [int(10 * (v * 0.5 + o) + 0.5) for v, o in ((y[i], 2286), (x[j], 2413))]
            folder = f"{names[0]:06}/{names[0]:06}_{names[1]:06}"
            (level / folder).mkdir(parents=True)
            blocks: list[Block] = []
            for k, depth in enumerate(SIZES[0]):
                tile = voxels[z[k] : z[k + 1], y[i] : y[i + 1], x[j] : x[j + 1]]
                if table and not tile.any():
                    blocks.append(Block(None, z[k], depth))
                    continue
                name = f"{names[0]:06}_{names[1]:06}_{20 * z[k] + 1000:06}.tif"
                with tifffile.TiffWriter(level / folder / name) as writer:
                    for page, plane in enumerate(tile):
                        writer.write(
                            plane, photometric="minisblack", metadata=None, contiguous=False,
                            compression="lzw", rowsperstrip=1,
                            extratags=[(297, "H", 2, (page, depth), True)],
                        )  # fmt: skip
                blocks.append(Block(name, z[k], depth))
            row.append(Column(folder, (y[i], x[j]), (height, width), tuple(blocks),
                              voxels.itemsize))  # fmt: skip
        rows.append(tuple(row))
    if table:
        data = encode(TileTable(SHAPE, SPACING, ORIGIN, tuple(rows)))
        (level / "mdata.bin").write_bytes(data)
    return root


def nowhere_near(path: Path) -> Path:
    """Write a distance map that is far from every neurite."""
    image = create_image(
        path, levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))], dtype=np.dtype(np.uint8),
        frame=Frame(SPACING, ORIGIN), chunk=64, shard=64, kind="distance", fill_value=255,
        array_attributes={"scale_factor": 0.04},
    )  # fmt: skip
    grid = image.grid()
    for index in grid:
        core = grid.core(index)
        write_region(image.array(0), core, np.full(core.shape, 250, np.uint8))
    return path


@pytest.mark.parametrize("table", [True, False], ids=["table", "names"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_brain_goes_around_unchanged(tmp_path: Path, dtype: Any, table: bool) -> None:
    voxels = brain(dtype)
    source = write_tree(tmp_path / "given" / "brain", voxels, table=table)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    for path in (source, *source.rglob("*")):  # a share that nobody may write to
        path.chmod(0o555 if path.is_dir() else 0o444)
    spacing: Any = None if table else SPACING

    convert(source, tmp_path / "brain.ome.zarr", spacing=spacing, chunk=32, shard=64)
    frame = open_image(tmp_path / "brain.ome.zarr").frame
    if table:
        assert frame == Frame(SPACING, ORIGIN)
        export(
            tmp_path / "brain.ome.zarr", nowhere_near(tmp_path / "far.ome.zarr"),
            tmp_path / "out", settings=ALONE, dtype=np.dtype(dtype).name, tile=20,
            compression="lzw",
        )  # fmt: skip
        check_out(tmp_path / "out", voxels)
    found = np.asarray(open_image(tmp_path / "brain.ome.zarr").array(0)[:])

    np.testing.assert_array_equal(found, voxels)
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    for path in (source, *source.rglob("*")):
        path.chmod(0o755)


def check_out(tree: Path, voxels: NDArray[Any]) -> None:
    """The tree is sound, lies where the brain lay, and other readers see the same voxels."""
    report = check_vaa3d(tree, pixels=True)
    assert report.sound
    assert (report.levels[0].spacing_um, report.levels[0].origin_um) == (SPACING, ORIGIN)
    assert report.levels[0].empty
    np.testing.assert_array_equal(TeraflyVolume(tree).read(Box.of_shape(SHAPE)), voxels)
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    z, y, x = SHAPE
    found = interface(tree / f"RES({y}x{x}x{z})").get_sub_volume(0, x, 0, y, 0, z)
    np.testing.assert_array_equal(found[0], voxels)
