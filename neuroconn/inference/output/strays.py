"""Files among the stored objects of a map that are none."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from neuroconn.geometry import ChunkGrid
from neuroconn.volume.engines import LEFTOVERS
from neuroconn.volume.store import Image


def strays(image: Image) -> tuple[list[Path], list[Path]]:
    """Return what writes that were killed have left, and what is not ours, sorted.

    Neither is read by anyone. An object store has neither: it shows whole objects only.

    Parameters
    ----------
    image : Image
        A map in Zarr format 3.
    """
    if not isinstance(image.path, Path):
        return [], []
    left: list[Path] = []
    foreign: list[Path] = []
    for number, name in enumerate(image.paths):
        for file in _others(image.path / name, image.grid(number)):
            leftover = any(fnmatch(file.name, pattern) for pattern in LEFTOVERS)
            (left if leftover else foreign).append(file)
    return sorted(left), sorted(foreign)


def _others(folder: Path, grid: ChunkGrid) -> Iterator[Path]:
    for file in folder.rglob("*"):
        *key, z, y, x = ("", "", "", *file.relative_to(folder).parts)
        ours = key[3:] == ["c"] and all(part.isdecimal() for part in (z, y, x))
        if ours and (int(z), int(y), int(x)) in grid:
            continue
        if not file.is_dir() and file != folder / "zarr.json":
            yield file
