"""Imaris 5.5 files: HDF5 with resolutions, time points and channels.

References
----------
.. [1] Imaris File Format Description, https://imaris.oxinst.com/support/imaris-file-format
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX
from neuroconn.volume.sources.base import Choice, chosen_channel
from neuroconn.volume.sources.hdf5.array import Hdf5Array
from neuroconn.volume.sources.hdf5.attributes import attributes_of, text
from neuroconn.volume.sources.hdf5.file import follow, has_member
from neuroconn.volume.sources.hdf5.source import Hdf5Source
from neuroconn.volume.sources.units import lengths_um, micrometres_per

_DATA = re.compile(r"/?DataSet/ResolutionLevel \d+/TimePoint (\d+)/Channel (\d+)/Data")
_RECORDING = tuple(f"RecordingEntry{what}Spacing" for what in ("Plane", "Line", "Sample"))
_SIZES = ("ImageSizeZ", "ImageSizeY", "ImageSizeX")
_FACTS = (
    *(f"Ext{end}{axis}" for end in ("Min", "Max") for axis in range(3)),
    "Unit", "X", "Y", "Z", *_RECORDING,
)  # fmt: skip


class ImarisSource(Hdf5Source):
    """One channel of one time point, cut to the size that Imaris shows."""

    format = "Imaris"


def is_imaris(file: Any, choice: Choice) -> bool:
    """Whether a file has Imaris's groups, and no other array of it is asked for."""
    named = choice.dataset is None or _DATA.fullmatch(choice.dataset) is not None
    return named and has_member(file, "DataSet") and has_member(file, "DataSetInfo")


def open_imaris(path: Path, file: Any, choice: Choice) -> ImarisSource:
    """Open a channel of an Imaris file at full resolution, or the array that is named.

    Raises
    ------
    VolumeError
        If there are several time points, or the sizes contradict each other.
    UsageError
        If the channel does not exist.
    """
    name, channels = _chosen_data(path, file, choice)
    data = follow(file, name, str(path))
    if data is None:
        raise UsageError(f"{path} has no dataset {name}")
    array = Hdf5Array(path, name, data)
    if len(array.shape) != 3:
        raise VolumeError(f"{array.where} is {array.shape}; Imaris stores (z, y, x) volumes")
    info = follow(file, "DataSetInfo/Image", str(path))
    facts: dict[str, str] = {}
    if info is not None:
        facts = {key: text(value) or "" for key, value in attributes_of(path, info, _FACTS).items()}
    channel = follow(file, name.rpartition("/")[0], str(path))
    shape, notes = _size(array, attributes_of(path, channel, _SIZES), facts)
    source = ImarisSource(array, shape=shape)
    source.channels = channels
    source.description = f"Imaris file, {name.removesuffix('/Data')}"
    source.spacing_um, origin, more = _frame(facts, shape)
    source.origin_um = origin or (0.0, 0.0, 0.0)
    source.notes += (*notes, *more, *_other_datasets(file))
    return source


def _chosen_data(path: Path, file: Any, choice: Choice) -> tuple[str, int]:
    """Return the path of the array that is meant, and how many channels there are."""
    if choice.dataset is not None:
        return choice.dataset.strip("/"), 1
    level = "DataSet/ResolutionLevel 0"
    times = _numbered(follow(file, level, str(path)), "TimePoint")
    if not times:
        raise VolumeError(f"{path} has no {level}/TimePoint 0; the Imaris file is incomplete")
    if len(times) > 1:
        raise VolumeError(
            f"{path} has {len(times)} time points and a brain has one; choose it: "
            f"--dataset '{level}/TimePoint {times[0]}/Channel 0/Data'"
        )
    group = f"{level}/TimePoint {times[0]}"
    channels = _numbered(follow(file, group, str(path)), "Channel")
    if not channels:
        raise VolumeError(f"{path} has no channel in {group}; the Imaris file is incomplete")
    number = channels[chosen_channel(len(channels), choice, str(path))]
    return f"{group}/Channel {number}/Data", len(channels)


def _numbered(group: Any, kind: str) -> list[int]:
    if not hasattr(group, "keys"):
        return []
    matches = (re.fullmatch(rf"{kind} (\d+)", name) for name in group)
    return sorted(int(match[1]) for match in matches if match)


def _size(
    array: Hdf5Array, channel: dict[str, Any], image: dict[str, str]
) -> tuple[ZYX, tuple[str, ...]]:
    """Return the size of the volume: what is stored is filled up to whole chunks.

    The channel says it; ``X``, ``Y`` and ``Z`` of the image are unreliable, and only believed if
    they fit.
    """
    z, y, x = array.shape
    stated = [text(channel.get(size)) for size in _SIZES]
    if all(stated):
        size = _whole_numbers(stated)
        if size is None or not _fits(size, array):
            raise VolumeError(
                f"{array.where} stores {array.shape} voxels and says it is "
                f"{' x '.join(map(str, stated))} (z, y, x); one of them is wrong. Save it again "
                "from Imaris"
            )
        return size, ()
    size = _whole_numbers([image.get(axis) for axis in "ZYX"])
    if size is not None and _fits(size, array):
        return size, ()
    return (z, y, x), ("the file states no size: voxels that fill up chunks are part of it",)


def _whole_numbers(values: Sequence[str | None]) -> ZYX | None:
    if not all(value is not None and re.fullmatch(r"\d{1,9}", value) for value in values):
        return None
    z, y, x = (int(value or 0) for value in values)
    return z, y, x


def _fits(size: ZYX, array: Hdf5Array) -> bool:
    """Whether less than a chunk of what is stored lies beyond the size."""
    chunks = array.chunks or (1, 1, 1)
    spans = zip(size, array.shape, chunks, strict=True)
    return all(0 < n <= stored < n + chunk for n, stored, chunk in spans)


def _frame(
    facts: dict[str, str], shape: ZYX
) -> tuple[tuple[float, float, float] | None, tuple[float, float, float] | None, tuple[str, ...]]:
    """Return spacing and origin: extents are the edges of the volume, not centres of voxels."""
    unit = facts.get("Unit", "") or "um"
    notes: tuple[str, ...] = (
        () if facts.get("Unit") else ("no unit is stated; taken as µm, as Imaris does",)
    )
    factor = micrometres_per(unit)
    if factor is None:
        return None, None, (f"lengths are in {unit!r}, no known unit; give --spacing",)
    low, high = (_lengths(facts, [f"Ext{end}{k}" for k in (2, 1, 0)]) for end in ("Min", "Max"))
    if low is None or high is None:
        recorded = lengths_um(_lengths(facts, _RECORDING) or (), [unit] * 3)
        if recorded is None and "ExtMax0" in facts:
            notes = ("the extents are no numbers; give --spacing",)
        return recorded, None, notes
    sizes = [(b - a) / n for a, b, n in zip(low, high, shape, strict=True)]
    spacing = lengths_um(sizes, [unit] * 3)
    if spacing is None:
        return None, None, (f"extents from {low} to {high} are no size; give --spacing",)
    z, y, x = (a * factor + s / 2 for a, s in zip(low, spacing, strict=True))
    return spacing, (z, y, x), notes


def _lengths(facts: dict[str, str], keys: Sequence[str]) -> tuple[float, ...] | None:
    try:
        return tuple(float(facts[key]) for key in keys)
    except (KeyError, ValueError):
        return None


def _other_datasets(file: Any) -> tuple[str, ...]:
    others = sorted(name for name in file if re.fullmatch(r"DataSet\d+", name))
    return (f"only the first of {len(others) + 1} images is read",) if others else ()
