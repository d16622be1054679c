"""Where the walk starts: voxels, µm, files, bright places, or everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroconn.annotation import ApoBase
from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, ChunkGrid, Frame
from neuroconn.inference.seeds.bright import bright_chunks
from neuroconn.inference.seeds.checks import background_warnings
from neuroconn.inference.seeds.files import SeedFile, read_seed_file, require_inside
from neuroconn.inference.seeds.words import parse_coordinate, unknown_spacing
from neuroconn.volume.store import Image

AUTO_LIMIT = 512
"""Chunks that ``auto`` may choose: each costs one inference, and a wide frontier feeds the GPUs."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Chunks to start from."""

    chunks: Iterable[ZYX]
    """Without repeats; the grid itself where every chunk is a seed."""
    warnings: tuple[str, ...] = ()
    """One line each, for the user."""


def find_seeds(
    image: Image,
    grid: ChunkGrid,
    *,
    level: int = 0,
    points: Sequence[Sequence[str]] = (),
    source: str | Path | None = None,
    units: Literal["voxel", "um"] = "voxel",
    export: str | Path | None = None,
    apo_base: ApoBase = 0,
    percentiles: Mapping[str, float] | None = None,
    limit: int = AUTO_LIMIT,
    within: NDArray[np.bool_] | None = None,
) -> Seeds:
    """Turn what the user gave into chunks.

    Parameters
    ----------
    image : Image
        The brain.
    grid : ChunkGrid
        Chunks of the level that is inferred.
    level : int, optional
        That level.
    points : sequence of (z, y, x) words, optional
        Voxels of level 0, or µm where a number ends in ``um`` or ``µm``.
    source : path or {"auto", "all"}, optional
        A ``.swc``, ``.eswc``, ``.ano``, ``.marker``, ``.apo`` or ``.csv`` file, bright places, or
        every chunk.
    units : {"voxel", "um"}, optional
        What the coordinates of a file count in.
    export, apo_base
        As for `SeedFile`.
    percentiles : mapping of str to float, optional
        Grey values by percentile of the whole brain, ``{"50": 112, ...}``; given, a seed on
        background earns a warning.
    limit : int, optional
        Chunks that ``auto`` may choose.
    within : (z, y, x) bool array over the grid, optional
        Chunks that ``auto`` may choose from.

    Raises
    ------
    UsageError
        If there is no seed, or one lies outside the volume; the message names it and the shape. If
        seeds are in µm and the brain's spacing is unknown.
    AnnotationError
        If a file is broken.
    """
    frame = image.frame
    in_um = units == "um" or any(parse_coordinate(word)[1] for p in points for word in p)
    if in_um and not image.spacing_known:
        raise UsageError(unknown_spacing("a seed", image.path))
    voxels = parse_points(points, frame)
    require_inside(voxels, image, "--seed", in_um=in_um)
    warnings: list[str] = []
    if source == "all":
        return Seeds(grid)
    chunks = list(voxel_chunks(voxels, grid, image.levels[level].factor))
    if source == "auto":
        chunks += bright_chunks(image, grid, level, limit=limit, inside=within)
    elif source is not None:
        file = SeedFile(Path(source), units, None if export is None else Path(export), apo_base)
        found, warnings = read_seed_file(file, image)
        chunks += voxel_chunks(found, grid, image.levels[level].factor)
        voxels = np.concatenate([voxels, found])
    if not chunks:
        raise UsageError("the walk needs a seed: --seed Z Y X, or --seeds FILE, auto or all")
    if percentiles:
        known = frame if image.spacing_known else None
        warnings += background_warnings(image.array(0), voxels, percentiles, known, in_um=in_um)
    return Seeds(tuple(dict.fromkeys(chunks)), tuple(warnings))


def parse_points(points: Sequence[Sequence[str]], frame: Frame) -> NDArray[np.float64]:
    """Read (z, y, x) triples of words as voxels.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Voxels of the level of ``frame``.

    Raises
    ------
    UsageError
        If a word is no finite number, or a point does not have three.

    Examples
    --------
    >>> parse_points([("10", "20um", "3.5")], Frame((1.0, 2.0, 2.0)))
    array([[10. , 10. ,  3.5]])
    """
    voxels = np.empty((len(points), 3))
    for row, words in zip(voxels, points, strict=True):
        if len(words) != 3:
            raise UsageError(f"a seed has three coordinates Z Y X, got {' '.join(words)!r}")
        for axis, word in enumerate(words):
            number, is_um = parse_coordinate(word)
            spacing, origin = frame.spacing_um[axis], frame.origin_um[axis]
            row[axis] = (number - origin) / spacing if is_um else number
    return voxels


def voxel_chunks(voxels: ArrayLike, grid: ChunkGrid, factor: ZYX = (1, 1, 1)) -> Iterable[ZYX]:
    """Chunks that own (n, 3) voxels of level 0, each once, in the order of the voxels.

    Parameters
    ----------
    voxels : array_like, shape (n, 3)
        May be fractional; integers are voxel centres. They must lie in the volume.
    grid : ChunkGrid
        Of the level that is inferred.
    factor : (z, y, x) ints, optional
        Voxels of level 0 per voxel of that level.

    Examples
    --------
    >>> list(voxel_chunks([[0, 0, 63.4], [0, 0, 63.6]], ChunkGrid((64, 64, 128), (64, 64, 64))))
    [(0, 0, 0), (0, 0, 1)]
    """
    whole = np.floor(np.asarray(voxels, dtype=float).reshape(-1, 3) + 0.5).astype(np.int64)
    owners = whole // (np.asarray(factor) * grid.chunk)
    return dict.fromkeys((int(z), int(y), int(x)) for z, y, x in owners)
