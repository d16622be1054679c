"""Strips and tiles to voxels.

Common compressions are decoded straight into the caller's memory; everything else goes through
tifffile. Decoders keep no state: threads share them, and imagecodecs releases the interpreter lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numcodecs.zstd
import numpy as np
import tifffile
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.tiff.ifd import Directory
from neuroconn.volume.sources.tiff.layout import Layout

Decoder: TypeAlias = Callable[[bytes, int, int, NDArray[np.uint8]], None]
"""Takes encoded bytes, the number of the segment, its rows, and where its bytes belong: filled
with (rows, columns, samples) voxels in native byte order, or an exception says why not."""

_PLAIN = {1, 5, 8, 32773, 32946, 34925, 50000}
"""None, LZW, deflate, PackBits, the other deflate, LZMA, Zstandard."""
_ZSTD = 50000
_JPEG_TABLES = 347


@dataclass(frozen=True, slots=True)
class PlainDecoder:
    """Segments of whole bytes, compressed without loss."""

    layout: Layout
    decompress: Callable[..., Any]
    undelta: Callable[..., Any] | None
    finished: bool
    """Whether decompressed bytes are voxels already: no predictor, native byte order."""

    def __call__(self, data: bytes, number: int, rows: int, target: NDArray[np.uint8]) -> None:
        """Decode a segment."""
        try:
            decoded = self.decompress(data, out=target)
        except Exception:  # decoders raise types of their own
            if rows == self.layout.segment[0]:
                raise
            # Some writers fill the last strip up; then it does not fit its rows.
            decoded = self.decompress(data, out=self.layout.segment_bytes)
        if decoded is not target:
            _copy(decoded, target)
        if not self.finished:
            self._finish(rows, target)

    def _finish(self, rows: int, target: NDArray[np.uint8]) -> None:
        layout = self.layout
        voxels = target.view(layout.dtype.newbyteorder("="))
        if not layout.dtype.isnative:
            voxels.byteswap(inplace=True)
        if self.undelta is not None:
            voxels = voxels.reshape(rows, layout.segment[1], layout.interleaved)
            restored = self.undelta(voxels, axis=-2, out=voxels)
            if restored is not voxels:
                voxels[...] = restored


@dataclass(frozen=True, slots=True)
class TifffileDecoder:
    """Segments that only tifffile knows: packed bits, lossy and rare compressions."""

    layout: Layout
    decode: Callable[..., Any]
    tables: bytes | None

    def __call__(self, data: bytes, number: int, rows: int, target: NDArray[np.uint8]) -> None:
        """Decode a segment."""
        with log_is_error():
            decoded, place, _ = self.decode(data, number, jpegtables=self.tables)
        layout = self.layout
        samples, (height, width) = layout.interleaved, layout.shape
        shown = min(rows, height - place[2]), min(layout.segment[1], width - place[3])
        shape = None if decoded is None else decoded.shape
        if (
            shape is None
            or len(shape) != 4
            or shape[::3] != (1, samples)
            or not shown[0] <= shape[1] <= rows
            or not shown[1] <= shape[2] <= layout.segment[1]
        ):
            raise VolumeError(f"it decodes to {shape}")
        voxels = target.view(layout.dtype.newbyteorder("=")).reshape(rows, -1, samples)
        voxels[: shape[1], : shape[2]] = decoded[0]


def _uncompressed(data: bytes, *, out: Any) -> bytes:
    return data


def _copy(decoded: Any, target: NDArray[np.uint8]) -> None:
    got = np.frombuffer(decoded, np.uint8)
    if got.size < target.size:
        raise VolumeError(f"it decodes to {got.size} of {target.size} bytes")
    if not np.may_share_memory(got, target):
        target[:] = got[: target.size]


class Decoders:
    """What pages of a source that are stored alike share: layout and decoder."""

    def __init__(self) -> None:
        self._known: dict[Any, Decoder] = {}
        self.layouts: dict[Any, Layout] = {}

    def of(self, layout: Layout, directory: Directory) -> Decoder | None:
        """Return how to decode the segments of a page; None if there is nothing to decode.

        Raises
        ------
        VolumeError
            If no installed library can.
        """
        if layout.is_raw:
            return None
        tables = directory.blob(_JPEG_TABLES)
        key = (layout, tables)
        decoder = self._known.get(key)
        if decoder is None:
            decoder = self._known.setdefault(key, _decoder(layout, directory, tables))
        return decoder


def _decoder(layout: Layout, directory: Directory, tables: bytes) -> Decoder:
    try:
        decompress = _decompressor(layout.compression)
        undelta = tifffile.TIFF.UNPREDICTORS[layout.predictor]
    except KeyError:
        raise VolumeError(
            f"{directory.where} is compressed with {_codec(layout)}, which needs a decoder that is "
            "not installed; pip install 'neuroconn[tiff]'"
        ) from None
    plain = layout.compression in _PLAIN and layout.predictor in (1, 2)
    if plain and layout.is_whole and (layout.predictor == 1 or layout.dtype.kind in "ui"):
        finished = layout.predictor == 1 and layout.dtype.isnative
        return PlainDecoder(
            layout,
            _uncompressed if layout.compression == 1 else decompress,
            None if layout.predictor == 1 else undelta,
            finished,
        )
    if not layout.is_whole and not _has_imagecodecs():
        raise VolumeError(
            f"{directory.where} packs {layout.bits} bits a voxel, which needs imagecodecs, which "
            "is not installed; pip install 'neuroconn[tiff]'"
        )
    return TifffileDecoder(layout, _decode_of(directory), tables or None)


def _decompressor(compression: int) -> Callable[..., Any]:
    if compression == _ZSTD and not _has_imagecodecs():
        return _zstd  # tifffile would find out at the first strip that it has none
    decompress: Callable[..., Any] = tifffile.TIFF.DECOMPRESSORS[compression]
    return decompress


def _zstd(data: bytes, *, out: Any) -> bytes:
    decoded: bytes = numcodecs.zstd.decompress(data)
    return decoded


def _has_imagecodecs() -> bool:
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        return False
    return True


def _decode_of(directory: Directory) -> Callable[..., Any]:
    """Return tifffile's decoder for a page."""
    try:
        with log_is_error(), tifffile.TiffFile(directory.source.file.path) as tif:
            tif.filehandle.seek(directory.offset)
            decode: Callable[..., Any] = tifffile.TiffPage(tif, directory.page).decode
            return decode
    except Exception as error:  # damaged tags surface as almost any type
        raise VolumeError(f"{directory.where} cannot be decoded: {one_line(error)}") from error


def _codec(layout: Layout) -> str:
    try:
        name = tifffile.COMPRESSION(layout.compression).name
    except ValueError:
        name = f"method {layout.compression}"
    return name if layout.predictor == 1 else f"{name} after predictor {layout.predictor}"


def one_line(error: BaseException) -> str:
    """First line of what an exception says, or its type."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


class _Collector(logging.Filter):
    """Keeps warnings of threads that asked for it; passes everything else on."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        records = getattr(self.heard, "records", None)
        if records is None or record.levelno < logging.WARNING:
            return True
        records.append(record.getMessage())
        return False


_COLLECTOR = _Collector()
logging.getLogger("tifffile").addFilter(_COLLECTOR)


@contextmanager
def log_is_error() -> Iterator[None]:
    """Turn what tifffile logs in this thread into a VolumeError, instead of a line on stderr."""
    records = _COLLECTOR.heard.records = list[str]()
    try:
        yield
    finally:
        _COLLECTOR.heard.records = None
    if records:
        raise VolumeError(f"tifffile says: {records[0].splitlines()[0]}")
