"""Lay tracings over a brain: units, origin and the direction of y.

SWC says nothing of any of them, and archives differ: voxels, µm, and units of 25 µm all occur, as
do tracings whose y runs against the rows of the image. So the unit is always asked for, and a
forest that falls outside the volume is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroconn.annotation.ano import linked
from neuroconn.annotation.forest import Forest, concatenate
from neuroconn.annotation.swc import read_swc
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.geometry import ZYX, Frame

Units: TypeAlias = Literal["um", "voxel"] | float
"""Of an SWC: µm, voxels of level 0, or how many µm make one unit."""

TRACINGS = frozenset({".swc", ".eswc", ".ano"})
"""Suffixes of files that hold traced neurites."""

INSIDE_AT_LEAST = 0.95
"""Share of the nodes that must lie in the volume; tracings may leave a cropped brain."""


def read_forest(
    paths: str | Path | Iterable[str | Path],
    *,
    units: Units,
    frame: Frame,
    shape: ZYX | None = None,
    y_flip: bool = False,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    flip: str = "",
    axes: str = "xyz",
) -> Forest:
    """Read the SWC files of one brain into its voxels.

    Parameters
    ----------
    paths : path or paths
        SWC, ESWC or ANO files; a folder stands for those in it.
    units : {"um", "voxel"} or float
        What the files count in; a number is µm per SWC unit (25 for the CCF archives).
    frame : Frame
        Of the brain's level 0.
    shape : (z, y, x) ints, optional
        Of the brain's level 0. Given, nodes must lie inside.
    y_flip : bool, optional
        The files count y from the last row of the image: ``y' = height - 1 - y``.
    origin : (z, y, x) floats, optional
        Where the files' zero lies: in voxels if the files are, in µm otherwise.
    flip : str, optional
        Axes that the files count from the far side: ``"y"`` is ``y_flip``, ``"zy"`` is two.
    axes : str, optional
        Which axis each coordinate column counts; ``"zyx"`` says that the first one counts z.

    Returns
    -------
    Forest
        Fractional voxels of level 0, integers at voxel centres; radii as stored.

    Raises
    ------
    AnnotationError
        If a file is broken, or fewer than 95 % of the nodes lie inside the volume.
    UsageError
        If the units are no scale, or y is to be flipped in a volume of unknown height.

    Examples
    --------
    >>> Frame(spacing_um=(2.5, 1.3, 1.3)).to_voxels([[25.0, 0.0, 25.0]]).round(2)  # 25 µm a unit
    array([[10.  ,  0.  , 19.23]])
    """
    flips = "".join({*flip, *("y" if y_flip else "")})
    raw = read_files(paths)
    forest = place(raw, units=units, frame=frame, shape=shape, origin=origin, flip=flips, axes=axes)
    if shape is not None:
        require_inside(forest, shape)
    return forest


def read_files(paths: str | Path | Iterable[str | Path]) -> Forest:
    """Read SWC files, or the folders that hold them, as they are: nothing is moved."""
    return concatenate([read_swc(path) for path in swc_files(paths)])


def place(
    raw: Forest,
    *,
    units: Units,
    frame: Frame,
    shape: ZYX | None = None,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    flip: str = "",
    axes: str = "xyz",
) -> Forest:
    """Move the nodes of a file into the voxels of a brain; see `read_forest`."""
    if flip and shape is None:
        raise UsageError("y_flip needs the shape of the volume: y' = height - 1 - y")
    forest = reorder(raw, axes).transform(_scale(units), origin)
    if units != "voxel":
        forest = forest.to_voxels(frame)
    return forest if shape is None else flip_axes(forest, flip, shape)


def swc_files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the files meant.

    Files are taken as given, and folders for the tracings in them, sorted. An ``.ano``, TeraFly's
    annotation set, stands for the tracing that it names; in a folder that is counted once.

    Raises
    ------
    AnnotationError
        If a path does not exist, an ``.ano`` names no tracing, or nothing is found.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[Path] = []
    for path in map(Path, given):
        if not path.exists():
            raise AnnotationError(f"there is no annotation {path}")
        inside = _tracings_in(path) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise AnnotationError(f"the folder {path} holds no .swc, .eswc or .ano file")
        found += inside if path.is_dir() else [_tracing_of(path)]
    if not found:
        raise AnnotationError("no annotation is given: name at least one SWC file")
    return found


def _tracings_in(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in TRACINGS)
    plain = [p for p in files if p.suffix.lower() != ".ano"]
    known = {p.resolve() for p in plain}
    named = [linked(p).tracing for p in files if p.suffix.lower() == ".ano"]
    return plain + [p for p in named if p is not None and p.resolve() not in known]


def _tracing_of(path: Path) -> Path:
    if path.suffix.lower() != ".ano":
        return path
    tracing = linked(path).tracing
    if tracing is None:
        raise AnnotationError(f"{path} names no SWCFILE: it holds points, and no traced neurite")
    return tracing


def reorder(forest: Forest, axes: str) -> Forest:
    """Take the coordinate columns for other axes; ``"xyz"`` leaves them as they are.

    Examples
    --------
    >>> reorder(Forest([[1, 2, 3]], parents=[-1]), "zyx").positions  # x, y, z were 3, 2, 1
    array([[3., 2., 1.]])
    """
    if sorted(axes) != ["x", "y", "z"]:
        raise UsageError(f"axes name x, y and z once each, such as xyz or zyx, got {axes!r}")
    columns = [2 - axes.index(axis) for axis in "zyx"]
    return forest.at(forest.positions[:, columns])


def flip_axes(forest: Forest, flips: Iterable[str], shape: ZYX) -> Forest:
    """Count the axes named from the far side of a volume: ``v' = size - 1 - v``."""
    far = [axis in set(flips) for axis in "zyx"]
    scale = [-1.0 if flipped else 1.0 for flipped in far]
    origin = [n - 1.0 if flipped else 0.0 for n, flipped in zip(shape, far, strict=True)]
    return forest.transform(scale, origin) if any(far) else forest


def flip_y(forest: Forest, height: int) -> Forest:
    """Count y from the other side of an image of ``height`` rows: ``y' = height - 1 - y``."""
    return forest.transform((1.0, -1.0, 1.0), (0.0, height - 1.0, 0.0))


def inside(positions: ArrayLike, shape: ZYX) -> NDArray[np.bool_]:
    """Which of (n, 3) positions in voxels fall into a voxel of a volume of ``shape``."""
    voxels = np.asarray(positions, dtype=np.float64)
    within = (voxels >= -0.5) & (voxels < np.asarray(shape) - 0.5)
    return np.asarray(within.all(axis=1), dtype=np.bool_)


def require_inside(forest: Forest, shape: ZYX) -> float:
    """Share of the nodes inside the volume.

    Raises
    ------
    AnnotationError
        If it is below 95 %: the units, the origin or the brain are the wrong ones.
    """
    if not len(forest):
        return 1.0
    share = float(inside(forest.positions, shape).mean())
    if share < INSIDE_AT_LEAST:
        low, high = forest.positions.min(axis=0), forest.positions.max(axis=0)
        raise AnnotationError(
            f"only {share:.1%} of {len(forest)} nodes lie inside the volume of {shape} voxels "
            f"(z, y, x); they span {_voxel(low)} to {_voxel(high)}. "
            "Check the units, the origin and that this is the brain they were traced in"
        )
    return share


def _scale(units: Units) -> float:
    if units in ("um", "voxel"):
        return 1.0
    if isinstance(units, str) or not (np.isfinite(units) and units > 0):
        raise UsageError(
            f"units are 'um', 'voxel' or the µm in one SWC unit (a positive number), got {units!r}"
        )
    return float(units)


def _voxel(position: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{v:.0f}' for v in position)})"
