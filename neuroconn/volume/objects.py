"""Objects under an address, read and written whole: what a run needs of an object store.

A PUT that was answered is durable, and nobody sees half of one. There is no append, no rename, and
nothing is assumed of listing but that it names what lies under a prefix.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from neuroconn.errors import StorageError
from neuroconn.volume import connection
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.connection import Patience, connect, explained, obstore_module, passing

_Answer = TypeVar("_Answer")


class Objects:
    """The objects under an address.

    Parameters
    ----------
    at : ObjectPath
        Where keys start.
    patience : Patience, optional
        How long an answer is waited for; that of a run, unless given.

    Raises
    ------
    VolumeError
        If obstore is not installed.
    StorageError
        From every method: if the server refuses or cannot be reached, in one line.
    """

    def __init__(self, at: ObjectPath, patience: Patience | None = None) -> None:
        self.at = at
        self._patience = patience or connection.WRITING
        self._obstore = obstore_module(str(at))
        self._store = connect(at, self._patience)

    def get(self, key: str) -> bytes | None:
        """Return an object, None if it is absent."""
        tagged = self.get_tagged(key)
        return None if tagged is None else tagged[0]

    def get_tagged(self, key: str) -> tuple[bytes, str] | None:
        """Return an object and the tag of this version of it, None if it is absent."""

        def get() -> tuple[bytes, str]:
            answer = self._obstore.get(self._store, key)
            return bytes(answer.bytes()), str(answer.meta.get("e_tag") or "")

        return self._ask(f"cannot read {self.at}/{key}", get, absent=None)

    def size(self, key: str) -> int | None:
        """Return the size of an object, None if it is absent."""

        def head() -> int:
            return int(self._obstore.head(self._store, key)["size"])

        return self._ask(f"cannot look at {self.at}/{key}", head, absent=None)

    def check_parts(self, key: str) -> None:
        """Refuse a server that cannot send a part of an object, which reading shards takes."""

        def part() -> None:
            self._obstore.get_range(self._store, key, start=1, length=1)

        self._ask(f"parts of {self.at}/{key} cannot be read", part)

    def tag(self, key: str) -> str | None:
        """Return what tells this version of an object from others, None if it is absent."""

        def head() -> str:
            return str(self._obstore.head(self._store, key).get("e_tag") or "")

        return self._ask(f"cannot look at {self.at}/{key}", head, absent=None)

    def put(self, key: str, data: bytes) -> None:
        """Store an object in place of what was there."""
        self._write(key, data, "overwrite")

    def create(self, key: str, data: bytes) -> bool:
        """Store an object unless there is one; returns whether it holds ``data`` now.

        An answer that was lost on its way is found out by looking, so data that tells its writer
        tells who was first.
        """
        try:
            self._write(key, data, "create")
        except self._obstore.exceptions.AlreadyExistsError:
            return self.get(key) == data
        return True

    def keeps_first(self, key: str, data: bytes) -> bool:
        """Whether the server refuses to create an object, which holds ``data``, once more."""
        try:
            self._write(key, data, "create")
        except self._obstore.exceptions.AlreadyExistsError:
            return True
        return False

    def swap(self, key: str, data: bytes, tag: str) -> bool:
        """Replace the version ``tag`` of an object; returns whether it holds ``data`` now."""
        try:
            self._write(key, data, {"e_tag": tag})
        except (self._obstore.exceptions.PreconditionError, FileNotFoundError):
            return self.get(key) == data
        return True

    def delete(self, *keys: str) -> None:
        """Remove objects; those that are absent do not matter."""
        for start in range(0, len(keys), 1000):
            part = list(keys[start : start + 1000])
            self._ask(f"cannot delete {self.at}/{part[0]}", partial(self._remove, part))

    def _remove(self, keys: list[str]) -> None:
        self._obstore.delete(self._store, keys)

    def _write(self, key: str, data: bytes, mode: Any) -> None:
        def put() -> None:
            # A part of a multipart upload that was cut off is invisible, and is paid for.
            self._obstore.put(self._store, key, data, mode=mode, use_multipart=False)

        self._ask(f"cannot write {self.at}/{key}", put)

    def _ask(self, what: str, ask: Callable[[], _Answer], absent: Any = ...) -> _Answer:
        """Make a request, again as long as that may help."""
        exceptions = self._obstore.exceptions
        pauses = self._patience.pauses()
        while True:
            try:
                return ask()
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                raise
            except Exception as error:  # obstore's own types, and Python's
                if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                    if absent is not ...:
                        found: _Answer = absent
                        return found
                    raise
                pause = next(pauses, None) if passing(error) else None
                if pause is None:
                    raise StorageError(f"{what}: {explained(error, self._store)}") from None
            time.sleep(pause)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield key and size of the objects under a prefix, which ends at a slash."""
        last: str | None = None
        pages = self._pages(prefix, last)
        pauses = self._patience.pauses()
        while True:
            try:
                page: Any = next(pages, None)
            except Exception as error:  # obstore's own types
                pause = next(pauses, None) if passing(error) else None
                if pause is None:
                    reason = explained(error, self._store)
                    raise StorageError(f"cannot list {self.at}: {reason}") from None
                time.sleep(pause)
                pages = self._pages(prefix, last)  # a listing that broke off would seem complete
                continue
            if page is None:
                return
            for meta in page:
                last = str(meta["path"])
                yield last, int(meta["size"])

    def _pages(self, prefix: str, after: str | None) -> Iterator[Any]:
        return iter(self._obstore.list(self._store, prefix or None, offset=after, chunk_size=1000))
