"""Where a Zarr lies, and reads from there that never take damage for empty space."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from neuroconn.errors import VolumeError
from neuroconn.volume.checked_reads import CheckedReads, one_line
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
