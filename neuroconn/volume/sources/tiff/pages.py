"""Windows of TIFF planes, read into place.

Raw voxels go from the file into the caller's array without a copy; of compressed planes only the
segments that a window touches are decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.tiff.codecs import one_line
from neuroconn.volume.sources.tiff.plane import Plane

_GAP = 16384
"""Bytes between the parts of two rows above which reading each part alone is faster (a call costs
a microsecond, as much as copying this many bytes)."""
_SCRATCH = 4 << 20
_RUN = 256 << 10
"""Short segments that follow each other are read together up to this many bytes."""


def read_plane(
    plane: Plane,
    descriptor: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    out: NDArray[Any],
) -> None:
    """Read a window of a plane.

    Parameters
    ----------
    plane : Plane
        What to read.
    descriptor : int
        Its file, open for reading.
    rows, columns : (start, stop)
        The window.
    out : ndarray, shape (rows, columns), native byte order
        Where its voxels belong; the rows are contiguous.

    Raises
    ------
    VolumeError
        If the file ends early or a segment cannot be decoded; the message names both.
    """
    try:
        if plane.start is not None:
            _read_raw(plane, descriptor, plane.start + _before(plane), rows, columns, out)
        else:
            _read_segments(plane, descriptor, rows, columns, out)
    except (OSError, MemoryError) as error:
        raise VolumeError(f"{plane.where} cannot be read: {one_line(error)}") from error


def _read_segments(
    plane: Plane,
    descriptor: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    out: NDArray[Any],
) -> None:
    layout = plane.layout
    (height, width), scratch = layout.segment, list[NDArray[np.uint8]]()
    whole = layout.interleaved == 1 and columns == (0, width) and out.flags.c_contiguous
    flat = out.reshape(-1).view(np.uint8) if whole else None
    for down, left, number, where in _touched(plane, descriptor, rows, columns):
        top, high = down * height, layout.rows_of(down)
        y0, y1 = max(rows[0], top), min(rows[1], top + high)
        if flat is not None and not isinstance(where, int) and y1 - y0 == high:
            begin, pitch = y0 - rows[0], layout.pitch
            _decode(plane, where, number, high, flat[begin * pitch : (begin + high) * pitch])
            continue
        x0, x1 = max(columns[0], left), min(columns[1], left + width)
        part = out[y0 - rows[0] : y1 - rows[0], x0 - columns[0] : x1 - columns[0]]
        inside = (y0 - top, y1 - top), (x0 - left, x1 - left)
        if isinstance(where, int):
            _read_raw(plane, descriptor, where, *inside, part)
        else:
            part[...] = _decoded(plane, where, number, high, scratch)[
                slice(*inside[0]), slice(*inside[1])
            ]


def _before(plane: Plane) -> int:
    """Bytes of the samples stored before the wanted one, where each has a plane of its own."""
    return plane.sample * plane.layout.segment_bytes if plane.layout.separate else 0


def _touched(
    plane: Plane, descriptor: int, rows: tuple[int, int], columns: tuple[int, int]
) -> Iterator[tuple[int, int, int, int | bytes]]:
    """Yield row of segments, first column, number, and data (raw: offset) of touched segments."""
    (height, width), (down, across) = plane.layout.segment, plane.layout.grid
    first = plane.sample * down * across if plane.layout.separate else 0
    j0, j1 = columns[0] // width, (columns[1] - 1) // width + 1
    i0, i1 = rows[0] // height, (rows[1] - 1) // height + 1
    if across == 1:
        spans = [(i0, first + i0, first + i1)]
    else:
        spans = [(i, first + i * across + j0, first + i * across + j1) for i in range(i0, i1)]
    for i, a, b in spans:
        offsets = plane.offsets.part(descriptor, a, b)
        sizes = offsets if plane.sizes is None else plane.sizes.part(descriptor, a, b)
        if len(offsets) != b - a or len(sizes) != b - a:
            raise VolumeError(
                f"{plane.where} ended early: the file has changed since it was opened"
            )
        found: Iterator[int | bytes] = iter(offsets)
        if plane.decode is not None:
            found = _encoded(plane, descriptor, offsets, sizes)
        for k, where in enumerate(found):
            yield (i + k, 0, a + k, where) if across == 1 else (i, (j0 + k) * width, a + k, where)


def _encoded(
    plane: Plane, descriptor: int, offsets: tuple[int, ...], sizes: tuple[int, ...]
) -> Iterator[bytes]:
    first, count = 0, len(offsets)
    while first < count:
        start, last = offsets[first], first + 1
        end = start + sizes[first]
        while (
            last < count
            and end <= offsets[last] <= end + _GAP
            and offsets[last] + sizes[last] <= start + _RUN
        ):
            end = offsets[last] + sizes[last]
            last += 1
        data = os.pread(descriptor, end - start, start)
        if len(data) != end - start:  # the file has shrunk, or this is more than a call returns
            run = np.empty(end - start, np.uint8)
            _fill(plane, descriptor, start, run)
            data = run.tobytes()
        for k in range(first, last):
            yield data[offsets[k] - start : offsets[k] - start + sizes[k]]
        first = last


def _decoded(
    plane: Plane, data: bytes, number: int, rows: int, scratch: list[NDArray[np.uint8]]
) -> NDArray[Any]:
    """Decode a segment into memory that the segments of a window share."""
    layout = plane.layout
    if not scratch:
        scratch.append(np.empty(layout.segment_bytes, np.uint8))
    target = scratch[0][: rows * layout.pitch]
    _decode(plane, data, number, rows, target)
    voxels = target.view(layout.dtype.newbyteorder("="))
    return voxels.reshape(rows, layout.segment[1], layout.interleaved)[:, :, _channel(plane)]


def _decode(plane: Plane, data: bytes, number: int, rows: int, target: NDArray[np.uint8]) -> None:
    assert plane.decode is not None
    try:
        plane.decode(data, number, rows, target)
    except Exception as error:  # decoders raise types of their own
        name = "tile" if plane.layout.tiled else "strip"
        raise VolumeError(
            f"{plane.where} is damaged: {name} {number} cannot be decoded ({one_line(error)}); "
            "copy the file again or repair it"
        ) from error


def _channel(plane: Plane) -> int:
    return 0 if plane.layout.separate else plane.sample


def _read_raw(
    plane: Plane,
    descriptor: int,
    start: int,
    rows: tuple[int, int],
    columns: tuple[int, int],
    out: NDArray[Any],
) -> None:
    """Read a window of a raw segment that begins at a byte of the file."""
    layout = plane.layout
    pixel = layout.interleaved * layout.dtype.itemsize
    start += rows[0] * layout.pitch + columns[0] * pixel
    wanted = (columns[1] - columns[0]) * pixel
    gap = layout.pitch - wanted
    if layout.interleaved == 1 and gap == 0 and out.flags.c_contiguous:
        _fill(plane, descriptor, start, out.reshape(-1).view(np.uint8))
    elif layout.interleaved == 1 and (gap > _GAP or len(out) == 1):
        for k, row in enumerate(out):
            _fill(plane, descriptor, start + k * layout.pitch, row.view(np.uint8))
    else:
        _read_through(plane, descriptor, start, wanted, out)
    if not layout.dtype.isnative:
        out.byteswap(inplace=True)


def _read_through(
    plane: Plane, descriptor: int, start: int, wanted: int, out: NDArray[Any]
) -> None:
    """Read what lies between the wanted parts too, a few rows at a time, and drop it."""
    layout = plane.layout
    step = max(1, _SCRATCH // layout.pitch)
    scratch = np.empty(min(step, len(out)) * layout.pitch, np.uint8)
    for first in range(0, len(out), step):
        rows = min(step, len(out) - first)
        size = (rows - 1) * layout.pitch + wanted
        _fill(plane, descriptor, start + first * layout.pitch, scratch[:size])
        voxels = scratch.view(out.dtype).reshape(-1, layout.pitch // out.itemsize)
        skip, stop = _channel(plane), wanted // out.itemsize
        out[first : first + rows] = voxels[:rows, skip : stop : layout.interleaved]


def _fill(plane: Plane, descriptor: int, offset: int, out: NDArray[np.uint8]) -> None:
    """Read bytes into an array; the file must have them all."""
    done = 0
    while done < out.size:
        got = os.preadv(descriptor, [out.data[done:]], offset + done)
        if not got:
            raise VolumeError(
                f"{plane.where} ended early at byte {offset + done}: the file has changed since it "
                "was opened"
            )
        done += got
