"""A plane of a TIFF file, checked before any of its voxels is read."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.tiff.codecs import Decoder, Decoders
from neuroconn.volume.sources.tiff.files import StoredFile, Table
from neuroconn.volume.sources.tiff.ifd import Directory
from neuroconn.volume.sources.tiff.layout import Layout, as_one_segment, layout_of, needed

LARGEST_SEGMENT = 1 << 32
"""Bytes a segment may decode to."""

_EXPANSION = {5: 3000, 8: 1040, 32946: 1040, 32773: 64}
"""Most bytes that LZW, deflate and PackBits make of one."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One grey plane of a TIFF file: where its segments lie and how to decode them."""

    file: StoredFile
    page: int
    """Page in its file, for messages."""
    layout: Layout
    decode: Decoder | None
    """None if the voxels lie in the file as they are."""
    offsets: Table
    sizes: Table | None
    extent: tuple[int, int]
    """First byte of its segments, and one past the last."""
    start: int | None
    """Byte at which the rows of all samples follow each other without a gap, if they do."""
    sample: int = 0
    """Which of several samples of a pixel is this plane."""

    @property
    def where(self) -> str:
        """The plane, for messages."""
        return f"{self.file.path} page {self.page}" if self.page else str(self.file.path)

    @property
    def kind(self) -> tuple[tuple[int, int], str, int]:
        """What planes of one volume have in common: size, type, samples."""
        return self.layout.shape, self.layout.dtype.str[1:], self.layout.samples

    @property
    def unit(self) -> tuple[int, int]:
        """Smallest window that can be decoded."""
        rows, columns = self.layout.segment
        return (1, min(columns, 1024)) if self.decode is None else (rows, columns)

    def facts(self) -> tuple[Any, ...]:
        """Return what identifies the plane, for a digest."""
        tables = (self.offsets.checksum, self.sizes.checksum if self.sizes else None, self.start)
        return self.file.path.name, self.page, self.sample, *tables

    def head(self, descriptor: int, count: int) -> bytes:
        """Return the first bytes of its voxels as they are stored."""
        at = self.offsets.part(descriptor, 0, 1)[0] if self.start is None else self.start
        return os.pread(descriptor, count, at)

    def segments(self, descriptor: int) -> NDArray[np.uint64]:
        """Return first byte and length of every segment, shape (segments, 2)."""
        starts = self.offsets.part(descriptor, 0, self.offsets.count)
        if self.sizes is None:
            lengths: tuple[int, ...] = (self.extent[1] - self.extent[0],)
        else:
            lengths = self.sizes.part(descriptor, 0, self.sizes.count)
        return np.array([starts, lengths], np.uint64).T

    def of_sample(self, sample: int) -> Plane:
        """Return the plane of another sample of the same pixels."""
        return self if sample == self.sample else replace(self, sample=sample)


def plane_of(directory: Directory, decoders: Decoders) -> Plane:
    """Check one page and note how to read its first sample.

    Parameters
    ----------
    directory : Directory
        The page's tags.
    decoders : Decoders
        Pages that decode alike share one decoder; pass the same object for all of a source.

    Raises
    ------
    VolumeError
        If the page is coloured, holds no real numbers, needs a missing decoder, or points beyond
        the end of the file.
    """
    layout = layout_of(directory, decoders.layouts)
    decode = decoders.of(layout, directory)
    if decode is not None and layout.segment_bytes > LARGEST_SEGMENT:
        raise VolumeError(
            f"{directory.where} has segments of {layout.segment_bytes} bytes, which no memory is "
            "risked for; export it with smaller strips or tiles"
        )
    tag = 324 if layout.tiled else 273
    if tag not in directory:
        raise VolumeError(f"{directory.where} holds no voxels; export the volume again")
    offsets, starts = directory.table(tag)
    sizes, lengths = _sizes(directory, layout)
    _check_segments(directory, layout, starts, lengths)
    file = directory.source.file
    start = None
    if decode is None and not layout.tiled and (starts[:-1] + lengths[:-1] == starts[1:]).all():
        start, layout = int(starts[0]), as_one_segment(layout)
    extent = int(starts.min()), int((starts + lengths).max())
    return Plane(file, directory.page, layout, decode, offsets, sizes, extent, start)


def _sizes(directory: Directory, layout: Layout) -> tuple[Table | None, NDArray[np.uint64]]:
    tag = 325 if layout.tiled else 279
    if tag in directory:
        return directory.table(tag)
    if not layout.is_raw or layout.segments != 1:
        raise VolumeError(f"{directory.where} does not say how long its segments are; save it anew")
    return None, np.array([layout.segment_bytes], np.uint64)


def _check_segments(
    directory: Directory, layout: Layout, starts: NDArray[np.uint64], lengths: NDArray[np.uint64]
) -> None:
    where, size = directory.where, directory.source.file.size
    if len(starts) != layout.segments or len(lengths) != layout.segments:
        raise VolumeError(
            f"{where} has {len(starts)} segments and {layout.shape[0]} x {layout.shape[1]} voxels "
            f"take {layout.segments}: it is damaged"
        )
    empty = int(np.count_nonzero(lengths == 0))
    if empty:
        raise VolumeError(f"{where} lacks {empty} of {len(lengths)} segments; export it again")
    # Beyond 2^63 the sum of an offset and a length could wrap around.
    end = max(int(starts.max()), int((starts.astype(np.float64) + lengths).max()))
    if end > size or end >= 1 << 62:
        raise VolumeError(
            f"{where} is truncated: its data should end at byte {end}, the file has {size} bytes. "
            "Copy the file again"
        )
    full = needed(layout)
    if layout.is_raw and (lengths < full).any():
        raise VolumeError(
            f"{where} is truncated: segment {int(np.argmax(lengths < full))} has "
            f"{int(lengths.min())} bytes and takes {int(np.max(full))}"
        )
    if (lengths * _EXPANSION.get(layout.compression, 1 << 20) < full).any():
        raise VolumeError(
            f"{where} declares {layout.shape[0]} x {layout.shape[1]} voxels, which its "
            f"{int(lengths.sum())} bytes cannot hold: it is damaged"
        )
    if overlap(np.stack([starts, lengths], axis=1)):
        raise VolumeError(
            f"{where} has segments that lie over each other: its table of them is damaged. Copy or "
            "export it again"
        )


def overlap(pieces: NDArray[np.uint64]) -> bool:
    """Whether pieces of a file lie over each other; the same piece twice does not count.

    Examples
    --------
    >>> overlap(np.array([[0, 10], [10, 5], [10, 5]], np.uint64))
    False
    >>> overlap(np.array([[0, 10], [9, 5]], np.uint64))
    True
    """
    pieces = np.unique(pieces, axis=0)
    return bool((pieces[:-1, 0] + pieces[:-1, 1] > pieces[1:, 0]).any())
