"""Trees whose levels, tables or names are broken."""

import shutil
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from broken import breaks


@breaks("tree.levels")
def one_level(tree: Any, tiff: Any) -> None:
    shutil.rmtree(tree.folder(1))


@breaks("tree.order")
def two_levels_alike(tree: Any, tiff: Any) -> None:
    shutil.copytree(tree.folder(1), tree.root / "RES(10x136x3)b")


@breaks("tree.halving", "warning")
def a_level_of_a_quarter(tree: Any, tiff: Any) -> None:
    tree.folder(1).rename(tree.root / "RES(5x68x1)")
    (tree.root / "RES(5x68x1)" / "mdata.bin").unlink()


@breaks("tree.dtype")
def a_level_of_another_type(tree: Any, tiff: Any) -> None:
    tree.change_column((0, 0), level=1, itemsize=1)


@breaks("tree.unfinished")
def work_in_progress(tree: Any, tiff: Any) -> None:
    (tree.root / ".partial").mkdir()


@breaks("tree.null-path")
def a_path_that_says_null(tree: Any, tiff: Any) -> None:
    tree.root = tree.root.rename(tree.root.with_name("NULL.tif tree"))


def move_to_length(tree: Any, length: int) -> None:
    """Move a tree so that its longest path has so many bytes."""
    tail = len(str(tree.tile())) - len(str(tree.root)) + len("/tree")
    folder = tree.root.parent
    while (room := length - tail - len(str(folder)) - 1) > 0:
        folder /= "a" * (room if room <= 200 else min(200, room - 2))
    folder.mkdir(parents=True)
    tree.root = tree.root.rename(folder / "tree")
    assert len(str(tree.tile())) == length


@breaks("tree.path-length")
def a_long_path(tree: Any, tiff: Any) -> None:
    move_to_length(tree, 1024)


@breaks("tree.coarsest", "warning")
def a_coarsest_level_beyond_a_view(tree: Any, tiff: Any) -> None:
    finer = tree.root / "RES(40x544x12)"
    shutil.copytree(tree.folder(0), finer)
    (finer / "mdata.bin").unlink()
    shutil.rmtree(tree.folder(1))


@breaks("tree.small", "warning")
def a_volume_within_a_view(tree: Any, tiff: Any) -> None:
    shutil.rmtree(tree.folder(0))


@breaks("tree.many-levels", "warning")
def many_levels(tree: Any, tiff: Any) -> None:
    for k in range(10):
        (tree.root / f"RES(1x{10 - k}x1)").mkdir()


@breaks("tree.level-name", "warning")
def a_level_by_another_name(tree: Any, tiff: Any) -> None:
    tree.folder(1).rename(tree.root / "RES_coarse")


@breaks("tree.level-name", "warning")
def a_level_named_after_another_size(tree: Any, tiff: Any) -> None:
    tree.folder(1).rename(tree.root / "RES(10x137x3)")


@breaks("tree.voxel-size", "warning")
def levels_of_one_voxel_size(tree: Any, tiff: Any) -> None:
    tree.change(1, spacing_um=tree.tables[0].spacing_um)


@breaks("tree.origin", "warning")
def levels_at_different_places(tree: Any, tiff: Any) -> None:
    tree.change(1, origin_um=(10.0, 8.0, 12.0))


@breaks("level.table-missing")
def no_table(tree: Any, tiff: Any) -> None:
    tree.table().unlink()


@breaks("level.tile-missing")
def no_tile(tree: Any, tiff: Any) -> None:
    tree.tile(1, 0, 1).unlink()


@breaks("level.tile-missing")
def no_folder(tree: Any, tiff: Any) -> None:
    shutil.rmtree(tree.tile(1, 0, 1).parent)


@breaks("level.layout")
def neither_table_nor_tile(tree: Any, tiff: Any) -> None:
    no_table(tree, tiff)
    no_tile(tree, tiff)


@breaks("level.format-missing", "warning")
def no_format(tree: Any, tiff: Any) -> None:
    (tree.folder(0) / ".iim.format").unlink()


@breaks("level.format-wrong")
def another_format(tree: Any, tiff: Any) -> None:
    (tree.folder(0) / ".iim.format").write_text("TIFF (tiled, 2D)")


@breaks("level.format-wrong", "warning")
def a_format_with_a_line_feed(tree: Any, tiff: Any) -> None:
    (tree.folder(0) / ".iim.format").write_text("Vaa3D raw (tiled, 3D)\n")


@breaks("level.stray", "warning")
def a_ds_store_among_tiles(tree: Any, tiff: Any) -> None:
    (tree.tile().parent / ".DS_Store").write_bytes(b"x")


@breaks("level.stray", "warning")
def a_folder_of_logs_among_rows(tree: Any, tiff: Any) -> None:
    (tree.folder(0) / "logs").mkdir()


@breaks("level.stray", "warning")
def a_file_among_columns(tree: Any, tiff: Any) -> None:
    (tree.tile().parents[1] / "README").write_text("x")


@breaks("level.stray")
def a_text_among_tiles_without_a_table(tree: Any, tiff: Any) -> None:
    no_table(tree, tiff)
    (tree.tile().parent / "Thumbs.db").write_bytes(b"x")


@breaks("level.unlisted", "warning")
def a_tile_listed_as_empty(tree: Any, tiff: Any) -> None:
    blocks = tree.column(0, 1, 1).blocks
    tree.change_column(blocks=(replace(blocks[0], file=None), blocks[1]))


@breaks("table.damaged")
def a_table_cut_short(tree: Any, tiff: Any) -> None:
    tree.table().write_bytes(tree.table().read_bytes()[:-9])


@breaks("table.damaged")
def a_table_without_its_header(tree: Any, tiff: Any) -> None:
    tree.table().write_bytes(tree.table().read_bytes()[:50])


@breaks("table.damaged")
def a_table_that_goes_on(tree: Any, tiff: Any) -> None:
    tree.table().write_bytes(tree.table().read_bytes() + b"\0")


@breaks("table.damaged")
def a_name_without_its_end(tree: Any, tiff: Any) -> None:
    at = tree.table().read_bytes().index(b".tif\0") + 4
    tree.poke(at, b"f")


@breaks("table.version")
def another_version(tree: Any, tiff: Any) -> None:
    tree.poke(0, struct.pack("<f", 1.0))


@breaks("table.axes")
def impossible_axes(tree: Any, tiff: Any) -> None:
    tree.poke(4, struct.pack("<3i", 1, 1, 3))


@breaks("table.axes", "warning")
def turned_axes(tree: Any, tiff: Any) -> None:
    tree.poke(4, struct.pack("<3i", -1, 2, 3))


@breaks("table.voxel-size")
def no_voxel_size(tree: Any, tiff: Any) -> None:
    tree.change(spacing_um=(0.0, 0.5, 0.5))


@breaks("table.voxel-size", "warning")
def two_voxel_sizes(tree: Any, tiff: Any) -> None:
    tree.poke(16, struct.pack("<f", 0.7))


@breaks("table.origin", "warning")
def a_negative_origin(tree: Any, tiff: Any) -> None:
    for level in (0, 1):
        tree.change(level, origin_um=(10.0, -7.0, 12.0))


@breaks("table.origin")
def an_origin_that_is_no_number(tree: Any, tiff: Any) -> None:
    tree.change(origin_um=(10.0, np.nan, 12.0))


@breaks("table.partition")
def a_hole_between_columns(tree: Any, tiff: Any) -> None:
    tree.change_column((0, 1), start=(0, 151))


@breaks("table.partition")
def a_hole_between_rows(tree: Any, tiff: Any) -> None:
    first, second = tree.tables[0].rows
    lower = tuple(replace(c, start=(13, c.start[1]), shape=(7, c.shape[1])) for c in second)
    tree.change(rows=(first, lower))


@breaks("table.partition")
def a_column_out_of_its_row(tree: Any, tiff: Any) -> None:
    tree.change_column((1, 1), start=(11, 150))


@breaks("table.partition")
def columns_that_do_not_line_up(tree: Any, tiff: Any) -> None:
    tree.change_column((1, 1), start=(12, 149))


@breaks("table.partition")
def rows_that_end_early(tree: Any, tiff: Any) -> None:
    for column in (0, 1):
        tree.change_column((1, column), shape=(7, (150, 122)[column]))


@breaks("table.partition")
def a_level_of_no_voxels(tree: Any, tiff: Any) -> None:
    tree.change(shape=(0, 20, 272))


@breaks("table.z-partition")
def a_column_cut_otherwise(tree: Any, tiff: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    tree.change_column(blocks=(replace(one, depth=3), replace(two, start=3, depth=3)))


@breaks("table.channels")
def three_channels(tree: Any, tiff: Any) -> None:
    tree.change_column((0, 0), channels=3)


@breaks("table.bytes")
def four_bytes(tree: Any, tiff: Any) -> None:
    tree.change_column((1, 1), itemsize=4)


@breaks("table.path")
def a_name_that_leaves_the_level(tree: Any, tiff: Any) -> None:
    tree.change_column((1, 1), folder="../000130/000130_000870")


@breaks("table.duplicate")
def a_folder_listed_twice(tree: Any, tiff: Any) -> None:
    tree.change_column((1, 1), folder=tree.column(0, 1, 0).folder)


@breaks("table.duplicate")
def a_tile_listed_twice(tree: Any, tiff: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    tree.change_column((1, 1), blocks=(one, replace(two, file=one.file)))


@breaks("names.pattern", "warning")
def a_tile_of_another_name(tree: Any, tiff: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    tree.tile(1, 1, 1).rename(tree.tile(1, 1, 1).with_name("z0004.tif"))
    tree.change_column((1, 1), blocks=(one, replace(two, file="z0004.tif")))


@breaks("names.width", "warning")
def a_number_of_seven_digits(tree: Any, tiff: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    name = f"{tree.column(0, 1, 1).folder.split('/')[1]}_0000180.tif"
    tree.tile(1, 1, 1).rename(tree.tile(1, 1, 1).with_name(name))
    tree.change_column((1, 1), blocks=(one, replace(two, file=name)))


@breaks("names.order", "warning")
def tiles_that_sort_the_other_way(tree: Any, tiff: Any) -> None:
    one, two = tree.column(0, 1, 1).blocks
    spare = tree.tile().with_name("spare.tif")
    tree.tile(0, 1, 1).rename(spare)
    tree.tile(1, 1, 1).rename(tree.tile(0, 1, 1))
    spare.rename(tree.tile(1, 1, 1))
    tree.change_column(blocks=(replace(one, file=two.file), replace(two, file=one.file)))


@breaks("names.order", "warning")
def rows_that_sort_the_other_way(tree: Any, tiff: Any) -> None:
    rows = tree.tables[0].rows
    swapped = [
        tuple(replace(c, start=o.start, shape=o.shape) for c, o in zip(row, other, strict=True))
        for row, other in ((rows[1], rows[0]), (rows[0], rows[1]))
    ]
    tree.change(rows=tuple(swapped))


@breaks("names.position", "note")
def names_of_another_place(tree: Any, tiff: Any) -> None:
    for level in (0, 1):
        tree.change(level, origin_um=(10.0, 70.0, 12.0))
