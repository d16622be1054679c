"""Which objects of a local array are there, and what identifies them.

zarr reads an absent object as the fill value, so absence is counted: once, by listing folders. A
store of millions of chunks costs no access to the chunks themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from neuroconn.errors import VolumeError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.volume.axes import AxisView, triple
from neuroconn.volume.checked_reads import one_line
from neuroconn.volume.sources.base import Identity, digest
from neuroconn.volume.sources.stores.nodes import join
from neuroconn.volume.sources.stores.place import LocalPlace, Place


@dataclass(frozen=True, slots=True)
class StoredObjects:
    """Stored objects of one volume."""

    expected: int
    """Shards of the grid, or chunks where there are no shards."""
    present: int | None
    """None where they cannot be listed."""

    def notes(self, where: str, fill_value: Any) -> tuple[str, ...]:
        """Say what will be read as the fill value.

        Raises
        ------
        VolumeError
            If nothing at all is stored.
        """
        fill = f"the fill value {fill_value if fill_value is not None else 0}"
        if self.present is None:
            return (f"{where}: chunks that are absent behind a URL are not told from {fill}",)
        if not self.present:
            raise VolumeError(
                f"{where}: none of its {self.expected} stored chunks is there, so every voxel "
                f"would be {fill}. Copy it again with its chunks"
            )
        absent = self.expected - self.present
        if not absent:
            return ()
        return (
            f"{where}: {absent} of {self.expected} stored chunks are absent and read as {fill}",
        )


def stored_objects(place: Place, view: AxisView) -> StoredObjects:
    """Count the stored objects of a volume.

    Raises
    ------
    VolumeError
        If a link among them leaves the store.
    """
    grid = ChunkGrid(view.shape, view.shards or view.chunks)
    expected = prod(grid.counts)
    if not isinstance(place, LocalPlace):
        return StoredObjects(expected, None)
    return StoredObjects(expected, _Listing(place, view, grid).count())


def identity(
    place: Place, view: AxisView, documents: tuple[str, ...], found: int | None
) -> Identity:
    """Identity of an array: its metadata, how many objects there are, and a sample of them."""
    glances = place.glances(_sample_keys(view, place.sampled), in_parts=view.shards is not None)
    return Identity(
        name=place.name,
        files=len(documents) + (sum(g.size >= 0 for g in glances) if found is None else found),
        bytes=sum(len(text) for text in documents) + sum(max(g.size, 0) for g in glances),
        layout=digest([*documents, *((g.key, g.size) for g in glances)]),
        sample=digest([g.tag for g in glances]),
    )


def object_key(view: AxisView, index: ZYX) -> str:
    """Return the key of a stored object, relative to the root."""
    stored = view.stored
    return join(stored.path, stored.metadata.encode_chunk_key(view.stored_index(index)))


def _sample_keys(view: AxisView, most: int) -> list[str]:
    """Keys of objects spread evenly over the volume, the first and the last among them."""
    grid = ChunkGrid(view.shape, triple(view.shards or view.chunks))
    total = prod(grid.counts)
    count = min(most, total)
    positions = {k * (total - 1) // max(1, count - 1) for k in range(count)}
    return [object_key(view, _unravel(position, grid.counts)) for position in sorted(positions)]


def _unravel(position: int, counts: ZYX) -> ZYX:
    rest, x = divmod(position, counts[2])
    z, y = divmod(rest, counts[1])
    return z, y, x


class _Listing:
    """Walks the folders that hold one volume's objects."""

    def __init__(self, place: LocalPlace, view: AxisView, grid: ChunkGrid) -> None:
        self._place = place
        # The key of any object tells how keys are made: "c/0/0/0", "0.0.0" and the like.
        array, ndim = view.stored, len(view.stored.shape)
        prefix, self._separator = _key_form(array.metadata.encode_chunk_key((0,) * ndim), ndim)
        self._prefix = "" if self._separator == "/" else prefix
        folder = place.root / array.path
        self._folder = folder / prefix.rstrip("/") if self._separator == "/" else folder
        low, high = view.stored_index((0, 0, 0)), view.stored_index(_last(grid.counts))
        self._ranges = [range(a, b + 1) for a, b in zip(low, high, strict=True)]

    def count(self) -> int:
        if not self._folder.is_dir():
            return 0
        self._place.check_inside(self._folder)
        return self._nested(self._folder, 0) if self._separator == "/" else self._flat()

    def _nested(self, folder: Path | str, depth: int) -> int:
        last, count = depth == len(self._ranges) - 1, 0
        for entry in self._entries(folder):
            if _number(entry.name) not in self._ranges[depth]:
                continue
            self._check_link(entry)
            if last:
                count += entry.is_file()
            elif entry.is_dir():
                count += self._nested(entry.path, depth + 1)
        return count

    def _flat(self) -> int:
        count = 0
        for entry in self._entries(self._folder):
            if not entry.name.startswith(self._prefix):
                continue
            parts = entry.name[len(self._prefix) :].split(self._separator)
            if len(parts) == len(self._ranges) and all(
                _number(p) in r for p, r in zip(parts, self._ranges, strict=True)
            ):
                self._check_link(entry)
                count += entry.is_file()
        return count

    def _entries(self, folder: Path | str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from entries
        except OSError as error:
            raise VolumeError(f"{folder} cannot be listed: {error.strerror}") from error

    def _check_link(self, entry: os.DirEntry[str]) -> None:
        if not entry.is_symlink():
            return
        try:
            self._place.check_inside(Path(entry.path))
            entry.stat()
        except FileNotFoundError:  # it leads nowhere: absent
            return
        except (OSError, RuntimeError) as error:
            raise VolumeError(f"{entry.path} is a loop of links ({one_line(error)})") from error


def _key_form(key: str, ndim: int) -> tuple[str, str]:
    """Split ``c/0/0/0`` into what stands before the numbers and what stands between them."""
    separator = "/" if key.count("/") >= ndim - 1 else "."
    numbers = separator.join("0" * ndim)
    return key.removesuffix(numbers), separator


def _last(counts: ZYX) -> ZYX:
    z, y, x = counts
    return z - 1, y - 1, x - 1


def _number(text: str) -> int:
    """Return a chunk number; -1 if the name is none (``00`` is not how keys are written)."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    return number if str(number) == text else -1
