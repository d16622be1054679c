"""Whole volumes as one file, v3draw or TIFF, for crops and pictures.

Neither format has room for an origin or settings, so both are kept beside the file in
``<name>.json``. The file itself appears when it is whole; an interrupted export begins again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import OutputError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.files import publish, storage_errors
from neuroconn.vaa3d.tiles import Compression, write_tiff
from neuroconn.vaa3d.v3draw import write_v3draw

SingleFormat = Literal["v3draw", "tiff"]
BIGTIFF_BYTES = 4_000_000_000
_SLAB_VOXELS = 1 << 26

ReadSlab = Callable[[Box], NDArray[Any]]
"""Voxels of a box: (z, y, x), or (z, y, x, 3) for colour."""


def write_single(
    read: ReadSlab,
    output: Path,
    *,
    format: SingleFormat,
    shape: ZYX,
    dtype: str,
    colour: bool = False,
    compression: Compression = "none",
    spacing_um: tuple[float, float, float] | None = None,
    identity: Mapping[str, Any],
    depth: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Write a volume slab by slab.

    Parameters
    ----------
    read : callable
        Given a box that spans y and x, returns its voxels in ``dtype``.
    output : Path
        The file.
    format : "v3draw" or "tiff"
        TIFF goes to 64-bit offsets past 4 GB.
    shape : (z, y, x) ints
        Of the volume.
    dtype : "uint8" or "uint16"
        Of the voxels.
    colour : bool, optional
        Whether ``read`` gives RGB.
    compression : "zlib", "lzw" or "none", optional
        For TIFF.
    spacing_um : (z, y, x) floats, optional
        Written as TIFF resolution along y and x.
    identity : mapping
        What the voxels depend on; kept beside the file. A file with the same identity is finished.
    depth : int, optional
        Planes in memory at once, fewer if planes are large.
    progress : callable, optional
        Called with (planes done, planes in all).

    Returns
    -------
    bool
        False if the file was there already.

    Raises
    ------
    OutputError
        If the path holds something else.
    StorageError
        If the disk is full.
    """
    record = output.with_name(output.name + ".json")
    if _is_finished(output, record, json.loads(json.dumps(identity))):
        return False
    planes = max(1, min(depth, _SLAB_VOXELS // (shape[1] * shape[2])))
    slabs = _slabs(read, shape, planes, progress or (lambda done, total: None))
    with storage_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = record.with_name(f".{record.name}.partial")
        temporary.write_text(json.dumps(identity, indent=1, sort_keys=True) + "\n")
        publish(temporary, record)
    if format == "v3draw":
        stacks = (np.moveaxis(s, -1, 0) if colour else s[None] for s in slabs)
        write_v3draw(output, stacks, (3 if colour else 1, *shape), dtype)
        return True
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize * (3 if colour else 1)
    temporary = output.with_name(f".{output.name}.partial")
    with storage_errors(output):
        write_tiff(
            temporary,
            (page for slab in slabs for page in slab),
            compression=compression,
            bigtiff=size > BIGTIFF_BYTES,
            resolution=None if spacing_um is None else (1e4 / spacing_um[2], 1e4 / spacing_um[1]),
        )
        publish(temporary, output)
    return True


def _slabs(
    read: ReadSlab, shape: ZYX, planes: int, progress: Callable[[int, int], None]
) -> Iterator[NDArray[Any]]:
    for box in Box.of_shape(shape).split((planes, shape[1], shape[2])):
        yield read(box)
        progress(box.stop[0], shape[0])


def _is_finished(output: Path, record: Path, identity: dict[str, Any]) -> bool:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        ours = isinstance(found, dict) and found.get("format") in ("v3draw", "tiff")
    except FileNotFoundError:
        found, ours = None, not output.exists()
    except ValueError:
        found, ours = None, False
    if not ours:
        raise OutputError(f"{output} (or {record.name}) is not an export of ours: choose another")
    if output.exists() and found != identity:
        changed = sorted(k for k in identity | found if identity.get(k) != found.get(k))
        raise OutputError(
            f"{output} is an export with other {', '.join(changed)}: remove it or choose another"
        )
    return output.exists()
