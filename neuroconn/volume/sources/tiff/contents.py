"""What is in a TIFF file: its pages, and the texts that describe them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.tiff.codecs import Decoders
from neuroconn.volume.sources.tiff.ifd import Directory, tiff_bytes
from neuroconn.volume.sources.tiff.ome import ome_image
from neuroconn.volume.sources.tiff.plane import Plane, plane_of

_OME = re.compile(r"<(\w+:)?OME[\s>]")
_SHAPED = b'{"shape"'
_REDUCED, _MASK = 1, 4


@dataclass(frozen=True, slots=True)
class Page:
    """A directory of a file: a plane, or why it is none."""

    plane: Plane | VolumeError
    extra: bool
    """Whether it is a thumbnail, a pyramid level or a mask."""
    shaped: str
    """What tifffile wrote about the pages that begin here, if it did."""


@dataclass(frozen=True, slots=True)
class Pages:
    """All directories of a file."""

    path: Path
    pages: list[Page]
    descriptions: list[str]
    per_pixel: tuple[float, float]
    """Pixel size in y and x by the resolution tags, in their unit; NaN if they give none."""
    resolution_unit: int

    @property
    def ome(self) -> str | None:
        """The OME-XML, if there is some."""
        return next((d for d in self.descriptions if _OME.search(d[:4096])), None)

    @property
    def imagej(self) -> str | None:
        """The ImageJ description, if there is one."""
        return next((d for d in self.descriptions if d.startswith("ImageJ=")), None)


def ome_files(path: Path, choice: Choice) -> list[Path]:
    """Return the files over which a file's OME-XML lays its volume; none if it has no such XML."""
    with tiff_bytes(path) as source:
        first = next(source.directories(), None)
        texts = [] if first is None else first.descriptions()
    text = next((t for t in texts if _OME.search(t[:4096])), None)
    if text is None or ("FileName" not in text and "BinaryOnly" not in text):
        return []
    return ome_image(text, path, choice).paths


def read_pages(path: Path, decoders: Decoders) -> Pages:
    """Read and check every directory of a file; no voxel is decoded.

    Raises
    ------
    VolumeError
        If the chain of directories is damaged. What is wrong with one page stands in its place.
    """
    with tiff_bytes(path) as source:
        pages, first = list[Page](), None
        for directory in source.directories():
            first = first or directory
            pages.append(_page(directory, decoders))
        if first is None:
            raise VolumeError(f"{path} holds no image")
        y, x = (_per_pixel(first, tag) for tag in (283, 282))
        return Pages(path, pages, first.descriptions(), (y, x), first.number(296, 2))


def _page(directory: Directory, decoders: Decoders) -> Page:
    extra, text = False, ""
    try:
        extra = bool(directory.number(254, 0) & (_REDUCED | _MASK))
        plane: Plane | VolumeError = plane_of(directory, decoders)
        if directory.describes(_SHAPED):
            text = directory.descriptions()[0]
    except VolumeError as error:
        plane = error
    return Page(plane, extra, text)


def _per_pixel(directory: Directory, tag: int) -> float:
    values = directory.numbers(tag, 0, 0)
    return values[1] / values[0] if len(values) == 2 and values[0] > 0 else math.nan
