"""Where the walk starts: voxels, µm, files, bright places, or everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroconn.errors import UsageError
from neuroconn.geometry import ZYX, Box, ChunkGrid, Frame
from neuroconn.inference.bright import bright_chunks
from neuroconn.volume.axes import VolumeArray
from neuroconn.volume.regions import read_region
from neuroconn.volume.store import Image

_AROUND = 2  # a neighbourhood of 5 x 5 x 5 voxels
_LIT = 90.0  # its brightest tenth: a thin neurite fills no more
_BACKGROUND = 95.0
_CHECKED_AT_MOST = 200


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
    percentiles: Mapping[str, float] | None = None,
    limit: int = 256,
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
        A ``.swc``, ``.marker``, ``.apo`` or ``.csv`` file, bright places, or every chunk.
    units : {"voxel", "um"}, optional
        What the coordinates of a file count in.
    percentiles : mapping of str to float, optional
        Grey values by percentile of the whole brain, ``{"50": 112, ...}``; given, a seed on
        background earns a warning.
    limit : int, optional
        Chunks that ``auto`` may choose.

    Raises
    ------
    UsageError
        If there is no seed, or one lies outside the volume; the message names it and the shape. If
        seeds are in µm and the brain's spacing is unknown.
    AnnotationError
        If a file is broken.
    """
    shape, frame = image.levels[0].shape, image.frame
    if not image.spacing_known and (units == "um" or any(_number(w)[1] for p in points for w in p)):
        raise UsageError(
            f"seeds are in µm, but nobody said how long a voxel of {image.path} is: give them in "
            "voxels, or convert the brain again with --spacing Z Y X"
        )
    voxels = parse_points(points, frame)
    require_inside(voxels, shape, "--seed")
    warnings: list[str] = []
    if source == "all":
        return Seeds(grid)
    chunks = list(voxel_chunks(voxels, grid, image.levels[level].factor))
    if source == "auto":
        chunks += bright_chunks(image, grid, level, limit=limit)
    elif source is not None:
        found, warnings = read_seed_file(Path(source), frame, shape, units=units)
        chunks += voxel_chunks(found, grid, image.levels[level].factor)
        voxels = np.concatenate([voxels, found])
    if not chunks:
        raise UsageError("the walk needs a seed: --seed Z Y X, or --seeds FILE, auto or all")
    if percentiles:
        warnings += background_warnings(image.array(0), voxels, percentiles)
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
            number, is_um = _number(word)
            spacing, origin = frame.spacing_um[axis], frame.origin_um[axis]
            row[axis] = (number - origin) / spacing if is_um else number
    return voxels


def read_seed_file(
    path: Path, frame: Frame, shape: ZYX, *, units: Literal["voxel", "um"] = "voxel"
) -> tuple[NDArray[np.float64], list[str]]:
    """Read the seeds of a file.

    A tracing may leave a cropped brain: of an SWC, nodes outside are left out with a warning.

    Returns
    -------
    (voxels, warnings)
        (n, 3) voxels of level 0, all inside, and lines for the user.

    Raises
    ------
    AnnotationError
        If the file is missing or broken.
    UsageError
        If a point, or every node of an SWC, lies outside the volume.
    """
    from neuroconn.annotation.points import read_points

    voxels = read_points(path)
    if units == "um":
        voxels = frame.to_voxels(voxels)
    kept = voxels[_inside(voxels, shape)]
    if path.suffix.lower() not in {".swc", ".eswc"} or not len(kept):
        require_inside(voxels, shape, str(path))
    lost = len(voxels) - len(kept)
    if not lost:
        return voxels, []
    return kept, [
        f"{path}: {lost} of {len(voxels)} nodes lie outside the volume of shape {shape} and are "
        "no seeds; check units and brain if that is unexpected"
    ]


def require_inside(voxels: NDArray[np.float64], shape: ZYX, source: str) -> None:
    """Refuse seeds that lie in no voxel of the volume.

    Raises
    ------
    UsageError
        Naming the first such seed and the shape.
    """
    outside = voxels[~_inside(voxels, shape)]
    if len(outside):
        z, y, x = outside[0]
        raise UsageError(
            f"{source}: seed ({z:g}, {y:g}, {x:g}) lies outside the volume of shape {shape} "
            "(z, y, x, voxels of level 0). Check the order of the axes, and whether it is µm "
            "(then write 120um)"
        )


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


def background_warnings(
    array: VolumeArray, voxels: NDArray[np.float64], percentiles: Mapping[str, float]
) -> list[str]:
    """Warn of seeds whose surroundings are as dark as the background.

    The brightest tenth of 5 x 5 x 5 voxels is compared with the whole brain. Its maximum would
    say nothing: of 125 voxels of noise one is always bright.

    Parameters
    ----------
    array : zarr array, shape (z, y, x)
        Level 0.
    voxels : (n, 3) float array
        Seeds inside the volume; the first 200 are looked at.
    percentiles : mapping of str to float
        Grey value by percentile of the whole brain.
    """
    table = sorted((float(p), float(v)) for p, v in percentiles.items())
    ranks, values = [p for p, _ in table], [v for _, v in table]
    found = []
    for z, y, x in np.floor(voxels[:_CHECKED_AT_MOST] + 0.5).astype(int).tolist():
        box = Box((z, y, x), (z + 1, y + 1, x + 1)).grow(_AROUND)
        lit = float(np.percentile(read_region(array, box.clip(_bounds(array))), _LIT))
        rank = float(np.interp(lit, values, ranks))
        if rank < _BACKGROUND:
            found.append(
                f"seed ({z}, {y}, {x}) looks like background: around it the grey value is "
                f"{lit:g}, percentile {rank:.0f} of the brain; the walk may end where it starts"
            )
    return found


def _number(word: str) -> tuple[float, bool]:
    text = word.strip()
    bare = text.removesuffix("um").removesuffix("µm").removesuffix("μm")
    try:
        number = float(bare)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise UsageError(f"{word!r} is no coordinate; write voxels (120) or micrometres (300um)")
    return number, bare != text


def _inside(voxels: NDArray[np.float64], shape: ZYX) -> NDArray[np.bool_]:
    """Whether each position rounds to a voxel of the volume."""
    whole = np.floor(voxels + 0.5)
    inside: NDArray[np.bool_] = np.all((whole >= 0) & (whole < shape), axis=1)
    return inside


def _bounds(array: VolumeArray) -> Box:
    z, y, x = array.shape
    return Box.of_shape((z, y, x))
