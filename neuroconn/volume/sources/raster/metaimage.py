"""MetaImage: ``key = value`` lines, and voxels after them (.mha) or in other files (.mhd)."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.raster.companions import (
    HEADER_LIMIT,
    companion,
    numbered_names,
    readable,
)
from neuroconn.volume.sources.raster.placement import Placement, placement
from neuroconn.volume.sources.raster.source import Layout, Plain, RasterSource, Stored
from neuroconn.volume.sources.raster.unpack import Packed
from neuroconn.volume.sources.units import micrometres_per

Header: TypeAlias = dict[str, str]

_DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")


class MetaImageSource(RasterSource):
    """One channel of a MetaImage."""

    format = "MetaImage"


def open_metaimage(path: Path, choice: Choice) -> MetaImageSource:
    """Open ``.mha``, or a ``.mhd`` header with its raw or compressed data files.

    Voxels keep their stored order: DimSize (nx, ny, nz) becomes the shape (nz, ny, nx) whatever
    the transform says. The format has no unit; ElementSpacing counts as millimetres only where
    something says so (an anatomical orientation, as ITK writes it, or DistanceUnits).

    Raises
    ------
    VolumeError
        If the header is damaged, its sizes do not fit the files, or the voxels are text.
    """
    with readable(path, "MetaImage"):
        header, end, names = _header(path)
        layout = _layout(header, path)
        stored = _stored(path, header, layout, end, names)
        return MetaImageSource(path, layout, stored, choice, _placement(header))


def _header(path: Path) -> tuple[Header, int, list[str]]:
    """Return the fields, where they end, and listed data files."""
    with path.open("rb") as file:
        head = file.read(HEADER_LIMIT)
    header: Header = {}
    at = 0
    for raw in BytesIO(head):
        at += len(raw)
        line = raw.decode(errors="replace").strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or key in header:
            raise VolumeError(
                f"{path}: {line[:40]!r} in its header is not one 'key = value' for each key: "
                "it is damaged. Export it again"
            )
        header[key] = value
        if key == "ElementDataFile":
            return (
                header,
                at,
                [name.decode(errors="replace").strip() for name in head[at:].split(b"\n")],
            )
    raise VolumeError(f"{path}: its header ends without ElementDataFile; copy it again")


def _layout(header: Header, path: Path) -> Layout:
    if header.get("ObjectType", "Image").lower() != "image":
        raise VolumeError(f"{path} is a MetaIO {header['ObjectType']}, not an image")
    dims = _ints(header, "DimSize", path)
    axes = _ints(header, "NDims", path)
    if axes != [len(dims)] or len(dims) < 3 or any(n != 1 for n in dims[3:]):
        raise VolumeError(
            f"{path} has NDims {axes[0]} and DimSize {dims}; a brain is one (x, y, z) volume. "
            "Save that part"
        )
    x, y, z = dims[:3]
    [channels] = _ints(header, "ElementNumberOfChannels", path, "1")
    dtype = _dtype(header, path)
    if channels == 1:
        return Layout((z, y, x), dtype)
    return Layout((z, y, x, channels), dtype, 3)


def _dtype(header: Header, path: Path) -> np.dtype[np.generic]:
    name = header.get("ElementType", "")
    if name not in _DTYPES:
        raise VolumeError(f"{path} has ElementType {name!r}; save it as MET_UCHAR or MET_USHORT")
    orders = {
        _flag(header, key, path)
        for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
        if key in header
    }
    if len(orders) > 1:
        raise VolumeError(f"{path} declares two byte orders; correct its header")
    return np.dtype(_DTYPES[name]).newbyteorder(">" if True in orders else "<")


def _stored(path: Path, header: Header, layout: Layout, end: int, names: list[str]) -> Stored:
    if not _flag(header, "BinaryData", path, "True"):
        raise VolumeError(f"{path} stores its voxels as text; save it with BinaryData = True")
    packed = _flag(header, "CompressedData", path)
    files = _data_files(path, header, layout, names)
    start = end if files == (path,) else 0
    [skip] = _ints(header, "HeaderSize", path, "0")
    if skip < (0 if packed else -1):
        raise VolumeError(f"{path} has HeaderSize {skip}, which leads nowhere; export it again")
    if packed:
        return _packed(header, files, start + skip, path)
    if skip == -1 and files[0].stat().st_size - layout.nbytes // len(files) >= start:
        return Plain(files, None)
    return Plain(files, start + max(skip, 0))


def _packed(header: Header, files: tuple[Path, ...], start: int, path: Path) -> Packed:
    if len(files) > 1:
        raise VolumeError(
            f"{path} spreads compressed voxels over {len(files)} files; save it as one file"
        )
    with files[0].open("rb") as file:
        file.seek(start)
        gzipped = file.read(2) == b"\x1f\x8b"
    packed = Packed(files[0], "gzip" if gzipped else "zlib", offset=start)
    declared = _ints(header, "CompressedDataSize", path, str(packed.size))
    if declared != [packed.size]:
        raise VolumeError(
            f"{files[0]} has {packed.size} bytes of compressed voxels and its header says "
            f"{declared[0]}: it is cut off or of another volume. Copy it again"
        )
    return packed


def _data_files(path: Path, header: Header, layout: Layout, names: list[str]) -> tuple[Path, ...]:
    name = header["ElementDataFile"]
    if name.lower() == "local":
        return (path,)
    if name.split()[:1] == ["LIST"]:
        names = [listed for listed in names if listed]
    else:
        names = numbered_names(name, layout.shape[0]) or [name]
    if not 0 < len(names) <= layout.shape[0]:
        raise VolumeError(
            f"{path} lists {len(names)} data files and has {layout.shape[0]} planes to share; "
            "the header is damaged"
        )
    return tuple(companion(path, name) for name in names)


def _placement(header: Header) -> Placement:
    spacing = _floats(header, ("ElementSpacing", "ElementSize"))
    if spacing is None:
        return Placement()
    cosines = _floats(header, ("TransformMatrix", "Orientation", "Rotation"))
    origin = _floats(header, ("Offset", "Position", "Origin"))
    axes = int(header["NDims"])
    # Row k of the matrix is the direction of axis k; axes past the third have one voxel.
    directions = np.eye(axes) if cosines is None else np.reshape(cosines, (axes, axes))
    steps = (directions * np.reshape(spacing, (axes, 1)))[:3, :3]
    first = np.zeros(3) if origin is None else np.reshape(origin, axes)[:3]
    unit, said = _unit(header)
    placed = placement(steps, first, [micrometres_per(unit)] * 3, said)
    notes = (*placed.notes, *_scaling(header), *_convention(header, unit))
    return Placement(placed.spacing_um, placed.origin_um, notes)


def _unit(header: Header) -> tuple[str, str]:
    declared = header.get("DistanceUnits", "?").strip("'\" ")
    if declared.strip("?"):
        return declared, f"in {declared!r}"
    anatomical = header.get("AnatomicalOrientation", "").strip("? ")
    return ("mm" if anatomical else ""), "without a unit"


def _convention(header: Header, unit: str) -> list[str]:
    if unit != "mm" or header.get("DistanceUnits", "?").strip("?'\" "):
        return []
    return [
        "ElementSpacing is taken as millimetres, because the file gives an anatomical orientation "
        "as ITK does: --spacing sets another"
    ]


def _scaling(header: Header) -> list[str]:
    # As with NIfTI: what was recorded is kept.
    slope = _floats(header, ("ElementToIntensityFunctionSlope",)) or [1.0]
    inter = _floats(header, ("ElementToIntensityFunctionOffset",)) or [0.0]
    if (slope, inter) == ([1.0], [0.0]):
        return []
    return [f"values stand for {slope[0]:g} * value + {inter[0]:g}: kept as stored"]


def _flag(header: Header, key: str, path: Path, default: str = "False") -> bool:
    value = header.get(key, default).lower()
    if value not in (*_TRUE, *_FALSE):
        raise VolumeError(f"{path}: {key} is {value!r}, not True or False; correct its header")
    return value in _TRUE


def _ints(header: Header, key: str, path: Path, default: str = "") -> list[int]:
    text = header.get(key, default)
    if not re.fullmatch(r"[+-]?\d+(\s+[+-]?\d+)*", text, re.ASCII):
        raise VolumeError(f"{path}: {key} is {text!r}, not numbers; correct its header")
    return [int(n) for n in text.split()]


def _floats(header: Header, keys: tuple[str, ...]) -> list[float] | None:
    """Numbers of the first of some fields that the header has."""
    text = next((header[key] for key in keys if key in header), None)
    return None if text is None else [float(n) for n in text.split()]
