"""A volume in one TIFF, BigTIFF, OME-TIFF or ImageJ file, or in a folder of slices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.base import Choice, Identity, Source, chosen_channel, digest
from neuroconn.volume.sources.slices import ordered_slices
from neuroconn.volume.sources.tiff_metadata import StackFacts, stack_facts
from neuroconn.volume.sources.tiff_pages import (
    Plane,
    plane_of,
    read_plane,
    tifffile_log_is_error,
)


class TiffSource(Source):
    """Planes of equal shape and type, read a window at a time; safe to share between threads."""

    format = "TIFF"

    def __init__(
        self,
        path: Path,
        planes: list[Plane],
        *,
        description: str,
        spacing_um: tuple[float, float, float] | None,
    ) -> None:
        first = planes[0]
        for plane in planes:
            if (plane.shape, plane.dtype) != (first.shape, first.dtype):
                raise VolumeError(
                    f"{_name(plane)} is {plane.shape} {plane.dtype.name}, {_name(first)} is "
                    f"{first.shape} {first.dtype.name}; all planes of a brain are alike"
                )
        self._planes = planes
        self.shape: ZYX = (len(planes), *first.shape)
        self.dtype = np.dtype(first.dtype.newbyteorder("="))
        self.spacing_um = spacing_um
        self.unit: ZYX = (1, *first.segment)
        self.description = description
        self.identity = _identity(path, planes)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        volume = np.empty(box.shape, self.dtype)
        wanted = self._planes[box.start[0] : box.stop[0]]
        rows, columns = (box.start[1], box.stop[1]), (box.start[2], box.stop[2])
        with _descriptors() as open_file:
            for z, plane in enumerate(wanted):
                volume[z] = read_plane(plane, open_file(plane.path), rows, columns)
        return volume


def open_tiff_stack(path: Path, choice: Choice) -> TiffSource:
    """Open a multi-page TIFF; every page is checked, none is decoded.

    Raises
    ------
    VolumeError
        If the file is damaged, or is not one grey uint8 or uint16 volume.
    """
    chosen_channel(1, choice, str(path))
    with _opened(path) as tif:
        facts = stack_facts(tif, path)
        size, decoders = path.stat().st_size, dict[Any, Any]()
        planes = [plane_of(page, path, k, size, decoders) for k, page in enumerate(tif.pages)]
    planes = _declared_planes(planes, facts, path)
    return TiffSource(
        path,
        planes,
        description=f"{facts.origin} of {len(planes)} planes",
        spacing_um=facts.spacing_um,
    )


def open_tiff_slices(path: Path, files: list[Path], choice: Choice) -> TiffSource:
    """Open a folder of slices, one file a plane, in the order of their numbers.

    Raises
    ------
    VolumeError
        If a slice is missing, doubled, damaged or unlike the others; the message names the file.
    """
    chosen_channel(1, choice, str(path))
    decoders: dict[Any, Any] = {}
    planes = []
    for file in ordered_slices(files):
        with _opened(file) as tif:
            if len(tif.pages) != 1:
                raise VolumeError(
                    f"{file} has {len(tif.pages)} pages in a folder of {len(files)} files; "
                    "a slice has one"
                )
            planes.append(plane_of(tif.pages[0], file, 0, file.stat().st_size, decoders))
    return TiffSource(path, planes, description=f"{len(planes)} TIFF slices", spacing_um=None)


def _declared_planes(planes: list[Plane], facts: StackFacts, path: Path) -> list[Plane]:
    """Match pages with the declared planes; ImageJ beyond 4 GB lists only the first of them."""
    declared = facts.planes
    if declared is None or declared == len(planes):
        return planes
    first = planes[0]
    end = first.offsets[0] + declared * first.sizes[0]
    if len(planes) == 1 and first.page is None and end <= path.stat().st_size:
        starts = (first.offsets[0] + k * first.sizes[0] for k in range(declared))
        return [replace(first, number=k, offsets=(at,)) for k, at in enumerate(starts)]
    raise VolumeError(
        f"{path} declares {declared} planes and holds {len(planes)}: it is truncated or was "
        "edited. Copy or export it again"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open for reading the directory of pages; any doubt about it is a VolumeError."""
    try:
        with tifffile_log_is_error(path), tifffile.TiffFile(path) as tif:
            if not len(tif.pages):
                raise VolumeError(f"{path} holds no image")
            yield tif
    except VolumeError:
        raise
    except Exception as error:  # damaged tags surface as almost any type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"{path} is not a readable TIFF file: {reason}") from error


@contextmanager
def _descriptors() -> Iterator[Any]:
    """Open files one at a time: neighbouring planes are mostly in the same one."""
    current: list[tuple[Path, int]] = []

    def close() -> None:
        while current:
            os.close(current.pop()[1])

    def open_file(path: Path) -> int:
        if not current or current[0][0] != path:
            close()
            try:
                current.append((path, os.open(path, os.O_RDONLY)))
            except OSError as error:
                raise VolumeError(f"{path} cannot be opened any more: {error.strerror}") from error
        return current[0][1]

    try:
        yield open_file
    finally:
        close()


def _identity(path: Path, planes: list[Plane]) -> Identity:
    files = sorted({plane.path for plane in planes})
    with _descriptors() as open_file:
        heads = b"".join(
            os.pread(open_file(p.path), min(p.sizes[0], 4096), p.offsets[0])
            for p in (planes[0], planes[-1])
        )
    return Identity(
        name=path.name,
        files=len(files),
        bytes=sum(file.stat().st_size for file in files),
        layout=digest([[plane.path.name, *plane.facts] for plane in planes]),
        sample=digest(heads),
    )


def _name(plane: Plane) -> str:
    return f"{plane.path} page {plane.number}" if plane.number else str(plane.path)
