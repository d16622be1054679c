"""A volume in one TIFF, BigTIFF, OME-TIFF or ImageJ file, or in a folder of slices or stacks."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.base import Choice, Identity, Source, digest
from neuroconn.volume.sources.tiff.codecs import Decoders
from neuroconn.volume.sources.tiff.files import StoredFile
from neuroconn.volume.sources.tiff.folder import folder_stack
from neuroconn.volume.sources.tiff.metadata import Spacing
from neuroconn.volume.sources.tiff.pages import read_plane
from neuroconn.volume.sources.tiff.plane import Plane, overlap
from neuroconn.volume.sources.tiff.slices import listed
from neuroconn.volume.sources.tiff.stack import Stack, stack_of

_CHECKED = (8, 32946, 34925)
"""Compressions with a checksum: deflate and LZMA."""


class TiffSource(Source):
    """Planes of equal shape and type, read a window at a time.

    Threads share it freely: every read opens its files anew and decoders keep no state.
    """

    format = "TIFF"

    def __init__(
        self,
        path: Path,
        planes: list[Plane],
        *,
        description: str,
        spacing_um: Spacing | None,
        channels: int = 1,
        notes: Sequence[str] = (),
    ) -> None:
        _check_alike(planes)
        _check_apart(planes)
        self._planes = planes
        first = planes[0].layout
        self.shape: ZYX = (len(planes), *first.shape)
        self.dtype = np.dtype(first.dtype.newbyteorder("="))
        self.spacing_um, self.channels = spacing_um, channels
        # Slices may be stored differently; the largest unit is safe for all.
        self.unit: ZYX = (1, *max({plane.unit for plane in planes}, key=lambda u: u[0] * u[1]))
        self.description = description + ("" if _has_checksums(planes) else ", no checksums")
        self.notes = (*notes, *_storage_notes(planes))
        self.identity = _identity(path, planes)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        volume = np.empty(box.shape, self.dtype)
        self.read_into(box, volume)
        return volume

    def read_into(self, box: Box, out: NDArray[Any]) -> int:
        """Read a box to where it belongs: one copy less."""
        wanted = self._planes[box.start[0] : box.stop[0]]
        rows, columns = (box.start[1], box.stop[1]), (box.start[2], box.stop[2])
        with _descriptors() as open_file:
            for plane, place in zip(wanted, out, strict=True):
                read_plane(plane, open_file(plane.file), rows, columns, place)
        return 0


def open_tiff_stack(path: Path, choice: Choice) -> TiffSource:
    """Open a multi-page TIFF; every page is checked, none is decoded.

    Raises
    ------
    VolumeError
        If the file is damaged, or is not one grey volume of real numbers.
    UsageError
        If the chosen channel or series does not exist.
    """
    return _source(path, stack_of(path, choice, Decoders()))


def open_tiff_slices(path: Path, files: list[Path], choice: Choice) -> TiffSource:
    """Open a folder of slices, one file a plane, or of stacks, one after the other along z.

    Parameters
    ----------
    path : path
        The folder.
    files : list of paths
        Its TIFF files, in any order; their numbers give it.
    choice : Choice
        The channel, where names (``_ch0``), pages or samples give several.

    Raises
    ------
    VolumeError
        If slices are missing, doubled, damaged or unlike the others; the message names the first
        few and counts them all.
    UsageError
        If the chosen channel does not exist.
    """
    return _source(path, folder_stack(path, files, choice))


def _source(path: Path, stack: Stack) -> TiffSource:
    return TiffSource(
        path,
        stack.planes,
        description=stack.description,
        spacing_um=stack.spacing_um,
        channels=stack.channels,
        notes=stack.notes,
    )


def _check_alike(planes: list[Plane]) -> None:
    kinds = Counter(plane.kind for plane in planes)
    if len(kinds) == 1:
        return
    usual = kinds.most_common(1)[0][0]
    odd = [f"{p.where} is {_kind(p.kind)}" for p in planes if p.kind != usual]
    raise VolumeError(
        f"{listed(odd, len(planes), 'planes')}; the others are {_kind(usual)}: all planes of a "
        "brain are alike"
    )


def _check_apart(planes: list[Plane]) -> None:
    """Refuse planes of one file that lie over each other: an offset among them is damaged."""
    files: dict[Path, list[Plane]] = {}
    for plane in planes:
        files.setdefault(plane.file.path, []).append(plane)
    for path, mates in files.items():
        extents = np.array([(a, b - a) for a, b in (p.extent for p in mates)], np.uint64)
        if not overlap(extents):
            continue  # the usual: one plane after the other
        with _descriptors() as open_file:
            tables = [plane.segments(open_file(plane.file)) for plane in mates]
        if overlap(np.concatenate(tables)):
            raise VolumeError(
                f"{path} has planes that lie over each other: an offset of them is damaged. Copy "
                "or export it again"
            )


def _kind(kind: tuple[tuple[int, int], str, int]) -> str:
    (height, width), dtype, samples = kind
    return f"{height} x {width} {np.dtype(dtype)}" + (
        f" of {samples} samples" if samples > 1 else ""
    )


def _storage_notes(planes: list[Plane]) -> tuple[str, ...]:
    methods = {plane.layout.compression for plane in planes}
    return (f"planes are compressed in {len(methods)} ways",) if len(methods) > 1 else ()


def _has_checksums(planes: list[Plane]) -> bool:
    """Whether a bit that flipped in the voxels, on a disk or in a copy, would be noticed."""
    return all(plane.layout.compression in _CHECKED for plane in planes)


@contextmanager
def _descriptors() -> Iterator[Callable[[StoredFile], int]]:
    """Open files one at a time: neighbouring planes are mostly in the same one."""
    current: list[tuple[StoredFile, int]] = []

    def close() -> None:
        while current:
            os.close(current.pop()[1])

    def open_file(file: StoredFile) -> int:
        if not current or current[0][0] is not file:
            close()
            current.append((file, file.open()))
        return current[0][1]

    try:
        yield open_file
    finally:
        close()


def _identity(path: Path, planes: list[Plane]) -> Identity:
    files = {plane.file.path: plane.file.size for plane in planes}
    layout = hashlib.sha256()
    stored = {plane.layout: repr(plane.layout.facts()) for plane in planes}
    for plane in planes:
        layout.update(f"{plane.facts()}{stored[plane.layout]}".encode())
    with _descriptors() as open_file:
        heads = b"".join(
            plane.head(open_file(plane.file), 4096) for plane in (planes[0], planes[-1])
        )
    return Identity(
        name=path.name,
        files=len(files),
        bytes=sum(files.values()),
        layout=layout.hexdigest()[:16],
        sample=digest(heads),
    )
