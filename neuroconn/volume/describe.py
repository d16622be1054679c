"""What a file or a folder is: a source of a conversion, a brain, or a distance map."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from neuroconn.errors import NeuroconnError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.axes import triple
from neuroconn.volume.convert_journal import read_journal
from neuroconn.volume.convert_run import processors, survey_box
from neuroconn.volume.sources import Source, open_source
from neuroconn.volume.sources.base import SUPPORTED
from neuroconn.volume.store import Image, open_image


@dataclass(frozen=True, slots=True)
class Info:
    """What was recognised; the shapes are (z, y, x)."""

    path: str
    what: str
    """``source``, ``brain`` or ``distance``."""
    description: str
    shape: ZYX
    dtype: str
    unit: ZYX
    """Smallest box that can be decoded."""
    spacing_um: tuple[float, float, float] | None
    """None if nobody says how long a voxel is."""
    origin_um: tuple[float, float, float]
    """Centre of the first voxel."""
    channels: int
    facts: dict[str, Any] = field(default_factory=dict)
    """More about an image of ours: levels, shards, statistics, how it was made."""
    notes: list[str] = field(default_factory=list)
    """What does not stop a conversion, and what it will need to be told."""
    problems: list[str] = field(default_factory=list)
    """What is wrong."""

    def as_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return asdict(self)


def info(
    path: str | Path,
    *,
    channel: int | None = None,
    dataset: str | None = None,
    check: bool = False,
    threads: int | None = None,
) -> Info:
    """Say what a path holds, from its metadata.

    Parameters
    ----------
    path : path or URL
        Anything that can be converted, or was made by neuroconn.
    channel, dataset : int, str, optional
        As for :func:`neuroconn.convert`.
    check : bool
        Decode every voxel of a source and name the places that cannot be read.
    threads : int, optional
        Pieces decoded at once.

    Returns
    -------
    Info

    Raises
    ------
    VolumeError
        If nothing can be made of it.
    """
    image = _ours(path)
    if image is not None:
        return _of_image(image)
    source, notes = _source(path, channel, dataset)
    problems = []
    if check:
        places = survey_box(source, Box.of_shape(source.shape), threads or processors())
        problems = [str(place) for place in places]
    if source.dtype.name not in SUPPORTED:
        notes.append(f"{source.dtype} voxels need a mapping: convert --offset or --range")
    if source.spacing_um is None:
        notes.append("the length of a voxel is not said: convert --spacing Z Y X")
    return Info(
        path=str(path),
        what="source",
        description=source.description,
        shape=source.shape,
        dtype=source.dtype.name,
        unit=source.unit,
        spacing_um=source.spacing_um,
        origin_um=source.origin_um,
        channels=source.channels,
        facts={"format": source.format},
        notes=notes,
        problems=problems,
    )


def _ours(path: str | Path) -> Image | None:
    if "://" in str(path) or not Path(path).is_dir():
        return None
    try:
        image = open_image(path)
    except NeuroconnError:
        return None  # what is wrong with it is said when it is opened as a source
    return image if image.ours else None


def _source(path: str | Path, channel: int | None, dataset: str | None) -> tuple[Source, list[str]]:
    """Open a source; of several channels the first stands for all."""
    try:
        source = open_source(path, channel=channel, dataset=dataset)
    except VolumeError as error:
        if channel is not None or "--channel" not in str(error):
            raise
        source = open_source(path, channel=0, dataset=dataset)
        return source, [str(error), *source.notes]
    return source, list(source.notes)


def _of_image(image: Image) -> Info:
    array, notes = image.array(0), image.attributes
    facts: dict[str, Any] = {
        "version": "0.5" if image.zarr_format == 3 else "0.4",
        "levels": [level.shape for level in image.levels],
        "shards": None if array.shards is None else triple(array.shards),
        "downsample": image.downsample,
    }
    problems = []
    conversion = notes.get("conversion")
    if isinstance(conversion, dict):
        facts["source"] = conversion["source"]["name"]
        facts["mapping"] = conversion.get("mapping")
        if "intensity" not in notes:
            done = sum("histogram" in record for record in read_journal(image.folder))
            problems.append(
                f"the conversion is not finished ({done} bands are done): run the same command "
                "again"
            )
    if "intensity" in notes:
        facts["intensity"] = {k: v for k, v in notes["intensity"].items() if k != "histogram"}
    if "planes" in notes:
        facts["unevenness"] = {axis: notes["planes"][axis]["unevenness"] for axis in "zyx"}
    for key in ("clipped", "scale_factor", "model"):
        if key in notes:
            facts[key] = notes[key]
    for start, stop, reason in notes.get("bad", []):
        problems.append(
            f"zeros at {Box(tuple(start), tuple(stop))}, damaged in the source: {reason}"
        )
    return Info(
        path=str(image.path),
        what=image.kind,
        description=f"OME-Zarr {facts['version']} image with {len(image.levels)} levels",
        shape=image.shape,
        dtype=array.dtype.name,
        unit=triple(array.chunks),
        spacing_um=image.frame.spacing_um if image.spacing_known else None,
        origin_um=image.frame.origin_um,
        channels=1,
        facts=facts,
        problems=problems,
    )
