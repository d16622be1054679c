"""OME-Zarr metadata, 0.4 and 0.5: what is written, and what is accepted.

Validators let scales of zero and paths out of the store pass; the checks here do not, because both
end in a wrong answer without an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from neuroconn._version import __version__
from neuroconn.errors import VolumeError
from neuroconn.geometry import Frame, Level

AXES = ("z", "y", "x")
MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "decimeter": 1e5,
    "meter": 1e6,
    "inch": 25400.0,
}
"""Micrometres per length unit of OME-Zarr."""


@dataclass(frozen=True, slots=True)
class Multiscale:
    """The first multiscale image of a group, in micrometres and (z, y, x) whatever was stored."""

    version: str
    axes: tuple[str, ...]
    """Stored axis names, in stored order."""
    paths: tuple[str, ...]
    """Array of each level, finest first."""
    frames: tuple[Frame, ...]
    """Where the voxels of each level lie."""
    spacing_known: bool
    """Whether the axes carry a length unit."""
    downsample: str | None
    """How the levels were made, as far as the metadata says."""


def group_attributes(
    zarr_format: int,
    name: str,
    levels: Sequence[Level],
    base: Frame,
    *,
    spacing_known: bool,
    downsample: str,
) -> dict[str, Any]:
    """Return the attributes of an image's group: OME-Zarr 0.5 in Zarr v3, 0.4 in Zarr v2.

    Parameters
    ----------
    zarr_format : {3, 2}
        0.5 keeps everything in the attribute ``ome``; 0.4 beside it, at the top.
    name : str
        What viewers call the image.
    levels : sequence of Level
        Level 0 first; their arrays are ``0``, ``1``, ...
    base : Frame
        Where the voxels of level 0 lie.
    spacing_known : bool
        False leaves the axes without a unit, so that no viewer draws a scale bar.
    downsample : str
        How coarse levels are made.
    """
    image = _multiscale(name, levels, base, spacing_known=spacing_known, downsample=downsample)
    if zarr_format == 2:
        return {"multiscales": [{"version": "0.4", **image}]}
    return {"ome": {"version": "0.5", "multiscales": [image]}}


def channel_attributes(attributes: Mapping[str, Any], channel: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attribute to update so that an image's one channel is shown like this."""
    omero = {"channels": [dict(channel)]}
    if "ome" in attributes:
        return {"ome": {**attributes["ome"], "omero": omero}}
    return {"omero": {"version": "0.4", **omero}}


def ome_block(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OME-Zarr metadata of a group as stored, wherever its version keeps them."""
    if "ome" in attributes:
        return dict(attributes["ome"])
    return {key: attributes[key] for key in ("multiscales", "omero") if key in attributes}


def _multiscale(
    name: str, levels: Sequence[Level], base: Frame, *, spacing_known: bool, downsample: str
) -> dict[str, Any]:
    unit = {"unit": "micrometer"} if spacing_known else {}
    datasets = []
    for number, level in enumerate(levels):
        frame = level.frame(base)
        transforms = [
            {"type": "scale", "scale": [float(s) for s in frame.spacing_um]},
            {"type": "translation", "translation": [float(o) for o in frame.origin_um]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    return {
        "name": name,
        "axes": [{"name": axis, "type": "space", **unit} for axis in AXES],
        "datasets": datasets,
        "type": downsample,
        "metadata": {
            "description": f"each level is the {downsample} over blocks of the one below",
            "method": "neuroconn.volume.pyramid.reduce_block",
            "version": __version__,
            "kwargs": {"method": downsample},
        },
    }


def parse_multiscale(attributes: Mapping[str, Any]) -> Multiscale:
    """Read and check the attributes of an OME-Zarr group.

    Raises
    ------
    VolumeError
        If the group is no multiscale image, or says something that cannot be followed safely.
    """
    version, image = _first_multiscale(attributes)
    axes, factors, spacing_known = _axes(image)
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise VolumeError("the multiscale image lists no datasets, so there is nothing to read")
    outer = image.get("coordinateTransformations") or []
    frames = []
    for dataset in datasets:
        scale, shift = _transform(dataset.get("coordinateTransformations") or [], len(axes))
        outer_scale, outer_shift = _transform(outer, len(axes)) if outer else (None, None)
        if outer_scale and outer_shift:
            shift = [a * b + c for a, b, c in zip(outer_scale, shift, outer_shift, strict=True)]
            scale = [a * b for a, b in zip(outer_scale, scale, strict=True)]
        frames.append(_frame(axes, factors, scale, shift))
    finest = frames[0].spacing_um
    if any(f.spacing_um[i] < 0.99 * finest[i] for f in frames for i in range(3)):
        raise VolumeError("the datasets are not listed from fine to coarse, as OME-Zarr requires")
    paths = tuple(_safe_path(dataset.get("path")) for dataset in datasets)
    kind = image.get("type")
    return Multiscale(
        version, axes, paths, tuple(frames), spacing_known, kind if isinstance(kind, str) else None
    )


def _first_multiscale(attributes: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    ome = attributes.get("ome", attributes)
    images = ome.get("multiscales") if isinstance(ome, Mapping) else None
    if not isinstance(images, list) or not images or not isinstance(images[0], Mapping):
        raise VolumeError("the group has no multiscales metadata, so it is not an OME-Zarr image")
    version = ome.get("version") or images[0].get("version")
    if version not in ("0.4", "0.5"):
        raise VolumeError(f"OME-Zarr version {version!r} is not supported; 0.4 and 0.5 are")
    return version, images[0]


def _axes(image: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, float], bool]:
    """Axis names, micrometres per unit of each space axis, and whether all units are given."""
    entries = image.get("axes")
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
        raise VolumeError("the image has no axes, so its dimensions cannot be told apart")
    names = tuple(str(entry.get("name")) for entry in entries)
    if len(set(names)) != len(names) or not set(AXES) <= set(names) <= {"t", "c", *AXES}:
        raise VolumeError(
            f"axes are {', '.join(names)}; a brain has z, y and x, and at most c and t of length 1"
        )
    units = {str(e.get("name")): e.get("unit") for e in entries if e.get("name") in AXES}
    unknown = sorted({str(u) for u in units.values() if u is not None and u not in MICROMETRES})
    if unknown:
        known = ", ".join(MICROMETRES)
        raise VolumeError(f"axis unit {unknown[0]!r} is not a known length; known: {known}")
    factors = {name: MICROMETRES.get(unit or "", 1.0) for name, unit in units.items()}
    return names, factors, all(units.values())


def _transform(transforms: Any, ndim: int) -> tuple[list[float], list[float]]:
    """One scale, then at most one translation."""
    kinds = [t.get("type") if isinstance(t, Mapping) else None for t in transforms]
    if kinds not in (["scale"], ["scale", "translation"]):
        raise VolumeError(
            f"coordinateTransformations {kinds} are not one scale and at most one translation"
        )
    scale = _numbers(transforms[0].get("scale"), ndim, "scale")
    if any(s <= 0 for s in scale):
        raise VolumeError(f"scale {scale} is not positive, so voxels would have no place in space")
    if len(kinds) == 1:
        return scale, [0.0] * ndim
    return scale, _numbers(transforms[1].get("translation"), ndim, "translation")


def _numbers(values: Any, ndim: int, name: str) -> list[float]:
    if not isinstance(values, list) or len(values) != ndim:
        raise VolumeError(f"{name} {values!r} does not give one number for each of {ndim} axes")
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise VolumeError(f"{name} {values!r} is not finite")
    return [float(v) for v in values]


def _frame(
    axes: tuple[str, ...], factors: Mapping[str, float], scale: list[float], shift: list[float]
) -> Frame:
    at = [axes.index(name) for name in AXES]
    um = [factors[name] for name in AXES]
    z, y, x = (scale[i] * f for i, f in zip(at, um, strict=True))
    oz, oy, ox = (shift[i] * f for i, f in zip(at, um, strict=True))
    return Frame((z, y, x), (oz, oy, ox))


def _safe_path(path: Any) -> str:
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    if not parts or "\\" in str(path) or any(part in ("..", "/") for part in parts):
        raise VolumeError(f"dataset path {path!r} leaves the store; only paths inside are followed")
    return "/".join(parts)
