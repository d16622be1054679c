"""Write a brain and its distance map as one volume that Vaa3D shows and traces.

Voxels flow brain + distance map -> overlay -> tiles (or one file), box by box; nothing scales with
the volume.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import StorageError, UsageError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.vaa3d.overlay import (
    SIGNED_LIMIT,
    Unexplored,
    Window,
    avoid_powers_of_two,
    overlay,
    rgb,
)
from neuroconn.vaa3d.partition import VIEW, Partition
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.single import write_single
from neuroconn.vaa3d.terafly import LevelSummary, write_terafly
from neuroconn.vaa3d.tiles import Compression, check_compression
from neuroconn.volume import Image, open_image, read_region

logger = logging.getLogger(__name__)

Format = Literal["terafly", "v3draw", "tiff"]
Depth = Literal["uint8", "uint16"]

_CODES = {"uint8": 250, "uint16": 65_000}
"""The code of the largest distance; the codes above it are not distances."""
_USUAL_RATIO = {"none": 1.0, "lzw": 0.74, "zlib": 0.65}
"""Size of noisy tiles, relative to plain ones."""
_PLANES = 16


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    output: Path
    format: Format
    dtype: str
    shape: ZYX
    peak: int
    """The brightest value a voxel can have."""
    window: Window
    """The raw intensities shown as black and white."""
    settings: OverlaySettings
    levels: tuple[LevelSummary, ...]
    """Of a TeraFly tree; a single file has one line."""
    written: int
    """Tiles (planes of a single file) this run made; 0 if the output was finished before."""
    kept: int
    seconds: float

    @property
    def threshold(self) -> int:
        """Tracing threshold, of 255, that no background without a neurite reaches."""
        return math.ceil(255 / (1 + self.settings.factor)) if self.settings.factor else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            **{k: v for k, v in asdict(self).items() if k != "settings"},
            "output": str(self.output),
            "settings": self.settings.model_dump(),
            "threshold": self.threshold,
        }

    def __str__(self) -> str:
        head = f"{'level':<22}{'voxels (z, y, x)':>22}{'um (z, y, x)':>22}{'tiles':>8}{'empty':>8}"
        lines = [head]
        for level in self.levels:
            voxels = " x ".join(map(str, level.shape))
            um = " x ".join(f"{s:.4g}" for s in level.spacing_um)
            lines.append(f"{level.folder:<22}{voxels:>22}{um:>22}{level.tiles:>8}{level.empty:>8}")
        done = f"wrote {self.output}" if self.written else f"{self.output} was complete"
        lines.append(
            f"{done}: {self.dtype}, brightest {self.peak}, raw {self.window.low:g} to "
            f"{self.window.high:g}; {self.written} written, {self.kept} kept, {self.seconds:.1f} s"
        )
        if self.threshold:
            lines.append(f"tracing: start from a threshold of {self.threshold} (of 255)")
        return "\n".join(lines)


def export(
    brain: str | Path,
    distance: str | Path,
    output: str | Path,
    *,
    format: Format = "terafly",
    settings: OverlaySettings | None = None,
    dtype: Depth = "uint16",
    unexplored: Unexplored = "raw",
    box: Box | None = None,
    tile: int = 256,
    partition: Partition = "fixed",
    compression: Compression = "zlib",
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write the overlay of a brain and its distance map for Vaa3D.

    Run it again with the same arguments to continue an interrupted TeraFly tree, or to begin an
    interrupted file again; a finished output is left as it is.

    Parameters
    ----------
    brain, distance : path
        OME-Zarr images on one grid. A map of a coarser level of the brain is exported there.
    output : path
        A folder for ``terafly``, else a file.
    format : "terafly", "v3draw" or "tiff"
        A tree of tiles for volumes of any size, or a single file for crops.
    settings : OverlaySettings, optional
        How the two are mixed; the default is the preset ``clip-6-power-2``.
    dtype : "uint16" or "uint8"
        Single 16-bit files end at 32767: Vaa3D reads them as signed. Colour is always uint8.
    unexplored : "raw" or "null"
        Show the image alone where nobody looked, or black. Black tiles take no space.
    box : Box, optional
        Export a crop, in voxels of the distance map.
    tile : int, optional
        Tile side in voxels.
    partition : "fixed" or "balanced"
        See :class:`TeraflyOptions`.
    compression : "zlib", "lzw" or "none"
        Of tiles and TIFF files.
    threads : int, optional
        Tiles made at once, each with some three tiles of memory; up to 4 by default.
    progress : callable, optional
        Called with (tiles or planes done, in all).

    Returns
    -------
    ExportReport
        Its text is a table of levels.

    Raises
    ------
    VolumeError
        If an image cannot be read, or the two do not share a grid.
    UsageError
        If settings do not fit the map, or a TeraFly tree is to be in colour.
    OutputError
        If the output is taken.
    StorageError
        If the disk is, or will be, full.
    """
    began = time.monotonic()
    chosen = settings or OverlaySettings()
    if format not in ("terafly", "v3draw", "tiff"):
        raise UsageError(f"format must be terafly, v3draw or tiff, got {format!r}")
    check_compression(compression)
    source = _Source(Path(brain), Path(distance), chosen, format, dtype, unexplored, box)
    target = Path(output)
    _check_space(source, target, compression)
    if format == "terafly":
        options = TeraflyOptions(
            tile,
            partition,
            compression,
            chosen.downsample,
            chosen.isotropic,
            chosen.avoid_powers_of_two and dtype == "uint16",
        )
        levels, written, kept = _terafly(source, target, options, threads, progress)
    else:
        levels, written, kept = _single(source, target, format, compression, progress)
    return ExportReport(
        output=target,
        format=format,
        dtype=source.dtype,
        shape=source.box.shape,
        peak=source.peak,
        window=source.window,
        settings=chosen,
        levels=levels,
        written=written,
        kept=kept,
        seconds=time.monotonic() - began,
    )


class _Source:
    """The two images on one grid, and the overlay of any box of them."""

    def __init__(
        self,
        brain: Path,
        distance: Path,
        settings: OverlaySettings,
        format: Format,
        dtype: Depth,
        unexplored: Unexplored,
        box: Box | None,
    ) -> None:
        self.settings, self.unexplored = settings, unexplored
        self.colour = settings.colour == "rgb"
        if self.colour and format == "terafly":
            raise UsageError(
                "one RGB tile crashes TeraFly: use colour: grey, or --format v3draw or tiff"
            )
        self.dtype: Depth = "uint8" if self.colour else dtype
        if self.dtype not in ("uint8", "uint16"):
            raise UsageError(f"dtype must be uint8 or uint16, got {dtype!r}")
        # TeraFly reads tiles as they are; single 16-bit files are read as signed.
        top = SIGNED_LIMIT if format != "terafly" else 65535
        self.peak = 255 if self.dtype == "uint8" else top
        self.brain, self.map = open_image(brain), open_image(distance)
        level = _shared_level(self.brain, self.map)
        self.raw, self.codes = self.brain.array(level), self.map.array(0)
        self.frame, self.known = self.map.frame, self.map.spacing_known
        self.window = _window(self.brain, settings)
        self.table = _distances(self.map, settings)
        self.box = _crop(box, self.map.shape)

    @property
    def origin_um(self) -> tuple[float, float, float]:
        """Where the exported volume begins; TeraFly knows no negative places."""
        z, y, x = self.frame.to_um([self.box.start])[0]
        if min(z, y, x) < 0:
            logger.warning("the origin %s um is negative: TeraFly counts from 0", (z, y, x))
            return 0.0, 0.0, 0.0
        return float(z), float(y), float(x)

    def identity(self) -> dict[str, Any]:
        """Return what the voxels of an export depend on."""
        return {
            "brain": _digest(self.brain),
            "distance": _digest(self.map),
            "box": [list(self.box.start), list(self.box.stop)],
            "window": [self.window.low, self.window.high],
            "settings": self.settings.model_dump(),
            "unexplored": self.unexplored,
            "peak": self.peak,
        }

    def tile(self, box: Box) -> NDArray[Any] | None:
        """Overlay of a box of the export; None where all of it is unexplored and black."""
        place = box.shift(self.box.start)
        codes = read_region(self.codes, place)
        if self.unexplored == "null" and np.isnan(self._decode(codes)).all():
            return None
        raw = read_region(self.raw, place)
        shape = (*raw.shape, 3) if self.colour else raw.shape
        values = np.empty(shape, dtype=self.dtype)
        for z in range(0, len(raw), _PLANES):
            part = slice(z, z + _PLANES)
            values[part] = self._mix(raw[part], self._decode(codes[part]))
        return values

    def slab(self, box: Box) -> NDArray[Any]:
        """Overlay of a box of the export, as a single file holds it."""
        values = self.tile(box)
        if values is None:
            return np.zeros((*box.shape, 3) if self.colour else box.shape, dtype=self.dtype)
        return avoid_powers_of_two(values) if self.settings.avoid_powers_of_two else values

    def _mix(self, raw: NDArray[Any], distance: NDArray[Any]) -> NDArray[Any]:
        if self.colour:
            return rgb(raw, distance, self.settings, self.window, unexplored=self.unexplored)
        return overlay(
            raw,
            distance,
            self.settings,
            self.window,
            dtype=self.dtype,
            peak=self.peak,
            unexplored=self.unexplored,
        )

    def _decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        return codes if self.table is None else self.table[codes]

    def explored(self) -> float:
        """Share of the volume with a distance, from the coarsest level; at most too large."""
        coarse = read_region(
            self.map.array(len(self.map.levels) - 1), Box.of_shape(self.map.levels[-1].shape)
        )
        return float(1 - np.isnan(self._decode(coarse)).mean())


def _terafly(
    source: _Source,
    output: Path,
    options: TeraflyOptions,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[tuple[LevelSummary, ...], int, int]:
    shape = source.box.shape
    if max(shape) <= VIEW:
        logger.warning("%s voxels fit into one view; TeraFly wants a side above %d", shape, VIEW)
    plan = TeraflyPlan(
        shape, source.dtype, source.frame.spacing_um, source.origin_um, options=options
    )
    report = write_terafly(
        source.tile,
        output,
        plan,
        identity=source.identity(),
        threads=threads or min(4, len(os.sched_getaffinity(0))),
        progress=progress,
    )
    return report.levels, report.written, report.kept


def _single(
    source: _Source,
    output: Path,
    format: Literal["v3draw", "tiff"],
    compression: Compression,
    progress: Callable[[int, int], None] | None,
) -> tuple[tuple[LevelSummary, ...], int, int]:
    shape = source.box.shape
    spacing = source.frame.spacing_um
    place = {"spacing_um": list(spacing), "origin_um": [*source.frame.to_um(source.box.start)]}
    wrote = write_single(
        source.slab,
        output,
        format=format,
        shape=shape,
        dtype=source.dtype,
        colour=source.colour,
        compression=compression,
        spacing_um=spacing if source.known else None,
        identity={"format": format, "dtype": source.dtype, **place, **source.identity()},
        depth=source.codes.chunks[0],
        progress=progress,
    )
    summary = LevelSummary(output.name, shape, spacing, 1, 0)
    return (summary,), shape[0] if wrote else 0, 0 if wrote else shape[0]


def _shared_level(brain: Image, distance: Image) -> int:
    """Level of the brain whose voxels are those of the distance map."""
    if brain.kind != "brain" or distance.kind != "distance":
        raise VolumeError(
            f"{brain.path} is a {brain.kind} and {distance.path} a {distance.kind}: export wants "
            f"a brain, then its distance map"
        )
    for level, frame in enumerate(brain.frames):
        if brain.levels[level].shape == distance.shape and np.allclose(
            [*frame.spacing_um, *frame.origin_um],
            [*distance.frame.spacing_um, *distance.frame.origin_um],
            rtol=1e-6,
        ):
            return level
    raise VolumeError(
        f"{distance.path} has {distance.shape} voxels of {distance.frame.spacing_um} um, which is "
        f"no level of {brain.path} ({brain.shape} of {brain.frame.spacing_um} um): the overlay "
        f"would be shifted. Give the brain it was made from"
    )


def _window(brain: Image, settings: OverlaySettings) -> Window:
    """Return the intensities of the chosen percentiles of the whole brain."""
    counts = brain.histogram
    share = np.cumsum(counts) / counts.sum()
    low, high = (
        int(np.searchsorted(share, percent / 100))
        for percent in (settings.low_percentile, settings.high_percentile)
    )
    if high <= low:  # nearly all voxels are equal: show all that stands out from them
        high = max(int(np.flatnonzero(counts)[-1]), low + 1)
    return Window(low, high)


def _distances(image: Image, settings: OverlaySettings) -> NDArray[np.float64] | None:
    """Return the distance of every code, NaN for unexplored; None if voxels are distances.

    Raises
    ------
    VolumeError
        If the map does not say what its codes mean.
    UsageError
        If the overlay reaches farther than the map: everything would glow.
    """
    array = image.array(0)
    name = np.dtype(array.dtype).name
    if name.startswith("float"):
        return None
    attributes = dict(array.attrs)
    scale, fill = attributes.get("scale_factor"), attributes.get("_FillValue")
    if name not in _CODES or not isinstance(scale, int | float) or not isinstance(fill, int):
        raise VolumeError(
            f"{image.path} stores {name} with scale_factor {scale!r} and _FillValue {fill!r}: "
            f"not a distance map"
        )
    farthest = float(f"{scale * _CODES[name]:.12g}")
    if settings.factor and settings.clip > farthest:
        raise UsageError(
            f"clip {settings.clip:g} is farther than {image.path} reaches ({farthest:g} voxels), "
            f"so all of the brain would glow: set clip: {farthest:g} or less"
        )
    table = np.arange(np.iinfo(name).max + 1) * float(scale)
    table[fill] = np.nan
    return table


def _crop(box: Box | None, shape: ZYX) -> Box:
    whole = Box.of_shape(shape)
    if box is None:
        return whole
    if not box.size or not whole.contains(box):
        raise UsageError(f"the crop {box.start} to {box.stop} leaves the volume of {shape} voxels")
    return box


def _digest(image: Image) -> str:
    """Fingerprint of an image's notes and, for a walked map, of its journal."""
    notes = json.dumps(image.attributes, sort_keys=True, default=str).encode()
    digest = hashlib.sha256(notes)
    journal = image.path / "run" / "journal.jsonl"
    if journal.is_file():
        with journal.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _check_space(source: _Source, output: Path, compression: Compression) -> None:
    """Refuse a disk that will not hold the export; what an earlier run wrote counts as room."""
    voxels = math.prod(source.box.shape) * (3 if source.colour else 1)
    size = voxels * np.dtype(source.dtype).itemsize * 8 / 7 * _USUAL_RATIO[compression]
    if source.unexplored == "null":
        size *= source.explored()
    parts = output.rglob("*") if output.is_dir() else iter([output])
    there = sum(p.stat().st_size for p in parts if p.is_file())
    place = next(p for p in (output, *output.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free + there < size:
        raise StorageError(
            f"{place} has {free / 1e9:.3f} GB free and the export needs about "
            f"{(size - there) / 1e9:.3f} GB: free some space, choose uint8 or another disk"
        )
