"""Where a Zarr lies, and reads from there that never take damage for empty space.

zarr reads an object that is absent as the fill value. Before 3.4 it does the same with an empty
object and with a range beyond the end of a shard, so an answer shorter than asked for is an error
here.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import LocalStore

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import digest

LARGEST_DOCUMENT = 64 << 20
"""Metadata beyond it is damage; consolidated metadata of thousands of arrays stays below."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What can be told of a stored object without decoding it."""

    key: str
    size: int
    """-1 if it is absent."""
    tag: str = ""
    """Version the server gives it, or a digest of its first bytes."""


@dataclass(frozen=True)
class Place(ABC):
    """The root of a Zarr hierarchy; pickles as its address and reopens on the other side."""

    sampled: ClassVar[int]
    """Stored objects that are looked at to tell one array from another."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What people call it."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Address for messages; holds no secret."""

    @abstractmethod
    def document(self, key: str) -> bytes | None:
        """Return a metadata object, None if it is absent.

        Raises
        ------
        VolumeError
            If the place cannot be reached, or the object not be read.
        """

    @abstractmethod
    def children(self, path: str) -> list[str] | None:
        """Names of what a group may hold; None where nothing can be listed."""

    @abstractmethod
    def glances(self, keys: Sequence[str], *, in_parts: bool) -> list[Glance]:
        """Look at a few objects.

        Raises
        ------
        VolumeError
            If they are to be read ``in_parts`` and that is not possible.
        """

    @abstractmethod
    def open_store(self) -> Store:
        """Open for reading; the store is not shared between processes."""

    @cached_property
    def store(self) -> Store:
        """The open store of this process."""
        return self.open_store()

    def __getstate__(self) -> dict[str, Any]:
        # An open store may hold connections and credentials: it is opened again instead.
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class LocalPlace(Place):
    """A folder."""

    sampled: ClassVar[int] = 64
    root: Path

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.root.name or str(self.root)

    @property
    def where(self) -> str:
        """The path."""
        return str(self.root)

    def document(self, key: str) -> bytes | None:
        """Return a metadata file that lies inside the folder."""
        path = self.root / key
        try:
            self.check_inside(path)
            if not path.is_file():
                return None
            if path.stat().st_size > LARGEST_DOCUMENT:
                raise VolumeError(f"{path} is too large for metadata; it is damaged")
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: links that form a loop
            raise VolumeError(f"{path} cannot be read: {one_line(error)}") from error

    def children(self, path: str) -> list[str]:
        """Names of the folders in a group."""
        try:
            with os.scandir(self.root / path) as entries:
                return sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")
        except OSError as error:
            raise VolumeError(f"{self.root / path} cannot be listed: {error.strerror}") from error

    def glances(self, keys: Sequence[str], *, in_parts: bool) -> list[Glance]:
        """Sizes and first bytes of a few files."""
        return [self._glance(key) for key in keys]

    def open_store(self) -> Store:
        """Open the folder for reading."""
        return CheckedLocalStore(self.root, read_only=True)

    def check_inside(self, path: Path) -> None:
        """Refuse a path that a link leads out of the folder.

        Raises
        ------
        VolumeError
            If it does: whoever made the store could make any file of this machine a brain.
        """
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise VolumeError(
                f"{path} is reached through a link that leaves {self.root}; only what lies inside "
                "is read. Copy the linked files in its place"
            )

    def _glance(self, key: str) -> Glance:
        try:
            with (self.root / key).open("rb") as file:
                return Glance(key, os.fstat(file.fileno()).st_size, digest(file.read(4096)))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return Glance(key, -1)
        except OSError as error:
            raise VolumeError(f"{self.root / key} cannot be read: {error.strerror}") from error


class CheckedReads(Store):
    """Mixin over a store: what was asked for, or absent, or an error."""

    absent: int = 0
    """How often nothing was there."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object, or a range of it.

        Raises
        ------
        ValueError
            If the object is empty, or ends before the range does.
        """
        prototype, held = prototype or default_buffer_prototype(), _WHOLE.get()
        if byte_range is None or key not in held:
            # The class that is mixed in defines it; the one here is abstract.
            data: Any = await super().get(key, prototype, byte_range)  # type: ignore[safe-super]
            return self._checked(key, data, byte_range)
        if held[key] is None:
            held[key] = asyncio.ensure_future(self.get(key, prototype))
        whole = await held[key]
        part = None if whole is None else whole[_span(byte_range, len(whole))]
        return self._checked(key, part, byte_range)

    def _checked(self, key: str, data: Any, byte_range: ByteRequest | None) -> Buffer | None:
        """Return what was read, if it is all that was asked for."""
        if data is None:
            self.absent += 1
            return None
        wanted = 1
        if isinstance(byte_range, RangeByteRequest):
            wanted = byte_range.end - byte_range.start
        elif isinstance(byte_range, SuffixByteRequest):
            wanted = byte_range.suffix
        if len(data) < max(wanted, 1):
            state = "is empty" if not len(data) else f"ends after {len(data)} of {wanted} bytes"
            raise ValueError(f"{key} {state}: its voxels are lost")
        return cast("Buffer", data)


@contextmanager
def fetched_whole(keys: Iterable[str]) -> Iterator[None]:
    """Fetch these objects in one go where zarr asks for a part of them.

    zarr 3.1 asks for the inner chunks of a shard one after the other unless it needs all that the
    shard could hold, which at the far faces of a volume it never does.
    """
    token = _WHOLE.set(dict.fromkeys(keys))
    try:
        yield
    finally:
        _WHOLE.reset(token)


_WHOLE: ContextVar[dict[str, Any]] = ContextVar("whole objects", default={})  # noqa: B039
"""Objects of the read under way; zarr runs it in another thread, in a copy of this context."""


def _span(wanted: ByteRequest, size: int) -> slice:
    if isinstance(wanted, RangeByteRequest):
        return slice(wanted.start, wanted.end)
    if isinstance(wanted, SuffixByteRequest):
        return slice(max(0, size - wanted.suffix), size)
    return slice(wanted.offset, size)


class CheckedLocalStore(CheckedReads, LocalStore):
    """A folder, read with checks."""

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read as :meth:`get` does; newer versions of zarr prefer it."""
        data = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        return self._checked(key, data, byte_range)


def one_line(error: BaseException) -> str:
    """First line of an exception's message; its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
