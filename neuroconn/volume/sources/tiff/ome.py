"""OME-XML: which image of which file is which plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.tiff.metadata import Spacing, spacing_claim

PlaneTable: TypeAlias = dict[tuple[int, int], tuple[Path, int]]
"""(channel, z) to file and directory number."""

_NOT_THE_VOLUME = ("label image", "macro image", "label", "macro", "thumbnail", "overview")
_MOST_XML = 1 << 29


@dataclass(frozen=True, slots=True)
class Block:
    """Planes that lie one after the other in a file (``TiffData``)."""

    path: Path
    directory: int
    start: tuple[int, int, int]
    """First z, channel and time point."""
    count: int | None
    """None: every directory of the file."""


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image of an OME-TIFF."""

    name: str
    sizes: tuple[int, int, int]
    """z planes, channels, time points."""
    shape: tuple[int, int]
    order: str
    """``ZCT`` and so on, fastest axis first."""
    spacing_um: Spacing | None
    notes: tuple[str, ...]
    blocks: tuple[Block, ...]

    def __str__(self) -> str:
        z, c, t = self.sizes
        return f"{self.name!r} ({z} x {self.shape[0]} x {self.shape[1]}, {c} channels, {t} times)"

    @property
    def paths(self) -> list[Path]:
        """Files that hold its planes."""
        return sorted({block.path for block in self.blocks})


def ome_image(text: str, path: Path, choice: Choice) -> OmeImage:
    """Read the OME-XML of a file and pick its volume.

    Parameters
    ----------
    text : str
        OME-XML, or its ``BinaryOnly`` form that names a companion file.
    path : path
        The file it stands in; other files are looked for beside it and nowhere else.
    choice : Choice
        ``dataset`` picks one of several images by its name or its number.

    Raises
    ------
    VolumeError
        If the XML is damaged, names files that are missing or elsewhere, or holds several images
        and none was chosen.
    UsageError
        If the chosen image does not exist.
    """
    root = _parsed(text, path)
    companion = next((e.get("MetadataFile") for e in root if _tag(e) == "BinaryOnly"), None)
    if companion is not None:
        root = _parsed(_companion(path, companion), path)
    found = [e for e in root.iter() if _tag(e) == "Image"]
    elements = {f"{k}": e for k, e in enumerate(found)}
    return _image(_picked(elements, path, choice), root, path)


def plane_table(
    image: OmeImage, samples: int, directories: Callable[[Path], int], path: Path
) -> PlaneTable:
    """Lay every plane of an image to its place in a file.

    Parameters
    ----------
    image : OmeImage
        The image, of one time point.
    samples : int
        Samples a pixel: so many of its channels share a directory.
    directories : function
        Number of directories in a file.
    path : path
        The file, for messages.

    Raises
    ------
    VolumeError
        If a plane has no place or two.
    """
    z, c, _ = image.sizes
    if c % samples:
        raise VolumeError(f"{path}: OME-XML declares {c} channels and pixels have {samples}")
    sizes, table = {"Z": z, "C": c // samples, "T": 1}, PlaneTable()
    for block in image.blocks:
        for number, place in _places(block, sizes, image.order, samples, directories):
            key = (place["C"], place["Z"])
            if table.setdefault(key, (block.path, number)) != (block.path, number):
                raise VolumeError(f"{path}: OME-XML gives plane z {key[1]} channel {key[0]} twice")
    if len(table) != z * c // samples:
        raise VolumeError(
            f"{path} declares {z * c // samples} planes and holds {len(table)}"
            f"{_missing(table, z, c // samples)}: it is truncated or was edited. Copy or export it "
            "again"
        )
    return table


def sibling(path: Path, name: str) -> Path:
    """Return a file beside a file.

    Raises
    ------
    VolumeError
        If the name leads out of the folder.
    """
    target = path.parent / name
    if (
        not name
        or name in (".", "..")
        or any(mark in name for mark in "/\\\0")
        or (target.is_symlink() and target.resolve().parent != path.parent.resolve())
    ):
        raise VolumeError(
            f"{path}: OME-XML names the file {name!r}, which is not in the same folder; put all "
            "files of the volume together"
        )
    return target


def _places(
    block: Block,
    sizes: dict[str, int],
    order: str,
    samples: int,
    directories: Callable[[Path], int],
) -> Iterator[tuple[int, dict[str, int]]]:
    """Yield directory number and place on the axes for each plane of a block."""
    total = math.prod(sizes.values())
    start = dict(zip("ZCT", block.start, strict=True))
    start["C"] //= samples
    if any(start[axis] >= sizes[axis] for axis in "ZCT"):
        raise VolumeError(
            f"{block.path}: OME-XML places a plane at z {start['Z']} channel {start['C']} of "
            f"{sizes['Z']} x {sizes['C']}: it is damaged"
        )
    stride, at = 1, 0
    for axis in order:
        at += start[axis] * stride
        stride *= sizes[axis]
    there = directories(block.path) - block.directory
    count = there if block.count is None else block.count
    for k in range(max(0, min(count, there, total - at))):
        rest, place = at + k, dict[str, int]()
        for axis in order:
            rest, place[axis] = divmod(rest, sizes[axis])
        yield block.directory + k, place


def _missing(table: PlaneTable, z: int, c: int) -> str:
    if z * c > 1_000_000:
        return ""
    holes = [(k, n) for n in range(c) for k in range(z) if (n, k) not in table]
    shown = ", ".join(f"z {k}" + (f" channel {n}" if c > 1 else "") for k, n in holes[:3])
    return f" (lacks {shown}{f' and {len(holes) - 3} more' if len(holes) > 3 else ''})"


def _parsed(text: str, path: Path) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise VolumeError(f"{path}: its OME-XML defines entities, which no microscope does")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise VolumeError(f"{path}: its OME-XML is damaged ({error})") from None


def _companion(path: Path, name: str) -> str:
    file = sibling(path, name)
    try:
        if file.stat().st_size > _MOST_XML:
            raise VolumeError(f"{file} is too long for OME-XML; copy it again")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise VolumeError(
            f"{path} is described in {name}, which cannot be read ({error}); copy it beside it"
        ) from None


def _picked(
    elements: dict[str, ElementTree.Element], path: Path, choice: Choice
) -> ElementTree.Element:
    if choice.dataset is not None:
        for number, element in elements.items():
            if choice.dataset in (number, element.get("Name"), element.get("ID")):
                return element
        raise UsageError(f"{path} holds no image {choice.dataset!r}; it has {_listed(elements)}")
    volumes = {
        k: e for k, e in elements.items() if e.get("Name", "").lower() not in _NOT_THE_VOLUME
    }
    if len(volumes) == 1:
        return next(iter(volumes.values()))
    if not volumes:
        raise VolumeError(f"{path} holds no OME image; export it again")
    raise VolumeError(
        f"{path} holds {len(volumes)} OME images and a brain is one; choose with --dataset: "
        f"{_listed(volumes)}"
    )


def _listed(elements: dict[str, ElementTree.Element]) -> str:
    shown = [f"{k} ({e.get('Name') or e.get('ID', '')})" for k, e in list(elements.items())[:8]]
    return ", ".join(shown) + (f" and {len(elements) - 8} more" if len(elements) > 8 else "")


def _image(element: ElementTree.Element, root: ElementTree.Element, path: Path) -> OmeImage:
    pixels = next((e for e in element if _tag(e) == "Pixels"), None)
    if pixels is None:
        raise VolumeError(f"{path}: its OME-XML describes no pixels; export it again")
    x, y, z, c, t = (_whole(pixels, f"Size{axis}", path) for axis in "XYZCT")
    order = pixels.get("DimensionOrder", "XYZCT")
    if order[:2] != "XY" or sorted(order[2:]) != ["C", "T", "Z"]:
        raise VolumeError(f"{path}: OME-XML gives the unknown order of dimensions {order!r}")
    sizes = [_size(pixels.get(f"PhysicalSize{axis}")) for axis in "ZYX"]
    units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZYX"]
    spacing, notes = spacing_claim("OME-XML", sizes, units)
    blocks = tuple(_blocks(pixels, root, path))
    name = element.get("Name") or element.get("ID") or ""
    return OmeImage(name, (z, c, t), (y, x), order[2:], spacing, notes, blocks)


def _blocks(pixels: ElementTree.Element, root: ElementTree.Element, path: Path) -> Iterator[Block]:
    entries = [e for e in pixels if _tag(e) == "TiffData"]
    files = {e.get("FileName") for e in root.iter() if _tag(e) == "UUID"} - {None}
    if not entries:
        yield Block(path, 0, (0, 0, 0), None)
    for entry in entries:
        z, c, t = (_whole(entry, f"First{axis}", path, 0) for axis in "ZCT")
        count = None
        if "PlaneCount" in entry.attrib:
            count = _whole(entry, "PlaneCount", path, 0)
        elif "IFD" in entry.attrib:
            count = 1
        where = _file(entry, path, alone=len(files) < 2, uuid=root.get("UUID"))
        yield Block(where, _whole(entry, "IFD", path, 0), (z, c, t), count)


def _file(entry: ElementTree.Element, path: Path, *, alone: bool, uuid: str | None) -> Path:
    """Return the file of a block; one that stands alone may have been renamed."""
    named = next((e for e in entry if _tag(e) == "UUID"), None)
    name = None if named is None else named.get("FileName")
    if named is None or name is None or alone or (uuid and (named.text or "").strip() == uuid):
        return path
    return sibling(path, name)


def _whole(element: ElementTree.Element, name: str, path: Path, default: int | None = None) -> int:
    text = element.get(name, None if default is None else str(default))
    least = 1 if default is None else 0
    if text is None or not text.strip().isdecimal() or not least <= int(text) < 1 << 31:
        raise VolumeError(f"{path}: its OME-XML gives {name} as {text!r}, which is no number")
    return int(text)


def _size(text: str | None) -> float:
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
