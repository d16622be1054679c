"""A brain and its distance map on one grid, and the overlay of any box of them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.inference.journal.journal import Journal
from neuroconn.vaa3d.overlay import Unexplored, Window, avoid_powers_of_two, overlay, rgb
from neuroconn.volume import Image, open_image, read_region
from neuroconn.volume.address import Address, ObjectPath

logger = logging.getLogger(__name__)

Depth = Literal["uint8", "uint16"]

_LARGEST_CODE = {"uint8": 250, "uint16": 65_000}
_PLANES = 16


@dataclass(frozen=True, slots=True)
class Look:
    """How voxels of an export are made."""

    settings: OverlaySettings
    dtype: Depth
    peak: int
    """The brightest value."""
    unexplored: Unexplored

    @property
    def colour(self) -> bool:
        """Whether a voxel has three values."""
        return self.settings.colour == "rgb"


class Pair:
    """A brain and its distance map, opened and found to fit.

    Parameters
    ----------
    brain, distance : Path or ObjectPath
        OME-Zarr images. The map may be of a coarser level of the brain.
    look : Look
        What to make of them.
    box : Box, optional
        A crop, in voxels of the map; boxes given later count from its start.

    Raises
    ------
    VolumeError
        If one cannot be read, or they do not share a grid.
    UsageError
        If the overlay does not fit the map, or the crop the volume.
    """

    def __init__(
        self, brain: Address, distance: Address, look: Look, box: Box | None = None
    ) -> None:
        self.look = look
        self.brain, self.map = open_image(brain), open_image(distance)
        self._raw = self.brain.array(_shared_level(self.brain, self.map))
        self._codes = self.map.array(0)
        self._distance = _Distances(self.map)
        if look.settings.factor:
            self._distance.check_reach(look.settings.clip)
        self.window = intensity_window(self.brain, look.settings)
        self.box = _crop(box, self.map)

    @property
    def depth(self) -> int:
        """Planes that are cheap to read at once."""
        return int(self._codes.chunks[0])

    @property
    def origin_um(self) -> tuple[float, float, float]:
        """Centre of the export's first voxel."""
        z, y, x = self.map.frame.to_um([self.box.start])[0]
        return float(z), float(y), float(x)

    def identity(self) -> dict[str, Any]:
        """Return what the voxels of an export depend on, as JSON values."""
        return {
            "brain": _digest(self.brain),
            "distance": _digest(self.map),
            "box": [list(self.box.start), list(self.box.stop)],
            "window": [self.window.low, self.window.high],
            "settings": self.look.settings.model_dump(),
            "unexplored": self.look.unexplored,
            "peak": self.look.peak,
        }

    def tile(self, box: Box) -> NDArray[Any] | None:
        """Return the overlay of ``box``; None where all of it is unexplored and shown black."""
        place = box.shift(self.box.start)
        codes = read_region(self._codes, place)
        if self.look.unexplored == "null" and self._distance.unexplored(codes).all():
            return None
        raw = read_region(self._raw, place)
        shape = (*raw.shape, 3) if self.look.colour else raw.shape
        values = np.empty(shape, dtype=self.look.dtype)
        for z in range(0, len(raw), _PLANES):  # distances as floats take four times the room
            part = slice(z, z + _PLANES)
            values[part] = self._mix(raw[part], self._distance.decode(codes[part]))
        return values

    def slab(self, box: Box) -> NDArray[Any]:
        """Return the overlay of ``box`` as a single file holds it."""
        values = self.tile(box)
        if values is None:
            shape = (*box.shape, 3) if self.look.colour else box.shape
            return np.zeros(shape, dtype=self.look.dtype)
        return avoid_powers_of_two(values) if self.look.settings.avoid_powers_of_two else values

    def explored(self) -> float:
        """Share of the map with a distance, from its coarsest level: somewhat too large."""
        last = len(self.map.levels) - 1
        coarse = read_region(self.map.array(last), Box.of_shape(self.map.levels[last].shape))
        return float(1 - self._distance.unexplored(coarse).mean())

    def _mix(self, raw: NDArray[Any], distance: NDArray[Any]) -> NDArray[Any]:
        look = self.look
        if look.colour:
            return rgb(raw, distance, look.settings, self.window, unexplored=look.unexplored)
        return overlay(
            raw,
            distance,
            look.settings,
            self.window,
            dtype=look.dtype,
            peak=look.peak,
            unexplored=look.unexplored,
        )


class _Distances:
    """What the numbers of a distance map mean."""

    def __init__(self, image: Image) -> None:
        array = image.array(0)
        self._name, self._path = np.dtype(array.dtype).name, image.path
        self._table: NDArray[np.float64] | None = None
        if self._name.startswith("float"):
            return
        attributes = dict(array.attrs)
        scale, fill = attributes.get("scale_factor"), attributes.get("_FillValue")
        if (
            self._name not in _LARGEST_CODE
            or not isinstance(scale, int | float)
            or not isinstance(fill, int | float)
        ):
            raise VolumeError(
                f"{image.path} stores {self._name} with scale_factor {scale!r} and _FillValue "
                f"{fill!r}: not a distance map"
            )
        table: NDArray[np.float64] = np.arange(np.iinfo(self._name).max + 1, dtype=float) * scale
        table[int(fill)] = np.nan
        self._table = table

    def check_reach(self, clip: float) -> None:
        """Refuse a clip beyond the map: no voxel is that far, so all of them would glow."""
        if self._table is None:
            return
        reach = float(f"{self._table[_LARGEST_CODE[self._name]]:.12g}")
        if clip > reach:
            raise UsageError(
                f"clip {clip:g} is farther than {self._path} reaches ({reach:g} voxels), so all of "
                f"the brain would glow: set clip={reach:g} or less"
            )

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Distances in voxels, NaN where nobody looked."""
        return codes if self._table is None else self._table[codes]

    def unexplored(self, codes: NDArray[Any]) -> NDArray[np.bool_]:
        """Where nobody looked."""
        absent: NDArray[np.bool_]
        absent = np.isnan(codes) if self._table is None else np.isnan(self._table)[codes]
        return absent


def _shared_level(brain: Image, distance: Image) -> int:
    """Level of the brain whose voxels are those of the distance map."""
    if (brain.kind, distance.kind) != ("brain", "distance"):
        raise VolumeError(
            f"{brain.path} is a {brain.kind} and {distance.path} a {distance.kind}: export wants "
            f"a brain, then its distance map"
        )
    mine = [*distance.frame.spacing_um, *distance.frame.origin_um]
    for level, frame in enumerate(brain.frames):
        theirs = [*frame.spacing_um, *frame.origin_um]
        if brain.levels[level].shape == distance.shape and np.allclose(mine, theirs, rtol=1e-6):
            return level
    raise VolumeError(
        f"{distance.path} has {distance.shape} voxels of {distance.frame.spacing_um} µm, which is "
        f"no level of {brain.path} ({brain.shape} of {brain.frame.spacing_um} µm): the overlay "
        f"would be shifted. Give the brain it was made from"
    )


def intensity_window(brain: Image, settings: OverlaySettings) -> Window:
    """Return the intensities at the chosen percentiles of the whole brain.

    Raises
    ------
    VolumeError
        If the brain has no intensity statistics.
    """
    low = _percentile(brain, settings.low_percentile)
    high = _percentile(brain, settings.high_percentile)
    if high <= low:  # nearly all voxels are equal: show what stands out from them
        high = max(int(np.flatnonzero(brain.histogram)[-1]), low + 1)
        logger.warning("nearly all of %s is %d: showing %d to %d", brain.path, low, low, high)
    return Window(low, high)


def _percentile(brain: Image, percent: float) -> int:
    known = brain.attributes.get("intensity", {}).get("percentiles", {})
    if f"{percent:g}" in known:
        return int(known[f"{percent:g}"])
    below = np.cumsum(brain.histogram)
    return int(np.searchsorted(below, max(1, np.ceil(below[-1] * percent / 100))))


def _crop(box: Box | None, image: Image) -> Box:
    whole = Box.of_shape(image.shape)
    if box is None:
        return whole
    if not box.size or not whole.contains(box):
        raise UsageError(f"the crop {box.start} to {box.stop} is not inside {image.shape} voxels")
    return box


def _digest(image: Image) -> str:
    """Fingerprint of an image's notes and, if it was made by a walk, of the walk's journal."""
    notes = json.dumps(image.attributes, sort_keys=True, default=str).encode()
    digest = hashlib.sha256(notes)
    for block in _journal(image.path):
        digest.update(block)
    return digest.hexdigest()


def _journal(output: Address) -> Iterator[bytes]:
    """Yield what a walk recorded, as it is stored; nothing if no walk made the image."""
    if isinstance(output, ObjectPath):
        yield from Journal.read(output / "run").blocks() if Journal.exists(output / "run") else ()
    elif (file := output / "run" / "journal.jsonl").is_file():
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                yield block
