"""Reads of zarr stores that never take damage for empty space.

zarr reads an object that is absent as the fill value. Before 3.4 it does the same with an empty
object and with a range beyond the end of a shard, so an answer shorter than asked for is an error
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

Span: TypeAlias = tuple[int, int]
"""Start and end of bytes in an object."""


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
        prototype, ahead = prototype or default_buffer_prototype(), _AHEAD.get()
        data: Any
        if byte_range is not None and key in ahead.whole:
            if ahead.whole[key] is None:
                ahead.whole[key] = asyncio.ensure_future(self.get(key, prototype))
            whole = await ahead.whole[key]
            data = None if whole is None else whole[_span(byte_range, len(whole))]
            return self._checked(key, data, byte_range)
        data = await ahead.part(key, prototype, byte_range)
        if data is None:
            # The class that is mixed in defines it; the one here is abstract.
            data = await super().get(key, prototype, byte_range)  # type: ignore[safe-super]
        if isinstance(byte_range, SuffixByteRequest) and data is not None:
            ahead.start(self, key, data.to_bytes())
        return self._checked(key, data, byte_range)

    async def get_spans(self, key: str, spans: Sequence[Span]) -> dict[Span, Any] | None:
        """Read several ranges at once; None where that is not worth while."""
        return None

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


ONE_BY_ONE = not hasattr(Store, "get_ranges")
"""Whether zarr asks for the inner chunks of a shard one after the other; later it joins ranges."""


@dataclass
class _Ahead:
    """What is known of the read under way."""

    whole: dict[str, Any] = field(default_factory=dict)
    """Objects that are fetched in one go, and what they hold once they are asked for."""
    parts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Inner chunks of shards that will be asked for, by number in C order."""
    coming: dict[str, Any] = field(default_factory=dict)
    """Those of them that are on their way, by shard."""

    def start(self, store: CheckedReads, key: str, index: bytes) -> None:
        """Ask for the parts of a shard as soon as its index says where they are."""
        spans = _spans(index, self.parts.get(key, ()))
        if ONE_BY_ONE and len(spans) > 1 and key not in self.coming:
            self.coming[key] = asyncio.ensure_future(store.get_spans(key, spans))

    async def part(
        self, key: str, prototype: BufferPrototype, wanted: ByteRequest | None
    ) -> Buffer | None:
        """Return a part that was asked for already; None if it was not."""
        if key not in self.coming or not isinstance(wanted, RangeByteRequest):
            return None
        data = (await self.coming[key] or {}).get((wanted.start, wanted.end))
        return None if data is None else prototype.buffer.from_bytes(data)


_AHEAD: ContextVar[_Ahead] = ContextVar("read ahead", default=_Ahead())  # noqa: B039
"""Of the read under way; zarr runs it in another thread, in a copy of this context."""


@contextmanager
def read_ahead(whole: Iterable[str], parts: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Fetch objects in one go, and parts of others all at once, where zarr would take its time.

    zarr 3.1 asks for the inner chunks of a shard one after the other unless it needs all that the
    shard could hold, which at the far faces of a volume it never does.

    Parameters
    ----------
    whole : iterable of str
        Keys of shards to fetch whole.
    parts : mapping of str to sequence of int
        Numbers, in C order, of the inner chunks that are needed of other shards.
    """
    token = _AHEAD.set(_Ahead(dict.fromkeys(whole), parts))
    try:
        yield
    finally:
        _AHEAD.reset(token)


def _spans(index: bytes, numbers: Sequence[int]) -> list[Span]:
    """Where inner chunks lie by the index of their shard; empty if it is not a usual one."""
    if len(index) % 16 != 4:  # pairs of 8 bytes and a checksum, which zarr looks at
        return []
    table = np.frombuffer(index, "<u8", count=len(index) // 16 * 2).reshape(-1, 2)
    found = [table[n].tolist() for n in numbers if n < len(table)]
    return [(at, at + size) for at, size in found if at < _NOWHERE]


_NOWHERE = 2**64 - 1
"""Offset of a chunk that is not stored."""


def _span(wanted: ByteRequest, size: int) -> slice:
    if isinstance(wanted, RangeByteRequest):
        return slice(wanted.start, wanted.end)
    if isinstance(wanted, SuffixByteRequest):
        return slice(max(0, size - wanted.suffix), size)
    return slice(wanted.offset, size)


def one_line(error: BaseException) -> str:
    """First line of an exception's message; its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
