"""Streams of gzip, bzip2 and zlib, unpacked to the last check sum."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from neuroconn.errors import VolumeError

Codec: TypeAlias = Literal["gzip", "bzip2", "zlib"]

_PIECE = 2**20
_MAGIC: dict[Codec, bytes] = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
_BEST: dict[Codec, int] = {"gzip": 1040, "zlib": 1040, "bzip2": 1_500_000}
"""No stream unpacks to more than this times its size (all zeros; deflate: 1032)."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Voxels that lie compressed in one file; calling it writes them to an open file."""

    path: Path
    codec: Codec
    offset: int = 0
    """Where the stream begins."""
    skip: int = 0
    """Unpacked bytes before the first voxel."""

    @property
    def size(self) -> int:
        """Bytes of the stream, up to the end of the file."""
        return self.path.stat().st_size - self.offset

    def check(self, nbytes: int) -> None:
        """Refuse what cannot hold ``nbytes`` of voxels, before any room is made for them.

        Raises
        ------
        VolumeError
            If no stream of this size unpacks to so much.
        """
        if self.skip + nbytes > max(self.size, 0) * _BEST[self.codec]:
            raise VolumeError(
                f"{self.path} has {max(self.size, 0)} bytes of {self.codec} data, which cannot "
                f"unpack to {nbytes}: it is cut off, or its header is wrong. Copy it again"
            )

    def __call__(self, out: BinaryIO) -> None:
        """Unpack all; the check sums of the stream are checked.

        Raises
        ------
        VolumeError
            If the stream is cut off, or something else follows it.
        zlib.error, OSError
            If it is damaged.
        """
        skip = self.skip
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for piece in self._pieces(file):
                out.write(piece[skip:])
                skip = max(0, skip - len(piece))

    def _pieces(self, file: BinaryIO) -> Iterator[bytes]:
        rest = b""
        while True:
            rest = yield from self._stream(file, rest)
            while not rest.strip(b"\0") and (more := file.read(_PIECE)):
                rest = more  # gzip may be padded with zeros
            rest = rest.lstrip(b"\0")
            if not rest:
                return
            rest += file.read(3)
            if not rest.startswith(_MAGIC.get(self.codec, b"\0")):
                raise VolumeError(
                    f"{self.path}: {rest[:4]!r} follows the end of its {self.codec} data; "
                    "it is damaged. Copy it again"
                )

    def _stream(self, file: BinaryIO, data: bytes) -> Generator[bytes, None, bytes]:
        """Yield what one stream unpacks to, in pieces of bounded size; return what follows it."""
        decoder: Any = bz2.BZ2Decompressor() if self.codec == "bzip2" else _inflate(self.codec)
        while not decoder.eof:
            # bz2 keeps input that it has no room to unpack, zlib hands it back.
            if not data and getattr(decoder, "needs_input", True):
                data = file.read(_PIECE)
                if not data:
                    raise VolumeError(
                        f"{self.path} ends in the middle of its {self.codec} data: it is cut off. "
                        "Copy it again"
                    )
            yield decoder.decompress(data, 4 * _PIECE)
            data = getattr(decoder, "unconsumed_tail", b"")
        rest: bytes = decoder.unused_data
        return rest


def _inflate(codec: Codec) -> Any:
    return zlib.decompressobj(wbits=31 if codec == "gzip" else 15)
