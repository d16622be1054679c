"""What can be known to be wrong with a conversion before it starts."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import OutputError, StorageError, UsageError, VolumeError
from neuroconn.geometry import Frame
from neuroconn.volume.convert_plan import ConvertPlan
from neuroconn.volume.sources import Source
from neuroconn.volume.store import Image, open_image

logger = logging.getLogger(__name__)

BEST_RATIO, USUAL_RATIO = 8, 2
"""Compression of a very dark brain, and of a noisy one."""


def chosen_frame(source: Source, given: tuple[float, float, float] | None) -> tuple[bool, Frame]:
    """Return whether the voxel size is known, and where the voxels lie.

    The given size, else the file's; a contradiction is logged.

    Raises
    ------
    UsageError
        If a given size is not positive.
    """
    claimed = source.spacing_um
    if given is None:
        if claimed is None:
            logger.warning(
                "the source does not say how long a voxel is, and --spacing was not given: "
                "physical units are unknown, lengths count voxels"
            )
            return False, Frame((1.0, 1.0, 1.0))
        return True, Frame(claimed, source.origin_um)
    if not all(np.isfinite(s) and s > 0 for s in given):
        raise UsageError(f"spacing must be three positive lengths in µm (z, y, x), got {given}")
    if claimed is not None and not np.allclose(given, claimed, rtol=0.01):
        logger.warning(
            "spacing %s µm was given and the source says %s µm (z, y, x): using what was given",
            given,
            claimed,
        )
    return True, Frame(given, source.origin_um)


def continued(path: Path, conversion: dict[str, Any], *, resume: bool) -> Image | None:
    """Return the image at ``path`` if this conversion began it; None if nothing is there.

    Raises
    ------
    OutputError
        If the path holds anything else, or a conversion that differs; the message names how.
    """
    if path.is_symlink() or not path.is_dir() or not any(path.iterdir()):
        return None  # a file or a link in the way is refused on creation
    links = sorted(entry.name for entry in path.iterdir() if entry.is_symlink())
    if links:
        raise OutputError(
            f"{path / links[0]} is a link, and nothing is written through links; put the folder "
            "itself there, or choose another output"
        )
    try:
        image = open_image(path)
    except VolumeError:
        raise OutputError(
            f"{path} holds files that are not a brain, and nothing is ever overwritten; "
            "choose another output"
        ) from None
    begun = image.attributes.get("conversion") if image.ours else None
    if not isinstance(begun, dict):
        raise OutputError(f"{path} was not made by neuroconn convert; choose another output")
    difference = _difference(begun, conversion)
    if difference:
        raise OutputError(
            f"{path} was begun differently: {difference}. Use the same source and settings to "
            "continue, or choose another output"
        )
    if not resume and "intensity" not in image.attributes:
        raise OutputError(f"{path} holds an unfinished conversion; drop --no-resume to continue it")
    return image


def check_space(path: Path, source: Source, plan: ConvertPlan) -> None:
    """Refuse a disk that cannot hold the brain however well it compresses; warn if it may not.

    Raises
    ------
    StorageError
        If the disk is too small.
    """
    voxels = sum(float(np.prod(level.shape, dtype=float)) for level in plan.levels)
    raw = voxels * source.dtype.itemsize
    place = next(p for p in (path, *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < raw / BEST_RATIO:
        least, usual = raw / BEST_RATIO / 1e9, raw / USUAL_RATIO / 1e9
        raise StorageError(
            f"{place} has {free / 1e9:.3f} GB free and the brain needs {least:.3f} to {usual:.3f} "
            "GB; free some space or choose another disk"
        )
    if free < raw / USUAL_RATIO:
        logger.warning(
            "%s has %.1f GB free and a noisy brain of this size takes %.1f GB: it may fill up",
            place,
            free / 1e9,
            raw / USUAL_RATIO / 1e9,
        )


def _difference(begun: dict[str, Any], now: dict[str, Any]) -> str | None:
    names = [("source", key) for key in now["source"]]
    for outer, key in names:
        before, after = begun.get(outer, {}).get(key), now[outer][key]
        if before != after:
            return f"the source's {key} was {before!r} and is {after!r}"
    for key in now:
        if begun.get(key) != now[key]:
            return f"{key} was {begun.get(key)!r} and is {now[key]!r}"
    return None
