"""HDF5 files: told apart as Imaris, BigDataViewer, or a plain array of any program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.base import Choice, Source, chosen_channel
from neuroconn.volume.sources.hdf5.array import Hdf5Array
from neuroconn.volume.sources.hdf5.attributes import attributes_of, text
from neuroconn.volume.sources.hdf5.bdv import is_bdv, open_bdv_hdf5
from neuroconn.volume.sources.hdf5.file import arrays_in, follow, opened
from neuroconn.volume.sources.hdf5.imaris import is_imaris, open_imaris
from neuroconn.volume.sources.hdf5.source import Hdf5Source, positions_of
from neuroconn.volume.sources.units import lengths_um

_LISTED = 8
"""Arrays that a message names."""
_ATTRIBUTES = (
    "axistags", "axes", "DIMENSION_LABELS", "IMAGE_SUBCLASS",
    "element_size_um", "resolution", "units", "unit",
)  # fmt: skip


def open_hdf5(path: Path, choice: Choice) -> Source:
    """Open a volume in an HDF5 file.

    Raises
    ------
    VolumeError
        If the file is damaged, lies partly in other files, or does not hold one grey volume.
    UsageError
        If the chosen array or channel does not exist.
    """
    with opened(path) as file:
        if is_imaris(file, choice):
            return open_imaris(path, file, choice)
        if is_bdv(file, choice):
            return open_bdv_hdf5(path, file, choice)
        return _open_plain(path, file, choice)


def named_axes(attributes: Mapping[str, Any], ndim: int) -> str | None:
    """Return the axes of an array as letters of ``tczyx``, if its attributes name them.

    Looked for are ilastik's ``axistags``, an ``axes`` attribute, and HDF5's dimension labels.

    Examples
    --------
    >>> named_axes({"axes": "CZYX"}, 4), named_axes({"axes": ["z", "y", "x"]}, 4)
    ('czyx', None)
    """
    for names in _axis_names(attributes):
        letters = "".join(name.strip().lower() for name in names)
        known = len(letters) == len(set(letters)) == ndim and set(letters) <= set("tczyx")
        if known and all(len(name.strip()) == 1 for name in names):
            return letters
    return None


def _axis_names(attributes: Mapping[str, Any]) -> Iterator[list[str]]:
    tags = text(attributes.get("axistags"))
    if tags:
        try:
            yield [str(axis["key"]) for axis in json.loads(tags)["axes"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            yield []
    axes = attributes.get("axes")
    if axes is not None:
        yield list(text(axes) or "")
    # As an attribute: the function of HDF5 that reads labels crashes on damaged ones.
    labels = attributes.get("DIMENSION_LABELS")
    if isinstance(labels, list):
        yield [str(label) for label in labels]


def _open_plain(path: Path, file: Any, choice: Choice) -> Source:
    name, dataset = _chosen_dataset(path, file, choice)
    array = Hdf5Array(path, name, dataset)
    attributes = attributes_of(path, dataset, _ATTRIBUTES)
    named = named_axes(attributes, dataset.ndim)
    axes = named or ("zyx" if dataset.ndim == 3 else "")
    if not set("zyx") <= set(axes):
        raise VolumeError(f"{array.where} {_why_not(named, dataset.shape)}")
    channels = dict(zip(axes, array.shape, strict=True)).get("c", 1)
    channel = chosen_channel(channels, choice, array.where)
    if text(attributes.get("IMAGE_SUBCLASS")) == "IMAGE_TRUECOLOR":
        raise VolumeError(f"{array.where} is a colour image; save the channel with the neurites")
    source = Hdf5Source(
        array, axes=axes, positions=positions_of(axes, array.shape, channel, array.where)
    )
    source.channels = channels
    source.spacing_um, notes = _spacing(attributes, name)
    source.notes += notes
    return source


def _chosen_dataset(path: Path, file: Any, choice: Choice) -> tuple[str, Any]:
    if choice.dataset is not None:
        dataset = follow(file, choice.dataset, str(path))
        if dataset is None or not hasattr(dataset, "ndim"):
            known = _listed([entry[0] for entry in arrays_in(file, str(path))])
            raise UsageError(
                f"{path} has no dataset {choice.dataset}; it has {known or 'none of its own'}"
            )
        return choice.dataset.strip("/"), dataset
    found = arrays_in(file, str(path))
    volumes = [entry for entry in found if entry[1].ndim == 3] or _named_volumes(path, found)
    if len(volumes) == 1:
        return volumes[0]
    if volumes:
        raise VolumeError(
            f"{path} holds {len(volumes)} volumes and a brain is one; choose it: --dataset NAME, "
            f"one of {_listed([f'{name} {dataset.shape}' for name, dataset in volumes])}"
        )
    if len(found) == 1:
        return found[0]  # what is wrong with it is said when it is opened
    reasons = [f"{name} {dataset.shape}" for name, dataset in found]
    raise VolumeError(
        f"{path} holds no three-dimensional array of its own"
        + (f", only {_listed(reasons)}" if reasons else "; links to other files are not followed")
    )


def _named_volumes(path: Path, found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the arrays of more than three dimensions whose axes are named."""
    larger = [entry for entry in found if entry[1].ndim in (4, 5)]
    if len(larger) > _LISTED:
        return larger
    return [
        (name, dataset)
        for name, dataset in larger
        if set("zyx")
        <= set(named_axes(attributes_of(path, dataset, _ATTRIBUTES), dataset.ndim) or "")
    ]


def _why_not(named: str | None, shape: tuple[int, ...]) -> str:
    if named is not None:
        return f"has axes {', '.join(named)}; a brain has z, y and x"
    return (
        f"has {len(shape)} dimensions {shape} and a brain has z, y, x; no axis is guessed. Name "
        "them in an attribute, such as axes = 'czyx', or save one channel"
    )


def _spacing(
    attributes: Mapping[str, Any], name: str
) -> tuple[tuple[float, float, float] | None, tuple[str, ...]]:
    """Return the voxel size: ``element_size_um`` of Fiji, or a ``resolution`` with its unit."""
    for key, unit in (("element_size_um", "um"), ("resolution", _unit(attributes, name))):
        values = attributes.get(key)
        if values is None:
            continue
        known = lengths_um(_numbers(values), [unit] * 3)
        if known is not None:
            return known, ()
        shown = f"{_numbers(values) or 'no numbers'} {unit or 'without a unit'}"
        return None, (f"{key} of {name} is {shown}; it is ignored, give --spacing",)
    return None, ()


def _unit(attributes: Mapping[str, Any], name: str) -> str | None:
    """Return the unit of ``resolution``; CREMI's volumes are in nanometres by definition."""
    for key in ("units", "unit"):
        value = attributes.get(key)
        if value is not None:
            several = value.tolist() if hasattr(value, "tolist") else value
            units = several if isinstance(several, list) else [several]
            return text(units[0]) if len({text(unit) for unit in units}) == 1 else None
    return "nm" if name.startswith("volumes/") else None


def _numbers(values: Any) -> list[float]:
    try:
        listed = values.tolist() if hasattr(values, "tolist") else list(values)
        return [float(value) for value in listed]
    except (TypeError, ValueError):
        return []


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
