"""TIFF pages as planes that can be read in part.

tifffile answers a damaged file with short arrays and a log line, not with an exception. So every
page is checked against the file's size before anything is read, its log records count as errors,
and each decoded segment is checked again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import check_numeric


@dataclass(frozen=True, slots=True)
class Plane:
    """One grey plane of a TIFF file: where its segments lie and how to decode them."""

    path: Path
    number: int
    """Page in its file, for messages."""
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    """With the file's byte order."""
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    segment: tuple[int, int]
    """Rows and columns of a strip or tile."""
    page: Any
    """A tifffile page with the decoder; None if the voxels lie in the file as they are."""

    @property
    def facts(self) -> list[Any]:
        """What identifies the plane, for a digest."""
        return [self.shape, self.dtype.str, self.offsets, self.sizes, self.segment]


@contextmanager
def tifffile_log_is_error(path: Path) -> Iterator[None]:
    """Turn what tifffile logs in this thread into a VolumeError, instead of a line on stderr."""
    records: list[str] = []
    me = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != me or record.levelno < logging.WARNING:
            return True
        records.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield
    finally:
        logger.removeFilter(collect)
    if records:
        raise VolumeError(f"{path} is damaged: {records[0].splitlines()[0]}")


def plane_of(page: Any, path: Path, number: int, file_size: int, decoders: dict[Any, Any]) -> Plane:
    """Check one page and note how to read it.

    Parameters
    ----------
    page : tifffile.TiffPage
        The page.
    path, number, file_size : path, int, int
        Where it comes from, and how many bytes there are.
    decoders : dict
        Pages that decode alike share one decoder; pass the same dict for all pages of a source.

    Raises
    ------
    VolumeError
        If the page is coloured, is not uint8 or uint16, needs a missing decoder, or points beyond
        the end of the file.
    """
    where = f"{path} page {number}"
    _check_grey(page, where)
    check_numeric(np.dtype(page.dtype) if page.dtype is not None else np.dtype("V1"), where)
    _check_codec(page, where)
    sizes, offsets = tuple(page.databytecounts), tuple(page.dataoffsets)
    ends = [a + n for a, n in zip(offsets, sizes, strict=False)]
    if not ends or len(offsets) != len(sizes) or 0 in sizes or max(ends) > file_size:
        raise VolumeError(
            f"{where} is truncated: its data should end at byte {max(ends, default=0)}, the file "
            f"has {file_size} bytes. Copy the file again"
        )
    height, width = int(page.imagelength), int(page.imagewidth)
    rows, columns = _segment(page, height, width)
    dtype = np.dtype(page.parent.byteorder + page.dtype.char)
    if page.is_contiguous and page.fillorder == 1 and page.predictor == 1 and not page.is_tiled:
        if sum(sizes) < height * width * dtype.itemsize:
            raise VolumeError(f"{where} is truncated: {sum(sizes)} bytes for {height} x {width}")
        offsets, sizes = offsets[:1], (height * width * dtype.itemsize,)
        return Plane(path, number, (height, width), dtype, offsets, sizes, (1, width), None)
    if len(sizes) != -(-height // rows) * -(-width // columns):
        raise VolumeError(f"{where} has {len(sizes)} segments, not those of {height} x {width}")
    decoder = decoders.setdefault((page.hash, page.jpegtables, page.jpegheader), page)
    return Plane(path, number, (height, width), dtype, offsets, sizes, (rows, columns), decoder)


def read_plane(
    plane: Plane, descriptor: int, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[Any]:
    """Read a window of a plane, decoding only the segments it touches.

    Parameters
    ----------
    plane : Plane
        What to read.
    descriptor : int
        Its file, open for reading.
    rows, columns : (start, stop)
        The window.

    Returns
    -------
    ndarray, shape (rows, columns), native byte order
    """
    if plane.page is None:
        return _read_raw(plane, descriptor, rows, columns)
    height, width = plane.segment
    across = -(-plane.shape[1] // width)
    window = np.empty((rows[1] - rows[0], columns[1] - columns[0]), plane.dtype.newbyteorder("="))
    for i in range(rows[0] // height, (rows[1] - 1) // height + 1):
        for j in range(columns[0] // width, (columns[1] - 1) // width + 1):
            segment = _decode(plane, descriptor, i * across + j)
            top, left = i * height, j * width
            y0, y1 = max(rows[0], top), min(rows[1], top + height)
            x0, x1 = max(columns[0], left), min(columns[1], left + width)
            part = segment[y0 - top : y1 - top, x0 - left : x1 - left]
            if part.shape != (y1 - y0, x1 - x0):
                raise VolumeError(
                    f"{plane.path} page {plane.number} is damaged: segment {i * across + j} "
                    f"decodes to {segment.shape}"
                )
            window[y0 - rows[0] : y1 - rows[0], x0 - columns[0] : x1 - columns[0]] = part
    return window


def _read_raw(
    plane: Plane, descriptor: int, rows: tuple[int, int], columns: tuple[int, int]
) -> NDArray[Any]:
    width, item = plane.shape[1], plane.dtype.itemsize
    start = plane.offsets[0] + rows[0] * width * item
    data = _exactly(plane, descriptor, start, (rows[1] - rows[0]) * width * item)
    window = np.frombuffer(data, plane.dtype).reshape(rows[1] - rows[0], width)
    return window[:, columns[0] : columns[1]].astype(plane.dtype.newbyteorder("="), copy=False)


def _exactly(plane: Plane, descriptor: int, offset: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.pread(descriptor, min(size, 1 << 30), offset)
        if not part:
            raise VolumeError(f"{plane.path} page {plane.number} ended early: the file has changed")
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decode(plane: Plane, descriptor: int, number: int) -> NDArray[Any]:
    data = _exactly(plane, descriptor, plane.offsets[number], plane.sizes[number])
    page = plane.page
    try:
        with tifffile_log_is_error(plane.path):
            decoded, _, _ = page.decode(
                data, number, jpegtables=page.jpegtables, jpegheader=page.jpegheader
            )
    except VolumeError:
        raise
    except Exception as error:  # decoders raise types of their own
        raise VolumeError(
            f"{plane.path} page {plane.number} is damaged: segment {number} cannot be decoded "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    if decoded is None or decoded.ndim != 4 or decoded.shape[0] != 1 or decoded.shape[3] != 1:
        shape = None if decoded is None else decoded.shape
        raise VolumeError(f"{plane.path} page {plane.number} segment {number} decodes to {shape}")
    grey: NDArray[Any] = decoded[0, :, :, 0]
    return grey


def _segment(page: Any, height: int, width: int) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), height), width


def _check_grey(page: Any, where: str) -> None:
    if page.samplesperpixel != 1 or page.photometric in (2, 3, 5, 6):
        raise VolumeError(
            f"{where} is a colour image ({page.samplesperpixel} samples a pixel); "
            "a brain is one grey channel. Save the channel with the neurites"
        )
    if page.imagedepth != 1 or page.ndim != 2:
        raise VolumeError(f"{where} has shape {page.shape}; one plane (y, x) is wanted")
    if page.photometric == 0:
        raise VolumeError(f"{where} stores white as 0; invert it, so that neurites are bright")


def _check_codec(page: Any, where: str) -> None:
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        name = getattr(page.compression, "name", page.compression)
        raise VolumeError(
            f"{where} is compressed with {name}, which needs a decoder that is not installed; "
            "pip install 'neuroconn[tiff]'"
        ) from None
