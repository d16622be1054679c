"""NRRD: a text header, and voxels after it or in files of their own."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.raster.companions import (
    HEADER_LIMIT,
    companion,
    numbered_names,
    readable,
    required,
)
from neuroconn.volume.sources.raster.placement import Placement, placement
from neuroconn.volume.sources.raster.source import Layout, Plain, RasterSource, Stored
from neuroconn.volume.sources.raster.unpack import Codec, Packed
from neuroconn.volume.sources.units import micrometres_per

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int",
           "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_DTYPES = {name: code for code, names in _TYPES.items() for name in names}
_CODECS: dict[str, Codec] = {"gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_SPACE = ("domain", "space", "???", "none")
_SINGLE = ("stub", "scalar", "time")
_CHANNELS = ("list", "point", "vector", "2-vector", "3-vector", "4-vector")


class NrrdSource(RasterSource):
    """One channel of a NRRD file."""

    format = "NRRD"


def open_nrrd(path: Path, choice: Choice) -> NrrdSource:
    """Open a NRRD file (``.nrrd``), or a header with the voxels in other files (``.nhdr``).

    Voxels keep their stored order: sizes (nx, ny, nz) become the shape (nz, ny, nx), whatever the
    space directions say.

    Raises
    ------
    VolumeError
        If the header is damaged, the sizes do not fit the files, the voxels are text or colours,
        or an axis is time or of unknown kind.
    """
    with readable(path, "NRRD"):
        lines, end, names = _split(path)
        # Given lines of text it leaves decoding to us: it would read "µm" as "m".
        header: dict[str, Any] = required("nrrd", "pynrrd", path).read_header(lines)
        space, layout = _axes(header, path)
        stored = _stored(path, header, layout, end, names)
        return NrrdSource(path, layout, stored, choice, _placement(header, space))


def _split(path: Path) -> tuple[list[str], int | None, list[str]]:
    """Return the header's lines, where it ends (None: with the file), and listed data files."""
    with path.open("rb") as file:
        head = file.read(HEADER_LIMIT)
    lines: list[str] = []
    at = 0
    for raw in BytesIO(head):
        at += len(raw)
        line = _text(raw).rstrip()
        if not line:
            return lines, at, []
        field, colon, value = line.partition(":")
        if value.startswith("=") or line.startswith("#"):
            continue  # free keys and comments say nothing about voxels
        lines.append(f"{field.strip().lower()}{colon}{value}" if colon else line)
        if field.strip().lower() in ("data file", "datafile") and value.split()[:1] == ["LIST"]:
            return lines, None, [_text(name).strip() for name in head[at:].split(b"\n") if name]
    if len(head) == HEADER_LIMIT:
        raise VolumeError(f"{path}: its NRRD header does not end; it is damaged. Copy it again")
    return lines, None, []


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _axes(header: dict[str, Any], path: Path) -> tuple[list[int], Layout]:
    """Return which axes are x, y and z, in the order of the header, and the layout."""
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in header]
    if missing:
        raise VolumeError(f"{path}: its NRRD header has no {missing[0]!r}; export it again")
    sizes = [int(n) for n in header["sizes"]]
    kinds = [str(kind).lower() for kind in header.get("kinds", ())]
    if header["dimension"] != len(sizes) or (kinds and len(kinds) != len(sizes)):
        raise VolumeError(
            f"{path} declares {header['dimension']} axes, {len(sizes)} sizes and {len(kinds)} "
            "kinds: its header is damaged. Export it again"
        )
    if not kinds and len(sizes) != 3:
        raise VolumeError(
            f"{path} has sizes {sizes} and no 'kinds' that say which axis is the channel; "
            "add them to its header, or save one (x, y, z) volume"
        )
    for kind, size in zip(kinds, sizes, strict=False):
        _check_kind(kind, size, path)
    kinds = kinds or ["domain"] * 3
    space = [k for k, kind in enumerate(kinds) if kind in _SPACE]
    channels = [k for k, kind in enumerate(kinds) if kind in _CHANNELS]
    if len(space) != 3 or len(channels) > 1:
        raise VolumeError(
            f"{path} has {len(space)} axes of space and {len(channels)} of channels; a brain has "
            "three, and one channel is chosen. Save that part"
        )
    kept = sorted(space + channels, reverse=True)
    axis = kept.index(channels[0]) if channels else None
    return space, Layout(tuple(sizes[k] for k in kept), _dtype(header, path), axis)


def _check_kind(kind: str, size: int, path: Path) -> None:
    if kind.endswith("color"):
        raise VolumeError(
            f"{path} is a colour image ({kind}); a brain is one grey channel. "
            "Save the channel with the neurites"
        )
    if kind == "time" and size != 1:
        raise VolumeError(f"{path} is a time series of {size} frames; save the one to convert")
    if kind not in (*_SPACE, *_SINGLE, *_CHANNELS) or (kind in _SINGLE and size != 1):
        raise VolumeError(
            f"{path} has an axis of kind {kind!r} and length {size}; a brain is one grey "
            "(z, y, x) volume. Save that part"
        )


def _dtype(header: dict[str, Any], path: Path) -> np.dtype[Any]:
    name = " ".join(str(header["type"]).lower().split())
    if name not in _DTYPES:
        raise VolumeError(f"{path} holds voxels of type {name!r}; save it as uint8 or uint16")
    dtype = np.dtype(_DTYPES[name])
    endian = str(header.get("endian", "")).lower()
    if dtype.itemsize == 1:
        return dtype
    if endian not in ("little", "big"):
        raise VolumeError(
            f"{path} holds {dtype} voxels and says {endian!r} about their byte order; "
            "add 'endian: little' or 'endian: big' to its header"
        )
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _stored(
    path: Path, header: dict[str, Any], layout: Layout, end: int | None, names: list[str]
) -> Stored:
    encoding = str(header["encoding"]).lower()
    codec = _CODECS.get(encoding)
    if codec is None and encoding != "raw":
        raise VolumeError(f"{path} is encoded as {encoding}; save it as raw or gzip")
    files = _data_files(path, header, layout, end, names)
    start = (end or 0) if files == (path,) else 0
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    if skip < (0 if codec else -1) or lines < 0:
        raise VolumeError(
            f"{path} skips {lines} lines and {skip} bytes before its {encoding} voxels, which "
            "leads nowhere; export it again"
        )
    if len(files) > 1 and (lines or codec):
        raise VolumeError(
            f"{path} spreads {encoding} voxels over {len(files)} files with {lines} lines of text; "
            "only plain voxels are read that way. Save it as one file"
        )
    start = _after_lines(files[0], start, lines) if lines else start
    if codec:
        return Packed(files[0], codec, offset=start, skip=skip)
    if skip == -1 and files[0].stat().st_size - layout.nbytes // len(files) >= start:
        return Plain(files, None)
    return Plain(files, start + max(skip, 0))


def _data_files(
    path: Path, header: dict[str, Any], layout: Layout, end: int | None, names: list[str]
) -> tuple[Path, ...]:
    name = header.get("data file", header.get("datafile"))
    if name is None and end is None:
        raise VolumeError(f"{path} ends with its header: it is truncated. Copy it again")
    if name is None:
        return (path,)
    names = names or numbered_names(name, layout.shape[0]) or [name]
    if len(names) > layout.shape[0]:
        raise VolumeError(
            f"{path} lists {len(names)} data files and has {layout.shape[0]} planes to share; "
            "the header is damaged"
        )
    return tuple(companion(path, name) for name in names)


def _after_lines(file: Path, start: int, lines: int) -> int:
    """Where the first byte after some lines of text is."""
    with file.open("rb") as opened:
        opened.seek(start)
        text = opened.read(HEADER_LIMIT)
    ends = [match.end() for match in re.finditer(rb"\n", text)]
    if len(ends) < lines:
        raise VolumeError(
            f"{file} has {len(ends)} lines of text and its header skips {lines} of them; "
            "export it again"
        )
    return start + ends[lines - 1]


def _placement(header: dict[str, Any], space: list[int]) -> Placement:
    if "space directions" in header:
        steps = np.asarray(header["space directions"], np.float64)[space]
        world = steps.shape[1]
        units = _units(header.get("space units"), range(world))
        origin = np.asarray(header.get("space origin", [0.0] * world), np.float64)
    elif "spacings" in header:
        spacing = np.asarray(header["spacings"], np.float64)[space]
        steps, units = np.diag(spacing), _units(header.get("units"), space)
        origin = _first_centre(header, space, spacing)
    else:
        return Placement()
    unknown = sorted({unit for unit in units if unit and micrometres_per(unit) is None})
    said = f"in {', '.join(map(repr, unknown))}" if unknown else "without a unit"
    return placement(steps, origin, [micrometres_per(unit) for unit in units], said)


def _units(units: Any, axes: Any) -> list[str]:
    """Return the unit of some axes, empty where there is none."""
    given = [str(unit) for unit in units or ()]
    return [given[k] if k < len(given) else "" for k in axes]


def _first_centre(header: dict[str, Any], space: list[int], spacing: Any) -> Any:
    """Centre of the first voxel from ``axis mins``; the centering says what they are the min of."""
    mins = header.get("axis mins", header.get("axismins"))
    centerings = [str(c).lower() for c in header.get("centerings", ())]
    if mins is None or not all(k < len(centerings) for k in space):
        return np.zeros(3)
    half = np.array([0.5 if centerings[k] == "cell" else 0.0 for k in space])
    return np.nan_to_num(np.asarray(mins, np.float64)[space]) + half * spacing
