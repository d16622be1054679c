"""Trees one tile of which is broken."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from broken import BREAKS, breaks

from neuroconn.vaa3d.v3draw import write_v3draw


def rewrite(rule: str, severity: str = "error", **options: Any) -> None:
    """Break a rule by writing one tile in another way."""

    def function(tree: Any, tiff: Any) -> None:
        path = tree.tile(1, 1, 1)
        tiff.save(path, tifffile.imread(path), **options)

    function.__name__ = "_".join(map(str, [rule, *options]))
    BREAKS.append((rule, severity, function))


def retagged(rule: str, severity: str, tag: int, value: int | None) -> None:
    """Break a rule by changing a number in the tags of one tile, or dropping the tag."""

    def function(tree: Any, tiff: Any) -> None:
        path = tree.tile(1, 1, 1)
        if tag in (274, 284):  # not there by default, and not to be asked for
            extra = [(65001, "H", 1, 1, True)]
            tiff.save(path, tifffile.imread(path), extratags=extra)
            tiff.retag(path, 65001, struct.pack("<H", value), at=8)
            tiff.retag(path, 65001, struct.pack("<H", tag))
        elif value is None:
            tiff.drop(path, tag)
        else:
            tiff.retag(path, tag, struct.pack("<H", value), at=8)

    function.__name__ = f"{rule}_{tag}_{value}"
    BREAKS.append((rule, severity, function))


rewrite("tile.byte-order", byteorder=">", compression="zlib")
rewrite("tile.byte-order", "warning", byteorder=">")
rewrite("tile.tiled", tile=(16, 16))
rewrite("tile.compression", compression="zstd")
rewrite("tile.compression", "warning", compression="packbits")
rewrite("level.zlib", "note", compression="zlib")
rewrite("tile.page-number", number=lambda page, total: (page, total + 1))
rewrite("tile.page-number", number=lambda page, total: (0, total))
rewrite("tile.page-number", number=lambda page, total: (page, 1))
retagged("tile.rows-per-strip", "error", 278, None)
retagged("tile.photometric", "error", 262, None)
retagged("tile.photometric", "warning", 262, 0)
retagged("tile.orientation", "warning", 274, 4)
retagged("tile.planar", "warning", 284, 2)
retagged("tile.compression", "error", 259, 7)
retagged("tile.strips", "error", 273, None)
retagged("tile.strips", "error", 279, 0)
retagged("tile.strips", "error", 278, 2)


@breaks("tile.unreadable")
def a_text_for_a_tile(tree: Any, tiff: Any) -> None:
    tree.tile(1, 1, 1).write_text("not a tile")


@breaks("tile.unreadable")
def a_file_of_nothing(tree: Any, tiff: Any) -> None:
    tree.tile(1, 1, 1).write_bytes(b"")


@breaks("tile.unreadable")
def pages_that_run_in_a_circle(tree: Any, tiff: Any) -> None:
    path = tree.tile(1, 1, 1)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[-1].offset
    data = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<H", data, last)
    struct.pack_into("<I", data, last + 2 + 12 * count, first)
    path.write_bytes(bytes(data))


@breaks("tile.truncated")
def a_tile_without_its_last_bytes(tree: Any, tiff: Any) -> None:
    path = tree.tile(1, 1, 1)
    path.write_bytes(path.read_bytes()[:-1])


@breaks("tile.truncated")
def a_tile_of_one_half(tree: Any, tiff: Any) -> None:
    path = tree.tile(1, 1, 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@breaks("tile.truncated")
def plain_strips_that_are_too_short(tree: Any, tiff: Any) -> None:
    tiff.retag(tree.tile(1, 1, 1), 279, struct.pack("<I", 100), at=8)


@breaks("tile.suffix")
def a_suffix_of_four_letters(tree: Any, tiff: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    path = tree.tile(1, 1, 1)
    path.rename(path.with_suffix(".tiff"))
    tree.change_column((1, 1), blocks=(one, replace(two, file=f"{two.file}f")))


@breaks("tile.samples")
def a_colour_tile(tree: Any, tiff: Any) -> None:
    rgb = np.zeros((2, 8, 122, 3), np.uint16)
    tiff.save(tree.tile(1, 1, 1), rgb, photometric="rgb", planarconfig="contig")


@breaks("tile.bits")
def a_tile_of_floats(tree: Any, tiff: Any) -> None:
    tiff.save(tree.tile(1, 1, 1), np.zeros((2, 8, 122), np.float32))


@breaks("tile.sample-format", "warning")
def a_signed_tile(tree: Any, tiff: Any) -> None:
    tiff.save(tree.tile(1, 1, 1), np.zeros((2, 8, 122), np.int16))


@breaks("tile.sample-format")
def a_tile_of_short_floats(tree: Any, tiff: Any) -> None:
    tiff.save(tree.tile(1, 1, 1), np.zeros((2, 8, 122), np.float16))


@breaks("tile.dtype")
def an_eight_bit_tile(tree: Any, tiff: Any) -> None:
    tiff.save(tree.tile(1, 1, 1), np.zeros((2, 8, 122), np.uint8))


@breaks("tile.pages")
def pages_of_two_sizes(tree: Any, tiff: Any) -> None:
    pages = [np.zeros((8, 122), np.uint16), np.zeros((8, 121), np.uint16)]
    tiff.save(tree.tile(1, 1, 1), pages)


@breaks("tile.depth")
def a_page_too_few(tree: Any, tiff: Any) -> None:
    tiff.save(tree.tile(1, 1, 1), np.zeros((1, 8, 122), np.uint16))


@breaks("tile.size")
def a_narrow_tile(tree: Any, tiff: Any) -> None:
    tiff.save(tree.tile(1, 1, 1), np.zeros((2, 8, 121), np.uint16))


def stack(tree: Any, voxels: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    path = tree.tile(1, 1, 1).with_suffix(".raw")
    tree.tile(1, 1, 1).unlink()
    write_v3draw(path, [voxels], voxels.shape, voxels.dtype)
    tree.change_column((1, 1), blocks=(one, replace(two, file=path.name)))


@breaks("tile.stack")
def a_v3draw_tile_of_another_size(tree: Any, tiff: Any) -> None:
    stack(tree, np.zeros((1, 2, 8, 121), np.uint16))


@breaks("tile.samples")
def a_v3draw_tile_of_two_channels(tree: Any, tiff: Any) -> None:
    stack(tree, np.zeros((2, 2, 8, 122), np.uint16))


@breaks("tile.bits")
def a_v3draw_tile_of_floats(tree: Any, tiff: Any) -> None:
    stack(tree, np.zeros((1, 2, 8, 122), np.float32))


@breaks("tile.dtype")
def a_v3draw_tile_of_bytes(tree: Any, tiff: Any) -> None:
    stack(tree, np.zeros((1, 2, 8, 122), np.uint8))
