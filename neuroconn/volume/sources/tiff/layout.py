"""How the voxels of a TIFF page are stored, as its tags say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import check_numeric
from neuroconn.volume.sources.tiff.ifd import Directory

_COLOURS = {
    2: "RGB", 3: "a colour table (in ImageJ: Image, Lookup Tables, Grays)", 5: "CMYK", 6: "YCbCr",
    8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "a colour filter", 32844: "CIE Log2(L)",
    32845: "CIE Log2(Luv)",
}  # fmt: skip
_VENDORS = {34412: "Zeiss LSM", 33629: "MetaMorph STK", 65420: "Hamamatsu NDPI"}
_BLACK_IS_0 = 1
_TAGS = (
    256, 257, 258, 259, 262, 266, 274, 277, 278, 284, 317, 322, 323, 339, 32997, 32998, *_VENDORS
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """How the voxels of a page are stored."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    """Type of a voxel with the file's byte order; packed bits are read into the next larger."""
    bits: int
    samples: int
    """Samples a pixel: channels."""
    separate: bool
    """Whether each sample has segments of its own; otherwise they alternate in a row."""
    segment: tuple[int, int]
    """Rows and columns of a strip or tile."""
    tiled: bool
    compression: int
    predictor: int
    fill_order: int
    orientation: int

    @property
    def interleaved(self) -> int:
        """Samples that alternate in a segment."""
        return 1 if self.separate else self.samples

    @property
    def grid(self) -> tuple[int, int]:
        """How many segments a plane has below and beside each other."""
        (height, width), (rows, columns) = self.shape, self.segment
        return -(-height // rows), -(-width // columns)

    @property
    def segments(self) -> int:
        """How many segments a page has."""
        down, across = self.grid
        return down * across * (self.samples if self.separate else 1)

    @property
    def pitch(self) -> int:
        """Bytes of a row of a segment, if bits are not packed."""
        return self.segment[1] * self.interleaved * self.dtype.itemsize

    @property
    def segment_bytes(self) -> int:
        """What a whole segment decodes to."""
        return self.segment[0] * self.pitch

    @property
    def is_whole(self) -> bool:
        """Whether a sample is a whole number of bytes in the usual order of bits."""
        return self.bits == 8 * self.dtype.itemsize and self.fill_order == 1

    @property
    def is_raw(self) -> bool:
        """Whether voxels lie in the file as they are in memory, but for the byte order."""
        return self.compression == 1 and self.predictor == 1 and self.is_whole

    @property
    def row_bytes(self) -> int:
        """Bytes that a row of a segment takes, bits packed."""
        return -(-self.segment[1] * self.interleaved * self.bits // 8)

    def rows_of(self, down: int) -> int:
        """Rows in each of a row of segments; the last strip is shorter, a tile is always full."""
        rows = self.segment[0]
        return rows if self.tiled else min(rows, self.shape[0] - down * rows)

    def facts(self) -> tuple[str, ...]:
        """Return what identifies it, as plain values."""
        return tuple(str(getattr(self, name)) for name in self.__slots__)


@lru_cache(maxsize=256)
def needed(layout: Layout) -> NDArray[np.uint64]:
    """Bytes that each segment decodes to, bits packed."""
    down, across = layout.grid
    rows = np.array([layout.rows_of(k) for k in (0, down - 1)], np.uint64) * layout.row_bytes
    plane = np.full(down * across, rows[0], np.uint64)
    plane[-across:] = rows[1]
    return np.tile(plane, layout.segments // plane.size)


@lru_cache(maxsize=256)
def as_one_segment(layout: Layout) -> Layout:
    """Return the layout of a page whose raw strips follow each other without a gap."""
    return replace(layout, segment=layout.shape)


def layout_of(directory: Directory, known: dict[Any, Layout]) -> Layout:
    """Read how a page is stored.

    Parameters
    ----------
    directory : Directory
        The page's tags.
    known : dict
        Layouts by what the tags say; pages stored alike are read and checked once.

    Raises
    ------
    VolumeError
        If it is not a grey plane of real numbers.
    """
    signature = directory.signature(_TAGS)
    if signature is None or signature not in known:
        layout = _layout(directory)
        if signature is None:
            return layout
        known[signature] = layout
    return known[signature]


def _layout(directory: Directory) -> Layout:
    _check_vendor(directory)
    samples, photometric = directory.number(277, 1), directory.number(262, _BLACK_IS_0)
    _check_grey(directory, samples, photometric)
    height, width = directory.number(257), directory.number(256)
    if min(height, width, samples) < 1:
        raise VolumeError(f"{directory.where} has {height} x {width} voxels; export it again")
    bits = _same(directory, 258, 1, samples)
    dtype = _sample_type(bits, _same(directory, 339, 1, samples), directory)
    tiled = 322 in directory
    if tiled:
        segment = directory.number(323), directory.number(322)
    else:
        segment = min(directory.number(278, height), height), width
    if min(segment) < 1:
        raise VolumeError(f"{directory.where} is damaged: its segments are {segment[0]} rows high")
    return Layout(
        shape=(height, width),
        dtype=dtype.newbyteorder("<" if directory.source.order == "<" else ">"),
        bits=bits,
        samples=samples,
        separate=samples > 1 and directory.number(284, 1) == 2,
        segment=segment,
        tiled=tiled,
        compression=directory.number(259, 1),
        predictor=directory.number(317, 1),
        fill_order=directory.number(266, 1),
        orientation=directory.number(274, 1),
    )


def _check_vendor(directory: Directory) -> None:
    for tag, name in _VENDORS.items():
        if tag in directory:
            raise VolumeError(
                f"{directory.source.file.path} is a {name} file, whose planes TIFF tags do not "
                "describe; export it as OME-TIFF or as an ImageJ stack"
            )


def _check_grey(directory: Directory, samples: int, photometric: int) -> None:
    if photometric == 0:
        raise VolumeError(
            f"{directory.where} stores white as 0; invert it, so that neurites are bright"
        )
    if photometric != _BLACK_IS_0:
        colours = _COLOURS.get(photometric, f"photometric interpretation {photometric}")
        raise VolumeError(
            f"{directory.where} is a colour image ({colours}, {samples} samples a pixel); "
            "a brain is one grey channel. Save the channel with the neurites"
        )
    if directory.number(32997, 1) != 1 or directory.number(32998, 1) != 1:
        raise VolumeError(f"{directory.where} is deep; one plane (y, x) a page is wanted")


def _same(directory: Directory, tag: int, default: int, samples: int) -> int:
    values = directory.numbers(tag, default)[:samples]
    if len(set(values)) != 1 or not isinstance(values[0], int):
        raise VolumeError(
            f"{directory.where} mixes samples of different types ({values}); export one channel"
        )
    return values[0]


def _sample_type(bits: int, form: int, directory: Directory) -> np.dtype[Any]:
    """Return the type that holds a sample; TIFF packs any number of bits."""
    if form in (1, 4) and 1 <= bits <= 32:
        return np.dtype(f"u{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    name = {1: "u", 2: "i", 3: "f", 4: "u", 5: "c", 6: "c"}.get(form)
    if name is None or bits not in (8, 16, 24, 32, 64, 128) or (bits == 24 and name != "f"):
        raise VolumeError(
            f"{directory.where} holds {bits}-bit samples of TIFF format {form}, which is no number"
        )
    if name == "c":
        raise VolumeError(
            f"{directory.where} holds complex voxels; a brain is made of integers or real numbers. "
            "Save it as uint8 or uint16"
        )
    size = 4 if bits == 24 else bits // 8
    if size == 16 or (name == "f" and size == 1):
        raise VolumeError(f"{directory.where} holds {bits}-bit numbers; save it as uint16")
    return check_numeric(np.dtype(f"{name}{size}"), directory.where)
