"""An OME-Zarr image as the source of another one: new chunks, new pyramid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.regions import read_region
from neuroconn.volume.sources.base import (
    Choice,
    Identity,
    Source,
    check_numeric,
    chosen_channel,
    digest,
)
from neuroconn.volume.store import open_image


class BrainSource(Source):
    """Level 0 of an OME-Zarr image."""

    format = "OME-Zarr"

    def __init__(self, path: Path, choice: Choice) -> None:
        chosen_channel(1, choice, str(path))
        image = open_image(path)
        if image.kind != "brain":
            raise VolumeError(f"{path} is a distance map, not a brain")
        self._array = image.array(0)
        self.dtype = check_numeric(np.dtype(self._array.dtype), str(path))
        self.shape = image.shape
        self.origin_um = image.frame.origin_um
        self.spacing_um = image.frame.spacing_um if image.spacing_known else None
        chunks = self._array.chunks
        self.unit = (chunks[0], chunks[1], chunks[2])
        self.description = f"OME-Zarr image with {len(image.levels)} levels"
        self.identity = _identity(path)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        return read_region(self._array, box).astype(self.dtype, copy=False)


def open_brain_source(path: Path, choice: Choice) -> BrainSource:
    """Open an OME-Zarr 0.4 or 0.5 image for reading."""
    return BrainSource(path, choice)


def _identity(path: Path) -> Identity:
    stored = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.endswith(".partial"))
    metadata = [p for p in stored if p.name in ("zarr.json", ".zattrs", ".zarray")]
    sizes = [(str(p.relative_to(path)), p.stat().st_size) for p in stored]
    return Identity(
        name=path.name,
        files=len(stored),
        bytes=sum(size for _, size in sizes),
        layout=digest(sizes),
        sample=digest(b"".join(p.read_bytes() for p in metadata)),
    )
