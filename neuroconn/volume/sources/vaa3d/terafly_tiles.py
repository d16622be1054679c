"""One tile of a TeraFly tree, TIFF or v3draw: what its header says, and a window of its voxels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.named import TileFacts
from neuroconn.vaa3d.tiles import STACKS
from neuroconn.vaa3d.v3draw import open_v3draw, v3draw_layout
from neuroconn.volume.sources.tiff.codecs import Decoders
from neuroconn.volume.sources.tiff.ifd import Directory, tiff_bytes
from neuroconn.volume.sources.tiff.pages import read_plane
from neuroconn.volume.sources.tiff.plane import Plane, plane_of

Window = tuple[slice, slice, slice]


def tile_facts(path: Path) -> TileFacts:
    """Read the header of a tile and count its pages; no voxel is decoded.

    Raises
    ------
    VolumeError
        If the tile is missing, damaged, coloured, or not of 8 or 16 bit.
    """
    if path.suffix.lower() in STACKS:
        (channels, *sides), dtype = v3draw_layout(path)
        if channels != 1:
            raise VolumeError(f"{path} has {channels} channels; a tile of a brain has one")
        return _grey(path, (sides[0], sides[1], sides[2]), dtype)
    with _pages(path) as pages:
        first = _plane(pages[0], Decoders())
        return _grey(path, (len(pages), *first.layout.shape), first.layout.dtype)


def read_window(path: Path, facts: TileFacts, window: Window) -> NDArray[Any]:
    """Read some voxels of a tile, decoding only the pages and segments they lie in.

    Parameters
    ----------
    path : Path
        The tile.
    facts : TileFacts
        What its volume says it is.
    window : (z, y, x) slices
        Inside the tile.

    Returns
    -------
    ndarray of ``facts.dtype``, shape of ``window``

    Raises
    ------
    VolumeError
        If the tile is missing, damaged, or not what its volume says.
    """
    planes, rows, columns = window
    if path.suffix.lower() in STACKS:
        check_tile(path, tile_facts(path), facts)
        return np.asarray(open_v3draw(path)[0][window]).astype(facts.dtype)
    voxels = np.empty(tuple(s.stop - s.start for s in window), facts.dtype)
    wanted, (y, x) = _planes(path, facts, planes), ((s.start, s.stop) for s in (rows, columns))
    if wanted:
        file = wanted[0].file.open()
        try:
            for plane, out in zip(wanted, voxels, strict=True):
                read_plane(plane, file, y, x, out.view(plane.layout.dtype.newbyteorder("=")))
        finally:
            os.close(file)
    return voxels


def _planes(path: Path, facts: TileFacts, wanted: slice) -> list[Plane]:
    """Return some planes of a TIFF tile; of the others only the number is checked."""
    decoders = Decoders()
    with _pages(path) as pages:
        if len(pages) != facts.shape[0]:
            first = _plane(pages[0], decoders).layout
            check_tile(path, _grey(path, (len(pages), *first.shape), first.dtype), facts)
        planes = [_plane(page, decoders) for page in pages[wanted]]
    for plane in planes:
        shape = (facts.shape[0], *plane.layout.shape)
        check_tile(path, _grey(path, shape, plane.layout.dtype), facts)
    return planes


def _grey(path: Path, shape: ZYX, dtype: np.dtype[Any]) -> TileFacts:
    if dtype.kind not in "ui" or dtype.itemsize > 2:
        raise VolumeError(f"{path} holds {dtype} voxels; TeraFly tiles hold uint8 or uint16")
    return TileFacts(shape, np.dtype(f"u{dtype.itemsize}"), dtype.kind == "i")


def check_tile(path: Path, found: TileFacts, wanted: TileFacts) -> None:
    """Refuse a tile that is not what its volume says.

    Raises
    ------
    VolumeError
        If shape or type differ; signedness does not count.
    """
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        raise VolumeError(
            f"{path} holds {found.dtype} {found.shape} where its volume has {wanted.dtype} "
            f"{wanted.shape}: it is damaged or of another volume. Copy it again"
        )


@contextmanager
def _pages(path: Path) -> Iterator[list[Directory]]:
    """Open a TIFF tile and find its pages."""
    with tiff_bytes(path) as source:
        pages = list(source.directories())
        if not pages:
            raise VolumeError(f"{path} holds no image; copy it again")
        yield pages


def _plane(page: Directory, decoders: Decoders) -> Plane:
    plane = plane_of(page, decoders)
    if plane.layout.samples != 1:
        raise VolumeError(
            f"{page.where} has {plane.layout.samples} samples a pixel; a tile of a brain has one"
        )
    return plane
