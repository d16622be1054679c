"""A brain against what it was converted from, voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.convert_band import with_band
from neuroconn.volume.convert_plan import ConvertPlan, choose_shapes
from neuroconn.volume.convert_run import processors, read_pieces
from neuroconn.volume.engines import chosen_engine, open_array
from neuroconn.volume.regions import read_region
from neuroconn.volume.sources import MappedSource, Mapping, Source, open_source
from neuroconn.volume.sources.damage import BadPlace, salvage
from neuroconn.volume.store import Image, open_image


def verify_against(
    path: str | Path,
    source: str | Path,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Compare level 0 of a brain with its source; the source is read whole.

    Channel, array and mapping are those of the conversion. Places that the conversion filled with
    zeros because the source was damaged are left out.

    Parameters
    ----------
    path : path
        A brain that neuroconn converted.
    source : path or URL
        What it was converted from, or a copy.
    threads : int, optional
        Pieces compared at once.
    progress : callable, optional
        Called with the bands compared so far and their number.

    Returns
    -------
    list of str
        One line for each piece that differs.

    Raises
    ------
    VolumeError
        If there is no such brain or source, or they are of different shapes.
    """
    image, workers = open_image(path), threads or processors()
    opened = _opened(image, source)
    if opened.shape != image.shape:
        raise VolumeError(
            f"{source} has {opened.shape} voxels and {path} {image.shape}: not the same volume"
        )
    filled = [Box(tuple(start), tuple(stop)) for start, stop, _ in image.attributes.get("bad", [])]
    array = open_array(image, 0, chosen_engine("auto"))

    def compare(piece: Box) -> list[str]:
        wanted, bad = salvage(opened, piece)
        differs = read_region(array, piece) != wanted
        for left_out in [*filled, *(Box(place.start, place.stop) for place in bad)]:
            shared = left_out.clip(piece)
            if shared.size:
                differs[shared.within(piece)] = False
        return [*_named(bad, filled), *_difference(piece, differs)]

    inner, outer = choose_shapes(image.shape, 64, None)
    whole = ConvertPlan(image.levels, inner, outer, outer, opened.dtype.itemsize, "max")
    plan = with_band(whole, opened, workers, None)
    bands = list(plan.order())
    problems: list[str] = []
    with ThreadPoolExecutor(workers) as pool:
        for done, band in enumerate(bands, 1):
            pieces = read_pieces(plan.bands(0).core(band), opened.unit, workers)
            problems += [line for lines in pool.map(compare, pieces) for line in lines]
            if progress is not None:
                progress(done, len(bands))
    return problems


def _opened(image: Image, source: str | Path) -> Source:
    conversion = image.attributes.get("conversion") if image.ours else None
    if not isinstance(conversion, dict):
        raise VolumeError(f"{image.path} was not made by neuroconn convert: nothing to compare")
    told = conversion.get("mapping") or {}
    limits = told.get("range")
    mapping = Mapping(
        told.get("offset"), None if limits is None else tuple(limits), conversion["dtype"]
    )
    chosen = {key: conversion.get(key) for key in ("channel", "dataset")}
    return MappedSource(open_source(source, **chosen), mapping)


def _named(bad: list[BadPlace], filled: list[Box]) -> list[str]:
    """Damage of the source that the conversion did not know."""
    new = [place for place in bad if Box(place.start, place.stop) not in filled]
    return [f"the source is damaged at {place}" for place in new]


def _difference(piece: Box, differs: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[str]:
    count = int(np.count_nonzero(differs))
    if not count:
        return []
    first = np.unravel_index(int(np.argmax(differs)), differs.shape)
    z, y, x = (int(a) + int(b) for a, b in zip(piece.start, first, strict=True))
    return [f"{count} voxels of {piece} differ from the source, the first at {z}, {y}, {x}"]
