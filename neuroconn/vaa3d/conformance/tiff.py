"""The pages of a TIFF file, read fast and believed never: to be judged, and to be patched.

Readers stop at the first fault, or cover it up. Here every page is told as it stands, with the
place of its PageNumber in the file. Pages of a tile differ in three numbers only, so a page whose
other bytes equal those of the page before is not taken apart again: some 10 µs a page.

References
----------
.. [1] Adobe, "TIFF Revision 6.0", 1992, sections 2 and 8.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STRIP_OFFSETS, STRIP_COUNTS, PAGE_NUMBER = 273, 279, 297
_TILES = (322, 323, 324, 325)
_CODES = {1: "B", 3: "H", 4: "I", 16: "Q", 13: "I", 18: "Q"}
"""Types of whole numbers."""
_WIDTHS = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
    17: 8, 18: 8,
}  # fmt: skip
_BLOCK = 4096
_MOST_TAGS = 4096


class TiffFault(Exception):
    """A file that is no TIFF (``kind`` "unreadable") or ends early ("truncated")."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind, self.what = kind, what


@dataclass(frozen=True, slots=True)
class Layout:
    """What all pages of a tile should share; None where a tag without a default is missing."""

    width: int | None
    height: int | None
    bits: int | None
    compression: int | None
    photometric: int | None
    rows_per_strip: int | None
    samples: int = 1
    sample_format: int = 1
    planar: int = 1
    orientation: int = 1
    tiled: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it stands."""

    layout: Layout
    number: tuple[int, ...] | None
    """PageNumber: this page and their total; None if there is no such tag."""
    entry: int
    """Where in the file the PageNumber entry begins; 0 if there is none."""
    strips: int
    stored: int
    """Bytes of all strips."""
    end: int
    """First byte after the last strip."""
    hole: bool
    """Whether a strip has no bytes or no place."""


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """All that can be known of a file without decoding it."""

    order: str
    """Byte order, ``<`` or ``>``."""
    big: bool
    size: int
    pages: tuple[Page, ...]
    fault: TiffFault | None
    """Why there are no more pages, if the file does not simply end there."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where in the bytes of a page the values of a tag stand, or the pointer to them."""

    at: int
    code: str
    count: int
    inline: bool


@dataclass(frozen=True, slots=True)
class _Template:
    """A page taken apart, and what of its bytes must be equal for another page to be like it."""

    size: int
    mask: int
    kept: int
    layout: Layout
    slots: dict[int, _Slot]


def read_tiff(path: Path) -> TiffFacts:
    """Read the tags of all pages; no voxel is touched.

    Raises
    ------
    TiffFault
        If the file has no TIFF header.
    OSError
        If the file cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if hasattr(os, "posix_fadvise"):  # pages lie far apart: reading ahead fetches voxels
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return _File(descriptor).facts()
    finally:
        os.close(descriptor)


class _File:
    """An open file whose numbers are checked against its size."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._block, self._start = b"", 0
        head = self.read(0, min(16, self.size), "the header")
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        magic = struct.unpack(f"{self.order}H", head[2:4])[0] if self.order and head[3:] else 0
        self.big = magic == 43
        if magic not in (42, 43) or len(head) < (16 if self.big else 8):
            raise TiffFault("unreadable", f"it starts with {head[:8]!r}, not like a TIFF file")
        self._word = 8 if self.big else 4
        self._pointer = struct.Struct(self.order + ("Q" if self.big else "I"))
        self._counter = struct.Struct(self.order + ("Q" if self.big else "H"))
        self._entry = struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))
        (self._first,) = self._pointer.unpack_from(head, self._word)
        self._template: _Template | None = None

    def facts(self) -> TiffFacts:
        pages: list[Page] = []
        fault = None
        try:
            pages.extend(self._pages(pages))
        except TiffFault as found:
            fault = found
        return TiffFacts(self.order, self.big, self.size, tuple(pages), fault)

    def read(self, at: int, count: int, what: str) -> bytes:
        """Return bytes through a small cache: the tables of a page lie beside it."""
        begin = at - self._start
        if not 0 <= begin <= len(self._block) - count:
            if at + count > self.size:
                raise TiffFault(
                    "truncated",
                    f"{what} should lie at bytes {at} to {at + count}, the file has {self.size}",
                )
            self._block = os.pread(self._descriptor, max(count, _BLOCK), at)
            self._start, begin = at, 0
            if len(self._block) < count:
                raise TiffFault("truncated", "the file became shorter while it was read")
        return self._block[begin : begin + count]

    def _pages(self, pages: list[Page]) -> Iterator[Page]:
        at, seen = self._first, set[int]()
        while at:
            if at in seen:
                raise TiffFault("unreadable", f"page {len(seen)} points back to an earlier page")
            what = f"page {len(seen)}"
            seen.add(at)
            (count,) = self._counter.unpack(self.read(at, self._counter.size, what))
            if not 0 < count <= _MOST_TAGS:
                raise TiffFault("unreadable", f"{what} has {count} tags")
            begin, size = at + self._counter.size, count * self._entry.size
            body = self.read(begin, size + self._word, what)
            (at,) = self._pointer.unpack_from(body, size)
            yield self._page(body[:size], begin, what)

    def _page(self, body: bytes, begin: int, what: str) -> Page:
        template = self._template
        if (
            template is None
            or template.size != len(body)
            or int.from_bytes(body) & template.mask != template.kept
        ):
            template = self._template = self._take_apart(body, what)
        slots = template.slots
        number = slots.get(PAGE_NUMBER)
        strips, stored, end, hole = self._strips(body, slots, what)
        return Page(
            template.layout,
            None if number is None else tuple(map(int, self._values(body, number, what))),
            0 if number is None else begin + number.at - self._entry.size + self._word,
            strips, stored, end, hole,
        )  # fmt: skip

    def _strips(
        self, body: bytes, slots: dict[int, _Slot], what: str
    ) -> tuple[int, int, int, bool]:
        places, counts = slots.get(STRIP_OFFSETS), slots.get(STRIP_COUNTS)
        if places is None or counts is None:
            return 0, 0, 0, True
        what = f"the strips of {what}"
        at, n = (self._values(body, slot, what) for slot in (places, counts))
        if len(at) == len(n) == 1:
            return 1, int(n[0]), int(at[0]) + int(n[0]), not (at[0] and n[0])
        a, b = np.asarray(at, np.uint64), np.asarray(n, np.uint64)
        if len(a) != len(b) or not a.all() or not b.all():
            return len(a), 0, 0, True
        if max(a.max(), b.max()) > self.size:  # and below that, sums cannot overflow
            return len(a), int(b.max()), self.size + 1, False
        return len(a), int(b.sum()), int((a + b).max()), False

    def _values(self, body: bytes, slot: _Slot, what: str) -> Any:
        """Return the numbers of a tag: a tuple, or an array where they stand elsewhere."""
        if slot.inline:
            return struct.unpack_from(f"{self.order}{slot.count}{slot.code}", body, slot.at)
        (at,) = self._pointer.unpack_from(body, slot.at)
        kind = np.dtype(f"{self.order}u{struct.calcsize('=' + slot.code)}")
        return np.frombuffer(self.read(at, slot.count * kind.itemsize, what), kind)

    def _take_apart(self, body: bytes, what: str) -> _Template:
        mask = bytearray(b"\xff" * len(body))
        slots: dict[int, _Slot] = {}
        tags = set()
        for start, (tag, kind, count, _) in enumerate(self._entry.iter_unpack(body)):
            at = (start + 1) * self._entry.size - self._word
            inline = _WIDTHS.get(kind, 1) * count <= self._word
            tags.add(tag)
            if kind in _CODES and count > 0:
                slots.setdefault(tag, _Slot(at, _CODES[kind], count, inline))
            if not inline or tag in (STRIP_OFFSETS, STRIP_COUNTS, PAGE_NUMBER, *_TILES):
                mask[at : at + self._word] = bytes(self._word)
        numbers = int.from_bytes(mask)
        layout = self._layout(body, slots, tags, what)
        return _Template(len(body), numbers, int.from_bytes(body) & numbers, layout, slots)

    def _layout(self, body: bytes, slots: dict[int, _Slot], tags: set[int], what: str) -> Layout:
        def first(tag: int) -> int | None:
            slot = slots.get(tag)
            return None if slot is None else int(self._values(body, slot, what)[0])

        return Layout(
            width=first(256),
            height=first(257),
            bits=first(258),
            compression=first(259),
            photometric=first(262),
            rows_per_strip=first(278),
            samples=first(277) or 1,
            sample_format=first(339) or 1,
            planar=first(284) or 1,
            orientation=first(274) or 1,
            tiled=bool(tags & set(_TILES)),
        )
