"""What the attributes of an OME-Zarr group say about it and about its levels.

A voxel size that makes no sense costs the voxel size, not the voxels: it is noted, and the image
reads on as one of unknown spacing. What decides which voxels are read is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from neuroconn.errors import VolumeError
from neuroconn.volume.checked_reads import one_line
from neuroconn.volume.ome import AXES, MICROMETRES, Multiscale, parse_multiscale
from neuroconn.volume.sources.units import micrometres_per
from neuroconn.volume.store import SCHEMA

Content: TypeAlias = Literal["image", "plate", "well", "series"]

_CONTENTS: dict[str, Content] = {
    "multiscales": "image",
    "plate": "plate",
    "well": "well",
    "bioformats2raw.layout": "series",
}


@dataclass(frozen=True, slots=True)
class OmeLevel:
    """One level of an OME-Zarr image."""

    path: str
    """Its array, relative to the image."""
    axes: tuple[str, ...]
    spacing_um: tuple[float, float, float] | None
    origin_um: tuple[float, float, float]
    notes: tuple[str, ...]
    description: str


def content(attributes: Mapping[str, Any]) -> Content | None:
    """Return what an OME-Zarr group holds; None if it is none.

    Examples
    --------
    >>> content({"ome": {"version": "0.5", "multiscales": []}})
    'image'
    >>> content({"plate": {}, "bioformats2raw.layout": 3})
    'plate'
    >>> content({"author": "me"})
    """
    ome = _ome(attributes)
    return next((kind for key, kind in _CONTENTS.items() if key in ome), None)


def series_paths(attributes: Mapping[str, Any]) -> list[str] | None:
    """Images of a container, as the ``OME`` group in it lists them; None if it does not."""
    paths = _ome(attributes).get("series")
    if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
        return None
    return paths


def parse_image(attributes: Mapping[str, Any], where: str) -> tuple[Multiscale, tuple[str, ...]]:
    """Read the multiscales of an image that may be converted.

    Returns
    -------
    multiscale : Multiscale
        ``spacing_known`` is False if the voxel size makes no sense, too.
    notes : tuple of str
        What was wrong with it.

    Raises
    ------
    VolumeError
        If the image is a distance map, an unfinished conversion, or cannot be followed safely.
    """
    _check_ours(attributes.get("neuroconn"), where)
    try:
        readable, notes = _without_nonsense(attributes)
        return parse_multiscale(readable), tuple(f"{where}: {note}" for note in notes)
    except VolumeError as error:
        raise VolumeError(f"{where}: {error}") from None
    except Exception as error:  # tables where lists are expected, and the like
        raise VolumeError(
            f"{where}: the multiscales metadata is damaged ({type(error).__name__}: "
            f"{one_line(error)})"
        ) from error


def level_of(
    multiscale: Multiscale, path: str | None, where: str, notes: tuple[str, ...]
) -> OmeLevel | None:
    """Return the level stored at ``path``, the finest if None; None if there is no such level."""
    number = 0 if path is None else _position(multiscale.paths, path)
    if number is None:
        return None
    frame, known = multiscale.frames[number], multiscale.spacing_known
    if not known:
        notes = (*notes, f"{where}: the axes carry no usable unit, so the voxel size is unknown")
    count = len(multiscale.paths)
    return OmeLevel(
        multiscale.paths[number],
        multiscale.axes,
        frame.spacing_um if known else None,
        frame.origin_um if known else (0.0, 0.0, 0.0),
        notes,
        f"OME-Zarr {multiscale.version} image, level {number} of {count}",
    )


def _position(paths: tuple[str, ...], path: str) -> int | None:
    return paths.index(path) if path in paths else None


def _ome(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, Mapping) else {}


def _check_ours(block: Any, where: str) -> None:
    if not isinstance(block, Mapping):
        return
    if block.get("schema") != SCHEMA:
        raise VolumeError(
            f"{where} was written by another version of neuroconn (schema {block.get('schema')!r}; "
            f"this one reads schema {SCHEMA})"
        )
    if block.get("kind") == "distance":
        raise VolumeError(
            f"{where} is a distance map, not a brain; convert the brain it was made of"
        )
    notes = block.get("attributes")
    if isinstance(notes, Mapping) and "conversion" in notes and "intensity" not in notes:
        raise VolumeError(
            f"{where} is an unfinished conversion: what is missing would be converted as empty. "
            "Run its own neuroconn convert to the end first"
        )


def _without_nonsense(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Attributes with unknown units dropped and, where scales make no sense, without scales."""
    ome = dict(_ome(attributes))
    images = ome.get("multiscales")
    if not isinstance(images, list) or not images or not isinstance(images[0], Mapping):
        return dict(attributes), []
    axes = images[0].get("axes")
    if not isinstance(axes, list) or not all(isinstance(a, Mapping) for a in axes):
        return dict(attributes), []  # refused by whoever parses them, in better words
    image, notes = dict(images[0]), []
    if len(images) > 1:
        notes.append(f"the group holds {len(images)} multiscale images and the first is read")
    units = {a.get("name"): a.get("unit") for a in axes if a.get("name") in AXES}
    known = {name: _official(unit) for name, unit in units.items()}
    unknown = [unit for name, unit in units.items() if unit is not None and known[name] is None]
    odd = _odd_scale(image)
    if odd is not None:
        notes.append(f"scale {odd!r} gives voxels no size: the voxel size is unknown")
        _replace_scales(image)
    elif unknown:
        notes.append(f"axis unit {unknown[0]!r} is not a known length: the voxel size is unknown")
    if odd is not None or unknown:
        known = dict.fromkeys(known)
    image["axes"] = [{**a, "unit": known[a["name"]]} if a.get("name") in AXES else a for a in axes]
    return {"ome": {**ome, "multiscales": [image]}}, notes


def _official(unit: Any) -> str | None:
    """OME-Zarr's word for a unit that some writers spell ``um``."""
    um = micrometres_per(unit)
    return next((name for name, factor in MICROMETRES.items() if factor == um), None)


def _odd_scale(image: Mapping[str, Any]) -> Any:
    """First scale with a value that is no positive finite number."""
    for holder in (image, *image.get("datasets", ())):
        for transform in holder.get("coordinateTransformations") or ():
            scale = transform.get("scale")
            if isinstance(scale, list) and not all(_positive(value) for value in scale):
                return scale
    return None


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _replace_scales(image: dict[str, Any]) -> None:
    ones = [{"type": "scale", "scale": [1.0] * len(image["axes"])}]
    image.pop("coordinateTransformations", None)
    image["datasets"] = [
        {**dataset, "coordinateTransformations": ones} for dataset in image["datasets"]
    ]
