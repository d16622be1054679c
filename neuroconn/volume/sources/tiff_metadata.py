"""What OME and ImageJ say about a stack: how many planes, how long a voxel is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from neuroconn.errors import VolumeError
from neuroconn.volume.ome import MICROMETRES

_UNITS = {
    "": None, "pixel": None, "pixels": None, "inch": 25400.0, "in": 25400.0,
    "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0,
    "mm": 1e3, "cm": 1e4, "m": 1e6, "å": 1e-4, **MICROMETRES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StackFacts:
    """What a file declares about its planes."""

    origin: str
    """OME, ImageJ, or TIFF where the file declares nothing."""
    planes: int | None
    spacing_um: tuple[float, float, float] | None


def stack_facts(tif: Any, path: Path) -> StackFacts:
    """Read the declared number of planes and the spacing.

    Raises
    ------
    VolumeError
        If the file declares several channels or time points.
    """
    if tif.is_ome:
        return _ome(tif.ome_metadata, path)
    if tif.is_imagej:
        return _imagej(tif, path)
    return _shaped(tif.pages[0].description, path)


def _ome(text: str, path: Path) -> StackFacts:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise VolumeError(f"{path}: its OME-XML defines entities, which no microscope does")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise VolumeError(f"{path}: its OME-XML is damaged ({error})") from None
    images = [e for e in root.iter() if _tag(e) == "Pixels"]
    if len(images) != 1:
        raise VolumeError(f"{path} holds {len(images)} OME images; a brain is one")
    pixels = images[0].attrib
    try:
        z, c, t = (int(pixels[f"Size{axis}"]) for axis in "ZCT")
        size = [float(pixels.get(f"PhysicalSize{axis}", "nan")) for axis in "ZYX"]
    except (KeyError, ValueError) as error:
        raise VolumeError(f"{path}: its OME-XML lacks a size ({error})") from None
    _one_grey_volume(path, channels=c, times=t)
    _in_plane_order(images[0], path)
    factors = [_UNITS.get(pixels.get(f"PhysicalSize{a}Unit", "µm").lower()) for a in "ZYX"]
    return StackFacts("OME-TIFF", z, _spacing(size, factors))


def _in_plane_order(pixels: ElementTree.Element, path: Path) -> None:
    entries = [e for e in pixels if _tag(e) == "TiffData"]
    for entry in entries:
        if entry.get("FirstZ", "0") != entry.get("IFD", "0"):
            raise VolumeError(f"{path} does not store its planes in z order; save it as a stack")
    names = {e.get("FileName") for entry in entries for e in entry if _tag(e) == "UUID"}
    if len(names - {None}) > 1:
        raise VolumeError(
            f"{path} is one of {len(names)} files of an OME-TIFF series; "
            "save the volume as one file or as a folder of slices"
        )


def _imagej(tif: Any, path: Path) -> StackFacts:
    facts: Mapping[str, Any] = tif.imagej_metadata or {}
    _one_grey_volume(path, channels=facts.get("channels", 1), times=facts.get("frames", 1))
    planes = int(facts.get("images", 1))
    factor = _UNITS.get(str(facts.get("unit", "")).lower())
    tags = tif.pages[0].tags
    z = float(facts.get("spacing", math.nan))
    size = [abs(z), *(_per_pixel(tags, f"{axis}Resolution") for axis in "YX")]
    return StackFacts("ImageJ stack", planes, _spacing(size, [factor] * 3))


def _per_pixel(tags: Any, name: str) -> float:
    tag = tags.get(name)
    numerator, denominator = tag.value if tag is not None else (0, 1)
    return denominator / numerator if numerator else math.nan


def _shaped(description: str, path: Path) -> StackFacts:
    """Read what tifffile itself writes: ``{"shape": [...]}``."""
    if not description.startswith('{"shape"'):
        return StackFacts("TIFF stack", None, None)
    try:
        shape = [int(n) for n in json.loads(description)["shape"]]
    except (ValueError, TypeError, KeyError):
        return StackFacts("TIFF stack", None, None)
    leading = math.prod(shape[:-3])
    if leading > 1:
        raise VolumeError(f"{path} has shape {tuple(shape)}; a brain is one grey (z, y, x) volume")
    return StackFacts("TIFF stack", shape[-3] if len(shape) > 2 else 1, None)


def _one_grey_volume(path: Path, *, channels: int, times: int) -> None:
    if times > 1:
        raise VolumeError(f"{path} is a time series of {times} frames; save the one to convert")
    if channels > 1:
        raise VolumeError(
            f"{path} declares {channels} channels; save the one with the neurites "
            "(if these are z planes, save them as slices)"
        )


def _spacing(size: list[float], factors: list[float | None]) -> tuple[float, float, float] | None:
    um = [s * f for s, f in zip(size, factors, strict=True) if f is not None]
    if len(um) != 3 or not all(math.isfinite(s) and s > 0 for s in um):
        return None
    return um[0], um[1], um[2]


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
