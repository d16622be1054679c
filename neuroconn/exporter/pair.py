"""A brain and its distance map on one grid, and the overlay of any box of them."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn._version import __version__
from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import UsageError, VolumeError
from neuroconn.exporter.distances import Distances
from neuroconn.geometry import Box
from neuroconn.inference.journal.journal import Journal
from neuroconn.vaa3d.lookup import LookupTable
from neuroconn.vaa3d.making import TileSource
from neuroconn.vaa3d.overlay import Unexplored, Window, avoid_powers_of_two, formula, overlay, rgb
from neuroconn.volume import Image, open_image, read_region
from neuroconn.volume.address import Address, ObjectPath
from neuroconn.volume.engines import chosen_engine, open_array

logger = logging.getLogger(__name__)

Depth = Literal["uint8", "uint16"]

_PLANES = 16
_MOST_CODES = 256


@dataclass(frozen=True, slots=True)
class Look:
    """How voxels of an export are made."""

    settings: OverlaySettings
    dtype: Depth
    peak: int
    """The brightest value."""
    unexplored: Unexplored
    only_explored: bool = False
    """Whether tiles in which nobody looked anywhere are left out."""

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
        engine = chosen_engine("auto")
        self._raw = open_array(self.brain, _shared_level(self.brain, self.map), engine)
        self._codes = open_array(self.map, 0, engine)
        _check_unsigned(self.brain, np.dtype(self._raw.dtype))
        self._distance = Distances(self.map)
        if look.settings.factor:
            self._distance.check_reach(look.settings.clip)
        self.window = intensity_window(self.brain, look.settings)
        self.box = _crop(box, self.map)
        self._read = threading.local()
        self._table: LookupTable | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # Imported here: it imports this module.
        from neuroconn.exporter.elsewhere import PairElsewhere

        return PairElsewhere, (self.brain.path, self.map.path, self.look, self.box, self.token)

    @cached_property
    def token(self) -> str:
        """The identity as it was when first asked for; a journal is long to read for each task."""
        return json.dumps(self.identity(), sort_keys=True)

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
            "only_explored": self.look.only_explored,
            "peak": self.look.peak,
            "codes": self._distance.meaning(),
        }

    def about(self) -> dict[str, Any]:
        """Return how voxels were made and of what, for people, as JSON values."""
        look, model = self.look, self.map.attributes.get("model")
        return {
            "neuroconn": __version__,
            "formula": formula(look.settings, self.window, look.peak, look.unexplored),
            "brain": {"path": str(self.brain.path), "shape": list(self.brain.shape)},
            "distance": {"path": str(self.map.path), "model": model},
        }

    @property
    def tiles(self) -> TileSource:
        """Voxels of a tree."""
        keep = self.is_explored if self.look.only_explored else None
        return TileSource(self.tile, self.stamp, keep)

    def tile(self, box: Box) -> NDArray[Any] | None:
        """Return the overlay of ``box``; None where all of it is unexplored and shown black."""
        codes = self._codes_of(box)
        if self.look.unexplored == "null" and self._distance.unexplored(codes).all():
            return None
        shape = (*box.shape, 3) if self.look.colour else box.shape
        values = np.empty(shape, dtype=self.look.dtype)
        place = box.shift(self.box.start)
        for part in _slabs(place, self.depth):
            planes = part.within(place)[0]
            self._mix(read_region(self._raw, part), codes[planes], values[planes])
        return values

    def stamp(self, box: Box) -> int:
        """Return a digest of the distances of ``box``, 0 if there are none."""
        return self._distance.stamp(self._codes_of(box))

    def is_explored(self, box: Box) -> bool:
        """Whether there is a distance anywhere in ``box``."""
        return not self._distance.unexplored(self._codes_of(box)).all()

    def volumes(self, box: Box) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the brain in ``box``, and distances in voxels, NaN where nobody looked."""
        place = box.shift(self.box.start)
        codes = read_region(self._codes, place)
        return read_region(self._raw, place), self._distance.decode(codes)

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

    def _codes_of(self, box: Box) -> NDArray[Any]:
        """Read the map, unless this thread has just read this place."""
        place = box.shift(self.box.start)
        last: tuple[Box, NDArray[Any]] | None = getattr(self._read, "last", None)
        if last is None or not last[0].contains(place):
            last = self._read.last = (place, read_region(self._codes, place))
        return last[1][place.within(last[0])]

    def _mix(self, raw: NDArray[Any], codes: NDArray[Any], out: NDArray[Any]) -> None:
        """Write the overlay of a slab into ``out``."""
        if self._lookup is not None:
            self._lookup.into(raw, codes, out)
            return
        for z in range(0, len(raw), _PLANES):  # distances as floats take four times the room
            part = slice(z, z + _PLANES)
            out[part] = self._overlay(raw[part], self._distance.decode(codes[part]))

    @property
    def _lookup(self) -> LookupTable | None:
        """The overlay of each pair of codes, where there are few enough; made when first needed."""
        distances = self._distance.table
        if self.look.colour or distances is None or len(distances) > _MOST_CODES:
            return None
        with self._lock:
            if self._table is None:
                largest = int(np.iinfo(self._raw.dtype).max)
                self._table = LookupTable(self._overlay, self.window, distances, largest)
            return self._table

    def _overlay(self, raw: NDArray[Any], distance: NDArray[Any]) -> NDArray[Any]:
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


def _slabs(box: Box, depth: int) -> Iterator[Box]:
    """Cut a box between whole chunks, so that each is decoded once; thin chunks go together."""
    thick = -(-_PLANES // depth) * depth
    (z, *corner), (end, *_) = box.start, box.stop
    while z < end:
        stop = min((z // thick + 1) * thick, end)
        yield Box((z, corner[0], corner[1]), (stop, *box.stop[1:]))
        z = stop


def _check_unsigned(brain: Image, dtype: np.dtype[Any]) -> None:
    if dtype not in (np.uint8, np.uint16):
        raise VolumeError(
            f"{brain.path} holds {dtype}, and the overlay wants uint8 or uint16: convert it with "
            f"neuroconn convert (--range for real numbers, --offset for signed ones)"
        )


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
