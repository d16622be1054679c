"""Reading a brain so that what is lost is noticed.

Zarr reads an object that is not there as fill value, without an error: right where nothing was
stored, a silent hole where something was. The records of a conversion tell the two apart. Of other
images an absent object is fill by the specification; it is counted, so that a report can say so.

Which voxels are damaged is a property of the stored objects, never of the tile that reads them:
with ``on_damage: fill`` every tile sees the same voxels.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid
from neuroconn.inference.anchor import Anchor
from neuroconn.volume.axes import VolumeArray, triple
from neuroconn.volume.checked_reads import CheckedReads
from neuroconn.volume.recorded import EMPTY, UNKNOWN, Recorded, recorded_levels
from neuroconn.volume.regions import Pad, pad_block, read_region, source_box, stored_grid
from neuroconn.volume.store import Image
from neuroconn.volume.stored import store_of, stored_name, stored_size

OnDamage: TypeAlias = Literal["fail", "fill"]

_NAMED = 3
_GONE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Voxels that a tile got as fill value, by the stored objects they lie in."""

    absent: int = 0
    """Voxels of the core in objects that are not stored, which stands for fill value."""
    damaged: tuple[tuple[ZYX, str], ...] = ()
    """Lost, with the reason; filled because the settings say so."""

    def __bool__(self) -> bool:
        return bool(self.absent or self.damaged)


NO_GAPS = Gaps()


@dataclass
class BrainReader:
    """Reads tiles of a level of a brain; may be shared by threads.

    Parameters
    ----------
    image : Image
        The brain.
    level : int
        What is read.
    on_damage : {"fail", "fill"}
        Whether a damaged object is an error, or reads as fill value.
    anchor : Anchor, optional
        Asked whether the brain is still there whenever something is missing.
    """

    image: Image
    level: int
    on_damage: OnDamage = "fail"
    anchor: Anchor | None = None
    array: VolumeArray = field(init=False)
    grid: ChunkGrid = field(init=False)
    """Stored objects of the level."""

    def __post_init__(self) -> None:
        self.array = self.image.array(self.level)
        self.grid = stored_grid(self.array)
        self._sound: dict[ZYX, str] = {}

    def read(self, tile: Box, core: Box, pad: Pad) -> tuple[NDArray[Any], Gaps]:
        """Read a tile, which may leave the volume.

        Parameters
        ----------
        tile : Box
            Voxels wanted.
        core : Box
            The part of it whose absent objects are counted.
        pad : {"reflect", "symmetric", "edge", "constant"}
            What stands outside the volume.

        Returns
        -------
        ndarray, shape of ``tile``
        Gaps
            What of it is fill value for want of something better.

        Raises
        ------
        VolumeError
            If stored objects are damaged or lost, naming them, unless ``on_damage`` is ``fill``.
        StorageError
            If the brain as a whole is gone, or another one is in its place.
        """
        shape = triple(self.array.shape)
        source = source_box(shape, tile, pad)
        before = self._unanswered()
        data, damaged = self._read(source)
        # Looked at after the read: what vanished during it was read as fill value too.
        all_there = before is not None and before == self._unanswered()
        missing = [] if all_there else self._missing(source)
        if self.anchor is not None:
            self.anchor.check(closely=bool(missing))
        damaged |= self._lost(missing) | self._altered(source, damaged)
        if damaged and self.on_damage == "fail":
            raise VolumeError(_sentence(damaged))
        if damaged or data is None:
            data = self._filled(source, data, damaged)
        # What a conversion recorded as empty is known to be fill value, and no gap.
        foreign = missing if missing and self.recorded is None else []
        absent = (self.grid.core(i).clip(core).size for i in foreign if i not in damaged)
        gaps = Gaps(sum(absent), tuple(sorted(damaged.items())))
        return pad_block(data, shape, tile, pad, self.array.fill_value), gaps

    def name(self, index: ZYX) -> str:
        """Path of a stored object, for people."""
        return stored_name(self.array, index)

    def altered_size(self, index: ZYX) -> str:
        """Say how a shard differs in size from the one that was written; nothing if it does not."""
        wrote = UNKNOWN if self.recorded is None else int(self.recorded.sums[index])
        if wrote == UNKNOWN:
            return ""
        size = stored_size(self.array, index)
        if (EMPTY if size is None else size) == wrote:
            return ""
        if size is None:
            return f"{self.name(index)} is missing, and the conversion wrote {wrote} bytes"
        return f"{self.name(index)} has {size} bytes, and the conversion wrote {max(0, wrote)}"

    @cached_property
    def recorded(self) -> Recorded | None:
        """What the conversion wrote; None if there is no record.

        Loaded when something is missing: for a sound brain it is needed in format 2 only.
        """
        return recorded_levels(self.image).get(self.level)

    def _unanswered(self) -> int | None:
        """How often the store had nothing for a key; None if it does not count."""
        store = store_of(self.array)
        return store.absent if isinstance(store, CheckedReads) else None

    def _missing(self, source: Box) -> list[ZYX]:
        objects = self.grid.overlapping(source)
        return [index for index in objects if stored_size(self.array, index) is None]

    def _read(self, source: Box) -> tuple[NDArray[Any] | None, dict[ZYX, str]]:
        """Read voxels of the volume, or find out which objects keep them from being read."""
        if not source.size:
            return np.empty(source.shape, self.array.dtype), {}
        try:
            return read_region(self.array, source), {}
        except VolumeError as error:
            _raise_if_passing(error)
            found = {i: why for i in self.grid.overlapping(source) if (why := self._why(i, source))}
            if not found:  # whole objects are sound now: whatever it was has passed
                return read_region(self.array, source), {}
            return None, found

    def _why(self, index: ZYX, source: Box) -> str:
        """Say why an object cannot be read; nothing if it can."""
        try:
            read_region(self.array, self.grid.core(index).clip(source))
        except VolumeError as error:
            _raise_if_passing(error)
            cause = str(error.__cause__ or error).strip().splitlines()
            if stored_size(self.array, index) == 0:
                return f"{self.name(index)} is empty"
            return f"{self.name(index)} is damaged ({cause[0] if cause else 'unreadable'})"
        return ""

    def _lost(self, missing: list[ZYX]) -> dict[ZYX, str]:
        """Of the objects that are not there, those that the conversion wrote."""
        if not missing or self.recorded is None or self.array.shards is None:
            return {}  # without shards the record is of the voxels; see _altered
        return {index: why for index in missing if (why := self.altered_size(index))}

    def _altered(self, source: Box, known: dict[ZYX, str]) -> dict[ZYX, str]:
        """Objects whose voxels are not those the conversion wrote: no codec of format 2 sees it."""
        if self.image.zarr_format != 2 or self.recorded is None:
            return {}
        found: dict[ZYX, str] = {}
        for block in self.recorded.grid.overlapping(source):
            if block not in self._sound:
                self._sound[block] = self._difference(block)
            if why := self._sound[block]:
                objects = self.grid.overlapping(self.recorded.grid.core(block).clip(source))
                found |= {i: why for i in objects if i not in known}
        return found

    def _difference(self, block: ZYX) -> str:
        assert self.recorded is not None
        sum_, box = int(self.recorded.sums[block]), self.recorded.grid.core(block)
        if sum_ == UNKNOWN:
            return ""
        try:
            voxels = np.ascontiguousarray(read_region(self.array, box))
        except VolumeError as error:
            _raise_if_passing(error)
            return ""  # those that cannot be decoded are named one by one
        if (sum_ == EMPTY and voxels.any()) or (sum_ >= 0 and zlib.crc32(voxels.data) != sum_):
            return (
                f"{self.image.path}, level {self.level}: the voxels of {box} are not those that "
                "the conversion wrote, or one of its chunks is missing"
            )
        return ""

    def _filled(
        self, source: Box, data: NDArray[Any] | None, damaged: dict[ZYX, str]
    ) -> NDArray[Any]:
        """Read what is left around damage, chunk by chunk."""
        out = np.full(source.shape, self.array.fill_value, dtype=self.array.dtype)
        inner = ChunkGrid(self.grid.shape, triple(self.array.chunks))
        for index in self.grid.overlapping(source):
            part = self.grid.core(index).clip(source)
            if index not in damaged:
                out[part.within(source)] = (
                    read_region(self.array, part) if data is None else data[part.within(source)]
                )
            elif self.array.shards is not None:
                for chunk, voxels in self._readable(inner, part):
                    out[chunk.within(source)] = voxels
        return out

    def _readable(self, inner: ChunkGrid, part: Box) -> Iterator[tuple[Box, NDArray[Any]]]:
        """Chunks of a damaged shard that still pass their checksums."""
        for index in inner.overlapping(part):
            chunk = inner.core(index).clip(part)
            try:
                yield chunk, read_region(self.array, chunk)
            except VolumeError as error:
                _raise_if_passing(error)


def _raise_if_passing(error: VolumeError) -> None:
    """Raise an error of the storage, which may be gone next time; damage stays."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno not in _GONE:
        raise error


def _sentence(damaged: dict[ZYX, str]) -> str:
    reasons = list(dict.fromkeys(damaged[index] for index in sorted(damaged)))
    more = f"; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return "; ".join(reasons[:_NAMED]) + more
