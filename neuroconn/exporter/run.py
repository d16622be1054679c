"""Brain + distance map -> overlay -> tiles or one file, box by box; nothing scales with volume."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuroconn.config.overlay import OverlaySettings
from neuroconn.errors import StorageError, UsageError
from neuroconn.exporter.pair import Depth, Look, Pair
from neuroconn.exporter.report import ExportReport, Format
from neuroconn.geometry import Box
from neuroconn.vaa3d.files import ABOUT
from neuroconn.vaa3d.making import PARTIAL
from neuroconn.vaa3d.overlay import SIGNED_LIMIT, Unexplored
from neuroconn.vaa3d.partition import VIEW, Partition
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.single import check_name, write_single
from neuroconn.vaa3d.terafly import IDENTITY, LevelSummary, TeraflyReport, write_terafly
from neuroconn.vaa3d.tiles import Compression, check_compression
from neuroconn.vaa3d.workers import Start, local
from neuroconn.volume.address import Address, address_of

if TYPE_CHECKING:
    from neuroconn.exporter.distributed import Client

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

USUAL_RATIO = {"none": 1.0, "lzw": 0.74, "zlib": 0.65}
"""Size of noisy tiles against plain ones."""
BEST_RATIO = {"none": 1.0, "lzw": 1 / 8, "zlib": 1 / 8}
"""The same for very dark ones."""


def export(
    brain: str | Address,
    distance: str | Address,
    output: str | Path,
    *,
    format: Format = "terafly",
    settings: OverlaySettings | None = None,
    dtype: Depth = "uint16",
    unexplored: Unexplored = "raw",
    box: Box | None = None,
    tile: int = 256,
    partition: Partition = "fixed",
    compression: Compression = "none",
    only_explored: bool = False,
    update: str | Path | None = None,
    threads: int | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
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
        See :class:`neuroconn.vaa3d.plan.TeraflyOptions`.
    compression : "zlib", "lzw" or "none"
        Of tiles and TIFF files.
    only_explored : bool, optional
        Leave out the tiles of a tree in which nobody looked anywhere; they show black.
    update : path, optional
        A finished tree of the same brain and settings, made of an earlier state of the map. Tiles
        under which the map is the same are linked from it, or copied where links cannot be; the
        result is, byte for byte, that of an export from the start.
    threads : int, optional
        Tiles made at once, each with some three tiles of memory; up to 4 by default.
    client : distributed.Client, optional
        Make the tiles of a tree on its workers, which must see all three folders.
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
    look = _look(settings or OverlaySettings(), format, dtype, unexplored, only_explored)
    if format != "terafly" and (update is not None or client is not None):
        raise UsageError(f"a {format} file is written whole: leave out --update and --scheduler")
    check_compression(compression)
    target = Path(output)
    if format != "terafly":
        check_name(target, format)
    pair = Pair(address_of(brain), address_of(distance), look, box)
    if not _is_finished(target) and update is None:
        _check_space(pair, target, compression)
    if format == "terafly":
        options = TeraflyOptions(
            tile=tile,
            partition=partition,
            compression=compression,
            downsample=look.settings.downsample,
            isotropic=look.settings.isotropic,
            avoid_powers_of_two=look.settings.avoid_powers_of_two and look.dtype == "uint16",
        )
        start = _workers(threads, client)
        old = None if update is None else Path(update)
        made = _write_tree(pair, target, options, start, old, progress)
    else:
        made = _write_file(pair, target, format, compression, progress)
    return ExportReport(
        output=target,
        format=format,
        dtype=look.dtype,
        shape=pair.box.shape,
        peak=look.peak,
        window=pair.window,
        settings=look.settings,
        levels=made.levels,
        written=made.written,
        kept=made.kept,
        reused=made.reused,
        seconds=time.monotonic() - began,
    )


def _look(
    settings: OverlaySettings, format: str, dtype: str, unexplored: str, only_explored: bool
) -> Look:
    if format not in ("terafly", "v3draw", "tiff"):
        raise UsageError(f"format must be terafly, v3draw or tiff, got {format!r}")
    if unexplored not in ("raw", "null"):
        raise UsageError(f"unexplored must be raw or null, got {unexplored!r}")
    if only_explored and format != "terafly":
        raise UsageError(f"a {format} file has no tiles to leave out; --unexplored null is black")
    colour = settings.colour == "rgb"
    if colour and format == "terafly":
        raise UsageError(
            "one RGB tile crashes TeraFly: choose another preset, or --format v3draw or tiff"
        )
    if colour or dtype == "uint8":
        return Look(settings, "uint8", 255, _unexplored(unexplored), only_explored)
    if dtype != "uint16":
        raise UsageError(f"dtype must be uint8 or uint16, got {dtype!r}: Vaa3D reads no other")
    # TeraFly takes tiles as they are; a file opened directly is read as signed.
    peak = 65535 if format == "terafly" else SIGNED_LIMIT
    return Look(settings, "uint16", peak, _unexplored(unexplored), only_explored)


def _unexplored(name: str) -> Unexplored:
    return "null" if name == "null" else "raw"


def _write_tree(
    pair: Pair,
    output: Path,
    options: TeraflyOptions,
    start: Start,
    update: Path | None,
    progress: Progress | None,
) -> TeraflyReport:
    shape, origin = pair.box.shape, pair.origin_um
    if max(shape) <= VIEW:
        logger.warning("%s voxels fit into one view; TeraFly wants a side above %d", shape, VIEW)
    if min(origin) < 0:
        logger.warning("TeraFly knows no negative places: %s µm becomes 0", origin)
        origin = (0.0, 0.0, 0.0)
    plan = TeraflyPlan(shape, pair.look.dtype, pair.map.frame.spacing_um, origin, options=options)
    return write_terafly(
        pair.tiles,
        output,
        plan,
        # Where the voxels truly lie, for what is marked on them.
        identity={**pair.identity(), "origin_um": pair.origin_um, ABOUT: pair.about()},
        workers=start,
        update=update,
        may_differ=("distance",),  # the stamps of tiles speak for it
        progress=progress,
    )


def _workers(threads: int | None, client: Client | None) -> Start:
    if client is None:
        return local(threads or min(4, len(os.sched_getaffinity(0))))
    from neuroconn.exporter.distributed import on

    return on(client)


def _write_file(
    pair: Pair,
    output: Path,
    format: Literal["v3draw", "tiff"],
    compression: Compression,
    progress: Progress | None,
) -> TeraflyReport:
    shape, spacing = pair.box.shape, pair.map.frame.spacing_um
    wrote = write_single(
        pair.slab,
        output,
        format=format,
        shape=shape,
        dtype=pair.look.dtype,
        colour=pair.look.colour,
        compression=compression,
        spacing_um=spacing if pair.map.spacing_known else None,
        origin_um=pair.origin_um,
        identity={
            "format": format,
            "dtype": pair.look.dtype,
            "spacing_um": spacing,
            "origin_um": pair.origin_um,
            **pair.identity(),
            ABOUT: pair.about(),
        },
        depth=pair.depth,
        start=pair.box.start,
        progress=progress,
    )
    level = LevelSummary(output.name, shape, spacing, 1, 0)
    return TeraflyReport((level,), shape[0] if wrote else 0, 0 if wrote else shape[0])


def _is_finished(output: Path) -> bool:
    """Whether nothing more will be written, if the output is ours."""
    if output.is_dir():
        return (output / IDENTITY).is_file() and not (output / PARTIAL).exists()
    return output.is_file()


def _check_space(pair: Pair, output: Path, compression: Compression) -> None:
    """Refuse a disk that cannot hold the export however well it compresses; warn if it may not."""
    voxels = math.prod(pair.box.shape) * (3 if pair.look.colour else 1)
    plain = voxels * np.dtype(pair.look.dtype).itemsize * 8 / 7  # levels: 1 + 1/8 + 1/64 ...
    if pair.look.unexplored == "null" or pair.look.only_explored:
        plain *= pair.explored()
    there = sum(p.stat().st_size for p in output.rglob("*") if p.is_file())
    place = next(p for p in (output, *output.absolute().parents) if p.exists())
    room = shutil.disk_usage(place).free + there
    least, usual = plain * BEST_RATIO[compression], plain * USUAL_RATIO[compression]
    if room < least:
        raise StorageError(
            f"{place} has room for {room / 1e9:.3f} GB and the export needs {least / 1e9:.3f} to "
            f"{usual / 1e9:.3f} GB: free some space, choose uint8, or another disk"
        )
    if room < usual:
        logger.warning(
            "%s has room for %.1f GB; of a noisy brain the export takes %.1f GB: it may fill up",
            place,
            room / 1e9,
            usual / 1e9,
        )
