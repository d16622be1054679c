"""Whole volumes as one file, v3draw or TIFF, for crops and pictures.

v3draw has no room for an origin, and neither format for settings, so both are kept beside the file
in ``<name>.json``. A TIFF says voxel size and origin in the way of ImageJ besides. File and record
appear when all voxels are written; an interrupted export begins again.

Memory: one box of voxels, whatever the size of the volume. It is as deep as the chunks of the
source, so that each of them is read once; where planes are so large that such a box cannot span
them, a TIFF, whose planes must be written in one go, takes the way of a v3draw beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.appearing import appearing
from neuroconn.vaa3d.files import differences
from neuroconn.vaa3d.plan import PATH_LIMIT
from neuroconn.vaa3d.tiles import Compression, check_grey, write_tiff
from neuroconn.vaa3d.v3draw import CZYX, header, open_v3draw, write_boxes

SingleFormat = Literal["v3draw", "tiff"]
SUFFIXES: dict[SingleFormat, tuple[str, ...]] = {
    "v3draw": (".v3draw", ".raw"),
    "tiff": (".tif", ".tiff"),
}
_NAME_LIMIT = 255 - len("..json.partial.v3draw")
CLASSIC_BYTES = 2**32 - 2**20
"""Offsets of a plain TIFF have 32 bits."""
_WORST = {"none": 1.0, "zlib": 1.01, "lzw": 1.5}
"""What compression makes of noise."""
_PAGE_BYTES = 512
"""Of a page beside its voxels."""
_BOX_VOXELS = 1 << 25

ReadBox = Callable[[Box], NDArray[Any]]
"""Voxels of a box: (z, y, x), or (z, y, x, 3) for colour."""
Floats = tuple[float, float, float]


def write_single(
    read: ReadBox,
    output: Path,
    *,
    format: SingleFormat,
    shape: ZYX,
    dtype: str,
    colour: bool = False,
    compression: Compression = "none",
    spacing_um: Floats | None = None,
    origin_um: Floats = (0.0, 0.0, 0.0),
    identity: Mapping[str, Any],
    depth: int = 64,
    start: ZYX = (0, 0, 0),
    box_voxels: int = _BOX_VOXELS,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Write a volume box by box.

    Parameters
    ----------
    read : callable
        Given a box, returns its voxels in ``dtype``.
    output : Path
        The file.
    format : "v3draw" or "tiff"
        TIFF goes to 64-bit offsets (BigTIFF) where it might pass 4 GB.
    shape : (z, y, x) ints
        Of the volume.
    dtype : "uint8" or "uint16"
        Of the voxels.
    colour : bool, optional
        Whether ``read`` gives RGB.
    compression : "zlib", "lzw" or "none", optional
        For TIFF.
    spacing_um, origin_um : (z, y, x) floats, optional
        Voxel size, and where the first voxel lies; for TIFF. Without a spacing neither is written.
    identity : mapping
        What the voxels depend on; kept beside the file. A file with the same identity is finished.
    depth : int, optional
        Edge of the chunks of the source.
    start : (z, y, x) ints, optional
        Where the volume begins in the source: boxes end where its chunks do.
    box_voxels : int, optional
        Voxels in memory at once.
    progress : callable, optional
        Called with (planes done, planes in all).

    Returns
    -------
    bool
        False if the file was there already.

    Raises
    ------
    OutputError
        If the path holds something else, or is too long for Vaa3D.
    UsageError
        If the format cannot hold the volume.
    StorageError
        If the disk is full.
    """
    record, told = output.with_name(output.name + ".json"), json.loads(json.dumps(identity))
    check_name(output, format)
    check_grey(dtype, "a single file for Vaa3D")
    stack: CZYX = (3 if colour else 1, *shape)
    header(stack, dtype)
    if _is_finished(output, record, told):
        return False
    edges = _edges(shape, depth, box_voxels)
    boxes = _read(read, shape, edges, start, progress or (lambda done, total: None))
    with appearing(output) as temporary:
        if format == "v3draw":
            write_boxes(temporary, _planar(boxes, colour), stack, dtype)
        else:
            tags = _tiff_tags(stack, dtype, compression, spacing_um, origin_um)
            if edges[1:] == shape[1:]:
                write_tiff(temporary, (page for _, values in boxes for page in values), **tags)
            else:
                _write_by_way_of_a_stack(temporary, boxes, stack, dtype, tags)
        with appearing(record) as beside:
            text = json.dumps(told, indent=1, sort_keys=True)
            beside.write_text(text + "\n", encoding="utf-8")
    return True


def _edges(shape: ZYX, depth: int, voxels: int) -> ZYX:
    """Edges of the boxes that are read: whole planes, or else whole chunks.

    Examples
    --------
    >>> _edges((200, 1000, 1000), 64, 1 << 26), _edges((200, 9000, 40_000), 64, 1 << 26)
    ((64, 1000, 1000), (64, 64, 16384))
    """
    d = min(depth, shape[0])
    rows = _whole(voxels // (d * shape[2]), depth, shape[1])
    return d, rows, _whole(voxels // (d * rows), depth, shape[2])


def _whole(fits: int, chunk: int, size: int) -> int:
    """Most voxels along an axis: all of them, or whole chunks, at least one."""
    return size if fits >= size else min(size, max(1, fits // chunk) * chunk)


def _read(
    read: ReadBox, shape: ZYX, edges: ZYX, begin: ZYX, progress: Callable[[int, int], None]
) -> Iterator[tuple[Box, NDArray[Any]]]:
    for ranges in product(*map(_cut, shape, edges, begin)):
        starts, stops = zip(*ranges, strict=True)
        box = Box(starts, stops)
        yield box, read(box)
        if box.stop[1:] == shape[1:]:
            progress(box.stop[0], shape[0])


def _cut(size: int, edge: int, begin: int) -> list[tuple[int, int]]:
    """Cut an axis where the chunks of the source end, which it enters at ``begin``.

    Examples
    --------
    >>> _cut(20, 8, 5), _cut(20, 20, 5)
    ([(0, 3), (3, 11), (11, 19), (19, 20)], [(0, 20)])
    """
    if edge >= size:
        return [(0, size)]
    cuts = [0, *range(edge - begin % edge, size, edge), size]
    return list(pairwise(cuts))


def _planar(
    boxes: Iterable[tuple[Box, NDArray[Any]]], colour: bool
) -> Iterator[tuple[Box, NDArray[Any]]]:
    for box, values in boxes:
        yield box, np.moveaxis(values, -1, 0) if colour else values[None]


def _write_by_way_of_a_stack(
    path: Path,
    boxes: Iterable[tuple[Box, NDArray[Any]]],
    stack: CZYX,
    dtype: str,
    tags: Mapping[str, Any],
) -> None:
    colour = stack[0] > 1
    spool = path.with_name(f"{path.name}.v3draw")
    try:
        write_boxes(spool, _planar(boxes, colour), stack, dtype)
        planes = open_v3draw(spool)
        pages = (np.moveaxis(planes[:, z], 0, -1) for z in range(stack[1]))
        write_tiff(path, (page if colour else page[..., 0] for page in pages), **tags)
    finally:
        spool.unlink(missing_ok=True)


def _tiff_tags(
    stack: CZYX, dtype: str, compression: Compression, spacing: Floats | None, origin: Floats
) -> dict[str, Any]:
    """Choose offsets, and say voxel size and origin as ImageJ does."""
    size = math.prod(stack) * np.dtype(dtype).itemsize * _WORST[compression]
    big = size + stack[1] * _PAGE_BYTES > CLASSIC_BYTES
    lines = ["ImageJ=1.11a", f"images={stack[1]}", f"slices={stack[1]}"]
    if spacing is not None:
        lines += ["unit=micron", f"spacing={spacing[0]:.12g}"]
        places = zip("xyz", reversed(origin), reversed(spacing), strict=True)
        # ImageJ wants the voxel that lies at 0.
        lines += [f"{axis}origin={-o / s:.12g}" for axis, o, s in places if o]
    return {
        "compression": compression,
        "bigtiff": big,
        "resolution": None if spacing is None else (1 / spacing[2], 1 / spacing[1]),
        "description": "\n".join(lines) + "\n",
    }


def check_name(output: Path, format: SingleFormat) -> None:
    """Refuse a name by which Vaa3D would not know the format, or could not open the file."""
    if output.suffix.lower() not in SUFFIXES[format]:
        raise OutputError(
            f"{output} is to be {format}, which Vaa3D knows by its name: call it "
            f"*{SUFFIXES[format][0]}"
        )
    size, name = len(str(output.absolute()).encode()), len(output.name.encode())
    if size >= PATH_LIMIT or name > _NAME_LIMIT:
        what = f"path takes {size} bytes, and Vaa3D reads fewer than {PATH_LIMIT}"
        if size < PATH_LIMIT:
            what = f"name takes {name} bytes, and {_NAME_LIMIT} are left for it beside its record"
        raise OutputError(f"{output.name[:60]}...: its {what}: choose a shorter one")


def _is_finished(output: Path, record: Path, identity: dict[str, Any]) -> bool:
    if output.is_dir():
        raise OutputError(f"{output} is a folder; a single file needs a name of its own")
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        ours = isinstance(found, dict) and found.get("format") in ("v3draw", "tiff")
    except FileNotFoundError:
        found, ours = None, not output.exists()
    except ValueError:
        found, ours = None, False
    if not ours:
        raise OutputError(f"{output} (or {record.name}) is not an export of ours: choose another")
    if output.exists() and (changed := differences(found, identity)):
        raise OutputError(
            f"{output} is an export with other {', '.join(changed)}: remove it or choose another"
        )
    return output.exists()
