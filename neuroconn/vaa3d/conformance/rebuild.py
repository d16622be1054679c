"""``mdata.bin`` written again: from its sound columns, or from names and headers of the tiles."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.conformance.facts import plain_facts
from neuroconn.vaa3d.conformance.findings import Finding
from neuroconn.vaa3d.conformance.frames import (
    Floats,
    factor_between,
    frame_of_names,
    neighbour_frame,
    usable_origin,
    usable_spacing,
)
from neuroconn.vaa3d.conformance.layout import TableJudge, judge_header
from neuroconn.vaa3d.conformance.level import TABLE, LevelCheck
from neuroconn.vaa3d.conformance.table import RawColumn, RawHeader, RawTable, TableFault
from neuroconn.vaa3d.mdata import Block, Column, TileTable, encode
from neuroconn.vaa3d.named import table_from_names

_SALVAGEABLE = {"table.version", "table.voxel-size", "table.bytes", "table.damaged"}
"""What may be wrong with a table whose columns are sound."""


@dataclass(frozen=True, slots=True)
class NewTable:
    """The bytes to write, if any are to be written, and where they come from."""

    bytes: bytes | None
    how: str


def rebuilt(
    level: LevelCheck, levels: list[LevelCheck], broken: list[Finding], spacing_um: Floats | None
) -> NewTable:
    """Make the table of a level anew.

    Parameters
    ----------
    level : LevelCheck
        The level, its table judged.
    levels : list of LevelCheck
        All levels, finest first.
    broken : list of Finding
        What is wrong with the table.
    spacing_um : (z, y, x) floats, optional
        Voxel size of the finest level.

    Raises
    ------
    VolumeError
        If tiles, voxel size or origin cannot be known; the message says what to do.
    """
    header, columns = _raw(level)
    if header is not None and header.axes != (1, 2, 3):
        raise VolumeError(f"its axes are {header.axes}: whether voxels are turned, no file tells")
    only = {one.rule for one in broken} <= _SALVAGEABLE
    sound = header is not None and len(columns) == header.rows * header.columns > 0
    if header is not None and sound and only:
        table, how = _from_columns(level, header, columns), "written from its own columns"
    else:
        table, how = table_from_names(level.path, plain_facts), "written from names and headers"
    if header is not None and header.shape != table.shape:
        header = None  # its other numbers are no better
    table, source = _framed(table, level, levels, header, spacing_um)
    data = encode(table)
    _check(data, level.name)
    return NewTable(data, f"{how}; {source}")


def resized(level: LevelCheck, levels: list[LevelCheck], spacing_um: Floats) -> NewTable:
    """Write another voxel size into a sound table; no bytes if it is there already.

    Raises
    ------
    VolumeError
        If the table is not sound enough to be written again.
    """
    header, columns = _raw(level)
    if header is None:
        raise VolumeError("there is no table to write the voxel size into")
    wanted = _scaled(spacing_um, level, levels)
    if wanted == header.spacing_um == header.again_um:
        return NewTable(None, "")
    if header.axes != (1, 2, 3) or len(columns) != header.rows * header.columns:
        raise VolumeError("its table is not sound: mend that first")
    table = replace(_from_columns(level, header, columns), spacing_um=wanted)
    return NewTable(encode(table), f"voxel size {_um(wanted)}")


def _raw(level: LevelCheck) -> tuple[RawHeader | None, list[RawColumn]]:
    """Return what can be read of a table."""
    columns: list[RawColumn] = []
    try:
        table = RawTable((level.path / TABLE).read_bytes())
    except (OSError, TableFault):
        return None, columns
    # Columns before a fault are as good as ever, and bytes after the last one do no harm.
    with suppress(TableFault):
        for column in table.columns():
            columns.append(column)  # noqa: PERF402
    return table.header, columns


def _from_columns(level: LevelCheck, header: RawHeader, columns: list[RawColumn]) -> TileTable:
    tiles = (
        level.path / column.folder / block.name
        for column in columns
        for block in column.blocks
        if not block.empty
    )
    first = next((path for path in tiles if path.is_file()), None)
    sizes = {column.itemsize for column in columns}
    if first is not None:
        itemsize = plain_facts(first).dtype.itemsize
    elif len(sizes) == 1 and sizes <= {1, 2}:
        itemsize = sizes.pop()
    else:
        raise VolumeError("no tile is there to tell the bytes per voxel")
    made = [
        Column(
            c.folder,
            c.start,
            c.shape,
            tuple(Block(None if b.empty else b.name, b.start, b.depth) for b in c.blocks),
            itemsize,
            c.channels,
        )
        for c in columns
    ]
    rows = tuple(tuple(made[i : i + header.columns]) for i in range(0, len(made), header.columns))
    return TileTable(header.shape, header.spacing_um, header.origin_um, rows)


def _framed(
    table: TileTable,
    level: LevelCheck,
    levels: list[LevelCheck],
    header: RawHeader | None,
    spacing_um: Floats | None,
) -> tuple[TileTable, str]:
    """Give a table its voxel size and origin: told, its own, a neighbour's, or those of names."""
    named = frame_of_names(table)
    near = neighbour_frame(level.path, table.shape)
    places = [
        (header and usable_origin(header), "its own"),
        (near and near[1], f"{near[2]}'s" if near else ""),
        (named[1], "the first tile's name's"),
    ]
    sizes = [
        (spacing_um and _scaled(spacing_um, level, levels, table.shape), "as told"),
        (header and usable_spacing(header), "its own"),
        (near and near[0], f"from {near[2]}" if near else ""),
        (named[0], "from names"),
    ]
    spacing = next(((v, how) for v, how in sizes if v), None)
    if spacing is None:
        raise VolumeError(
            "nothing tells its voxel size: neither another level nor the names; give it with "
            "--spacing Z Y X (of the finest level, in µm)"
        )
    origin, owner = next((v, how) for v, how in places if v)
    told = f"voxel size {_um(spacing[0])} {spacing[1]}, origin {_um(origin)}, {owner}"
    return replace(table, spacing_um=spacing[0], origin_um=origin), told


def _um(values: Floats) -> str:
    return " x ".join(f"{value:g}" for value in values) + " µm"


def _scaled(
    spacing_um: Floats, level: LevelCheck, levels: list[LevelCheck], shape: ZYX | None = None
) -> Floats:
    """Return the voxel size of a level, given that of the finest."""
    here, finest = shape or level.shape, levels[0].shape
    factor = factor_between(here, finest) if here and finest else None
    if level is levels[0]:
        factor = (1.0, 1.0, 1.0)
    if factor is None:
        raise VolumeError(f"how much coarser it is than {levels[0].name}, their shapes do not tell")
    z, y, x = (float(np.float32(v * f)) for v, f in zip(spacing_um, factor, strict=True))
    return float(f"{z:.7g}"), float(f"{y:.7g}"), float(f"{x:.7g}")


def _check(data: bytes, name: str) -> None:
    """Hold what is to be written against the rules that it is to mend."""
    table = RawTable(data)
    judge = TableJudge(table.header, name)
    found = list(judge_header(table.header, name))
    for column in table.columns():
        found += judge.column(column)
    broken = [one for one in (*found, *judge.end()) if one.severity == "error"]
    if broken:
        raise VolumeError(f"what can be made of it breaks {broken[0].rule}: {broken[0].what}")
