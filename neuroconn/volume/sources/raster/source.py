"""Voxels in plain C order, as NRRD, NIfTI and MetaImage store them: in files, or packed in one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.arrays.staging import Staged
from neuroconn.volume.sources.base import (
    Choice,
    Source,
    check_numeric,
    chosen_channel,
    file_identity,
)
from neuroconn.volume.sources.raster.placement import Placement
from neuroconn.volume.sources.raster.unpack import Packed

_SPAN = 2**24
"""Bytes that one request reads at most, if it takes in more than the voxels that are wanted."""
_GAP = 2**15
"""Unwanted bytes between rows that are cheaper read than skipped: disks read ahead further."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How voxels follow one another: (z, y, x), and channels at some place among these axes."""

    shape: tuple[int, ...]
    """Stored, slowest axis first."""
    dtype: np.dtype[Any]
    """With the byte order of the file."""
    channel_axis: int | None = None

    @property
    def channels(self) -> int:
        """How many there are; 1 without such an axis."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis]

    @property
    def volume(self) -> ZYX:
        """Shape of one channel, (z, y, x)."""
        z, y, x = (n for k, n in enumerate(self.shape) if k != self.channel_axis)
        return z, y, x

    @property
    def nbytes(self) -> int:
        """Bytes of all channels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one sample to the next along each stored axis."""
        after = (math.prod(self.shape[k + 1 :]) for k in range(len(self.shape)))
        return tuple(n * self.dtype.itemsize for n in after)


@dataclass(frozen=True, slots=True)
class Plain:
    """Voxels that lie in files as they are; several files share the slowest axis evenly.

    They are read by ``pread`` and not mapped: a file that is cut while it is read, or a network
    disk that fails, is then an error with a name instead of a SIGBUS that ends the process.
    """

    files: tuple[Path, ...]
    offset: int | None = 0
    """First byte of the voxels in each file; None if they are its last bytes."""

    def offsets(self, layout: Layout) -> tuple[int, ...]:
        """Where the voxels of each file begin, once its size is found to fit.

        Raises
        ------
        VolumeError
            If a file is shorter or longer than the header says.
        """
        if layout.shape[0] % len(self.files):
            raise VolumeError(
                f"{len(self.files)} files ({self.files[0].name} ...) cannot share "
                f"{layout.shape[0]} planes evenly; the header does not fit them"
            )
        share = layout.nbytes // len(self.files)
        return tuple(self._offset(file, share) for file in self.files)

    def _offset(self, file: Path, share: int) -> int:
        size = file.stat().st_size
        start = size - share if self.offset is None else self.offset
        if start < 0 or start + share > size:
            raise VolumeError(
                f"{file} is truncated: its voxels should end at byte {max(start, 0) + share}, the "
                f"file has {size} bytes. Copy it again"
            )
        if start + share < size:
            raise VolumeError(
                f"{file} goes on for {size - start - share} bytes after its voxels should end at "
                f"byte {start + share}: the header describes another file. Export it again"
            )
        return start


Stored: TypeAlias = Plain | Packed


class RasterSource(Source):
    """One channel of a raster; safe to share between threads.

    Plain files are read by ``pread``, which has no position to share. Packed ones are unpacked
    once, under a lock, into a map that is only read afterwards.
    """

    def __init__(
        self, path: Path, layout: Layout, stored: Stored, choice: Choice, placement: Placement
    ) -> None:
        self.dtype = check_numeric(layout.dtype, str(path))
        if min(layout.shape) < 1:
            raise VolumeError(f"{path} has shape {layout.shape} and so no voxels; export it again")
        self._layout = layout
        self._reader = (
            _PackedReader(layout, stored, path)
            if isinstance(stored, Packed)
            else _PlainReader(layout, stored)
        )
        self.channels, self.shape = layout.channels, layout.volume
        self._channel = chosen_channel(layout.channels, choice, str(path))
        self.unit = (1, 1, min(self.shape[2], 1024))
        self.spacing_um, self.origin_um = placement.spacing_um, placement.origin_um
        self.notes = placement.notes
        files = [path, *(file for file in self._reader.files if file != path)]
        how = stored.codec if isinstance(stored, Packed) else "uncompressed"
        more = f" in {len(files)} files" if len(files) > 1 else ""
        self.description = f"{self.format} volume, {how}{more}"
        facts = [layout.shape, layout.dtype.str, layout.channel_axis, self._channel]
        self.identity = file_identity(
            path.name, files, [*facts, *self._reader.facts], self._reader.sample()
        )

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        return self._reader.read(box, self._channel)


class _PackedReader:
    """Unpacks everything when the first voxel is wanted."""

    def __init__(self, layout: Layout, packed: Packed, path: Path) -> None:
        packed.check(layout.nbytes)
        self.files = (packed.path,)
        self.facts = [packed.codec, packed.offset, packed.skip]
        self._layout, self._packed = layout, packed
        self._staged = Staged(layout.shape, layout.dtype, packed, layout.nbytes, str(path))

    def read(self, box: Box, channel: int) -> NDArray[Any]:
        voxels = self._staged.array()
        if self._layout.channel_axis is not None:
            voxels = np.moveaxis(voxels, self._layout.channel_axis, 0)[channel]
        return np.array(voxels[box.slices], self._layout.dtype.newbyteorder("="))

    def sample(self) -> bytes:
        with self._packed.path.open("rb") as file:
            file.seek(self._packed.offset)
            return file.read(4096)


class _PlainReader:
    """Reads rows, or spans of rows where most of their bytes are wanted."""

    def __init__(self, layout: Layout, plain: Plain) -> None:
        self._layout, self.files = layout, plain.files
        self._starts = plain.offsets(layout)
        self.facts: list[Any] = [list(self._starts)]
        # The channel is an offset; what is left are the strides of (z, y, x).
        self._strides = [n for k, n in enumerate(layout.strides) if k != layout.channel_axis]

    def read(self, box: Box, channel: int) -> NDArray[Any]:
        volume = np.empty(box.shape, self._layout.dtype.newbyteorder("="))
        if not box.size:
            return volume
        step, (_, down, across) = self._step(box), self._strides
        scratch = np.empty(self._bytes(step, box), np.uint8)
        for z, plane in enumerate(volume, box.start[0]):
            number, start = self._plane(z, channel)
            with _opened(self.files[number]) as descriptor:
                for y in range(0, box.shape[1], step):
                    rows = plane[y : y + step]
                    at = start + (y + box.start[1]) * down + box.start[2] * across
                    span = scratch[: self._bytes(len(rows), box)]
                    _fill(span, descriptor, self.files[number], at)
                    rows[:] = np.ndarray(
                        rows.shape, self._layout.dtype, span.data, strides=(down, across)
                    )
        return volume

    def sample(self) -> bytes:
        share = self._layout.nbytes // len(self.files)
        parts = []
        for file, start in ((f, self._starts[k]) for k, f in _ends(self.files)):
            with _opened(file) as descriptor:
                parts.append(np.empty(min(share, 4096), np.uint8))
                _fill(parts[-1], descriptor, file, start)
        return b"".join(part.tobytes() for part in parts)

    def _plane(self, z: int, channel: int) -> tuple[int, int]:
        """Which file holds a plane of a channel, and at which byte."""
        layout = self._layout
        channels_first = layout.channel_axis == 0
        slowest = channel if channels_first else z
        number, within = divmod(slowest, layout.shape[0] // len(self.files))
        start = self._starts[number] + within * layout.strides[0]
        if channels_first:
            return number, start + z * self._strides[0]
        if layout.channel_axis is not None:
            start += channel * layout.strides[layout.channel_axis]
        return number, start

    def _step(self, box: Box) -> int:
        """How many rows are read at once: one where most bytes of several would be unwanted."""
        row, stride = self._bytes(1, box), self._strides[1]
        dense = 4 * row >= stride or stride - row <= _GAP
        return min(max(1, _SPAN // stride), box.shape[1]) if dense else 1

    def _bytes(self, rows: int, box: Box) -> int:
        """From the first wanted byte of some rows to the last."""
        _, down, across = self._strides
        return (rows - 1) * down + (box.shape[2] - 1) * across + self._layout.dtype.itemsize


def _ends(files: Sequence[Path]) -> list[tuple[int, Path]]:
    """Return the first and the last file, with their numbers."""
    return list(enumerate(files))[:: max(1, len(files) - 1)]


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError as error:
        raise VolumeError(f"{file} cannot be opened: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _fill(buffer: NDArray[np.uint8], descriptor: int, file: Path, offset: int) -> None:
    """Fill a buffer from a file; one request may return fewer bytes than it was asked for."""
    view = buffer.data
    while view:
        try:
            count = os.preadv(descriptor, [view[: 2**30]], offset)
        except OSError as error:
            raise VolumeError(f"{file} byte {offset} cannot be read: {error.strerror}") from error
        if not count:
            raise VolumeError(
                f"{file} ended at byte {offset}: it has changed since it was opened. Copy it again"
            )
        view, offset = view[count:], offset + count
