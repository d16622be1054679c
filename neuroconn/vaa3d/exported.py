"""Where the voxels of an export lie: what was marked in Vaa3D counts the voxels of what was shown.

TeraFly and Vaa3D write places in voxels of the tree or the file that was open, whatever part of a
brain that is. A crop's own record says where it begins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroconn.errors import UsageError
from neuroconn.geometry import Frame
from neuroconn.vaa3d.single import SUFFIXES

RECORD = "neuroconn.json"
"""In a tree; beside a single file it is called after the file, with ``.json``."""

_SINGLE_FILES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def frame_of_export(path: str | Path) -> Frame:
    """Return voxel size and origin of the finest level of what Vaa3D showed.

    Parameters
    ----------
    path : str or Path
        A TeraFly tree (ours or another's), or a v3draw or TIFF file of ours with its record.

    Returns
    -------
    Frame
        In the µm of the brain it was exported from.

    Raises
    ------
    UsageError
        If it is none of them.
    VolumeError
        If a tree cannot be read.
    """
    path = Path(path)
    record = path / RECORD if path.is_dir() else path.with_name(f"{path.name}.json")
    frame = _recorded(record)
    if frame is not None and path.exists():
        return frame
    if path.is_dir() and (path.name.startswith("RES") or any(path.glob("RES*"))):
        from neuroconn.vaa3d.reader import TeraflyVolume

        return TeraflyVolume(path).frame
    if not path.exists():
        raise UsageError(f"there is no export {path}")
    raise UsageError(
        f"{path} does not say where in the brain it lies: give a TeraFly tree, or a .v3draw or "
        f".tif that neuroconn export wrote, with {record.name} beside it"
    )


def export_around(path: str | Path) -> Path | None:
    """Find the export that a file belongs to by its place or its name.

    Parameters
    ----------
    path : str or Path
        Of landmarks or a tracing.

    Returns
    -------
    Path or None
        The tree of ours it lies in, or the file of ours it is named after, as Vaa3D does:
        ``crop.v3draw.marker`` beside ``crop.v3draw``.
    """
    path = Path(path).absolute()
    for folder in path.parents:
        if _recorded(folder / RECORD) is not None:
            return folder
    shown = path.with_suffix("")
    while shown.suffix and shown.suffix.lower() not in _SINGLE_FILES:
        shown = shown.with_suffix("")
    known = shown.suffix and _recorded(shown.with_name(f"{shown.name}.json")) is not None
    return shown if known else None


def _recorded(record: Path) -> Frame | None:
    """Read the frame of an export of ours; None if this is no record of one."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("format") not in ("terafly", "v3draw", "tiff"):
        return None
    try:
        return Frame(_triple(found["spacing_um"]), _triple(found["origin_um"]))
    except (KeyError, TypeError, ValueError):
        return None


def _triple(values: Sequence[Any]) -> tuple[float, float, float]:
    z, y, x = map(float, values)
    return z, y, x
