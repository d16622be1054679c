"""Zarr over an object store: what fails does so in words, and what is damaged never reads as empty.

Zarr's own store takes an empty or short object for fill value, and passes on what the library of
the server happens to raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from zarr.core.buffer import Buffer
from zarr.storage import ObjectStore

from neuroconn.errors import InterruptedRunError, StorageError, VolumeError
from neuroconn.volume import connection
from neuroconn.volume.address import Address, ObjectPath
from neuroconn.volume.checked_reads import CheckedReads, Span
from neuroconn.volume.connection import Patience, connect, explained, obstore_module, passing
from neuroconn.volume.objects import Objects

_Answer = TypeVar("_Answer")

ROOTS = ("zarr.json", ".zattrs", ".zgroup")
"""Documents of a group; the last of them that is written makes it one."""


class _WordyStore(ObjectStore[Any]):
    """Objects under an address; knows it, and how long to wait for an answer."""

    def __init__(self, at: ObjectPath, patience: Patience, *, read_only: bool) -> None:
        obstore_module(str(at))
        super().__init__(connect(at, patience), read_only=read_only)
        self.at = at
        self.patience = patience

    def with_read_only(self, read_only: bool = False) -> Any:
        """Return a store of the same objects that writes or does not."""
        return type(self)(self.at, self.patience, read_only=read_only)

    def __reduce__(self) -> tuple[Any, ...]:
        # An open store holds connections and credentials: it is opened again instead.
        return _reopen, (self.at, self.patience, self.read_only)

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        """Read an object, or a part of it.

        Raises
        ------
        ValueError
            If the part lies behind its end.
        InterruptedRunError
            If the server refuses or cannot be reached.
        """
        reader = super().get
        return await self._read(args[0], lambda: reader(*args, **kwargs))

    async def get_spans(self, key: str, spans: Sequence[Span]) -> dict[Span, Any] | None:
        """Read several ranges of an object at once; None if it is absent."""
        import obstore

        starts, ends = [start for start, _ in spans], [end for _, end in spans]

        def ask() -> Awaitable[Any]:
            return obstore.get_ranges_async(self.store, key, starts=starts, ends=ends)

        try:
            return dict(zip(spans, await self._read(key, ask), strict=True))
        except FileNotFoundError:
            return None

    async def set(self, key: str, value: Buffer) -> None:
        """Store an object whole.

        Raises
        ------
        StorageError
            If the server refuses or cannot be reached.
        """
        import obstore

        self._check_writable()
        data = value.to_bytes()

        def put() -> Awaitable[Any]:
            return obstore.put_async(self.store, key, data, use_multipart=False)

        try:
            await self._patiently(put)
        except Exception as error:  # obstore's own types
            reason = explained(error, self.store)
            raise StorageError(f"cannot write {self.at}/{key}: {reason}") from None

    async def _read(self, key: str, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        try:
            return await self._patiently(ask)
        except FileNotFoundError:
            raise
        except Exception as error:  # obstore's own types
            if "416 Range" in str(error):
                raise ValueError(f"{key} ends before its chunks do") from None
            raise InterruptedRunError(f"{key}: {explained(error, self.store)}") from None

    async def _patiently(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        pauses = self.patience.pauses()
        while True:
            try:
                return await ask()
            except Exception as error:  # obstore's own types
                pause = next(pauses, None) if passing(error) else None
                if pause is None or isinstance(error, FileNotFoundError):
                    raise
            await asyncio.sleep(pause)


class ZarrObjects(CheckedReads, _WordyStore):
    """The same, read with checks."""

    get_spans = _WordyStore.get_spans

    @property
    def objects(self) -> Objects:
        """The same objects without Zarr."""
        return Objects(self.at, self.patience)


def open_objects(at: ObjectPath, patience: Patience | None = None, *, write: bool) -> ZarrObjects:
    """Open an address for Zarr.

    Raises
    ------
    VolumeError
        If obstore is not installed.
    """
    usual = connection.WRITING if write else connection.READING
    return ZarrObjects(at, patience or usual, read_only=not write)


def zarr_store(
    path: Address, mode: Literal["r", "r+"], patience: Patience | None = None
) -> str | ZarrObjects:
    """Return what zarr opens an address by."""
    if isinstance(path, ObjectPath):
        return open_objects(path, patience, write=mode == "r+")
    return str(path)


def is_writable(path: Address) -> bool:
    """Whether an address is of a kind that can be written to."""
    return path.writable if isinstance(path, ObjectPath) else True


def image_format(path: Address) -> Literal[2, 3] | None:
    """Return the Zarr format of the group at an address; None to let zarr find out.

    Refuses an address with nothing behind it before zarr does so in its own words.

    Raises
    ------
    VolumeError
        If there is none, or the server refuses.
    """
    if isinstance(path, Path):
        if not path.is_dir():
            raise VolumeError(f"no OME-Zarr image at {path}: there is no such folder")
        return None
    objects = Objects(path, connection.OPENING)
    try:
        found = next((key for key in ROOTS if objects.get(key) is not None), None)
        if found is None:
            raise VolumeError(
                f"no OME-Zarr image at {path}: neither {ROOTS[0]} nor {ROOTS[1]} is there"
            )
        if not path.writable:
            objects.check_parts(found)
    except StorageError as error:
        raise VolumeError(str(error)) from None
    return 3 if found == ROOTS[0] else 2


def _reopen(at: ObjectPath, patience: Patience, read_only: bool) -> ZarrObjects:
    return ZarrObjects(at, patience, read_only=read_only)
