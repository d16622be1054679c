"""Lists of points: where markers, apo files, CSV and the nodes of tracings lie, and nothing else.

All are voxels of level 0, (z, y, x) and 0-based in memory; `neuroconn.annotation.landmarks` says
how they are counted on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroconn.annotation.ano import linked
from neuroconn.annotation.landmarks import (
    RED,
    ApoBase,
    Landmark,
    apo_place,
    marker_place,
    marker_rows,
    write_landmarks,
)
from neuroconn.annotation.rows import read_rows
from neuroconn.annotation.swc import read_swc
from neuroconn.errors import AnnotationError

Place = tuple[float, float, float]


def read_points(path: str | Path, *, apo_base: ApoBase = 0) -> NDArray[np.float64]:
    """Read points from a ``.marker``, ``.apo``, ``.csv``, ``.swc``, ``.eswc`` or ``.ano`` file.

    Parameters
    ----------
    path : str or Path
        The suffix says the format. A CSV has a header that names ``z``, ``y`` and ``x`` in any
        order; other columns are ignored. Of an SWC the nodes are taken, as voxels; of an ``.ano``,
        a TeraFly annotation set, its points and then the nodes of its tracing.
    apo_base : 0 or 1, optional
        What an ``.apo`` calls the first voxel along an axis.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Voxels (z, y, x), 0-based.

    Raises
    ------
    AnnotationError
        If the file cannot be read or holds no point; the message names line and value.
    """
    path = Path(path)
    marks, nodes = read_marks_and_nodes(path, apo_base=apo_base)
    points = np.concatenate([marks, nodes])
    if not len(points):
        raise AnnotationError(f"{path} holds no points")
    return points


def read_marks_and_nodes(
    path: Path, *, apo_base: ApoBase = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read what `read_points` does, apart: places that were marked, and nodes of tracings.

    Returns
    -------
    (marks, nodes)
        (n, 3) and (m, 3) voxels; either may be empty.
    """
    suffix = path.suffix.lower()
    if suffix in (".swc", ".eswc"):
        return np.empty((0, 3)), read_swc(path).positions
    if suffix == ".ano":
        set_ = linked(path)
        marks = [] if set_.points is None else _read_apo(set_.points, apo_base)
        nodes = np.empty((0, 3))
        if set_.tracing is not None:
            nodes = read_swc(set_.tracing, empty=True).positions
        return _array(marks), nodes
    readers: dict[str, Callable[[Path], list[Place]]] = {
        ".marker": lambda p: [marker_place(row) for row in marker_rows(p)],
        ".apo": lambda p: _read_apo(p, apo_base),
        ".csv": _read_csv,
    }
    if suffix not in readers:
        raise AnnotationError(
            f"{path}: points are read from .marker, .apo, .csv, .swc, .eswc and .ano, "
            f"not {suffix!r}"
        )
    return _array(readers[suffix](path)), np.empty((0, 3))


def write_marker(
    path: str | Path,
    points: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    color: tuple[int, int, int] = RED,
) -> None:
    """Write (n, 3) voxels (z, y, x) as a Vaa3D ``.marker`` file, rounded to 1/1000 voxel.

    Raises
    ------
    ValueError
        If a name holds a comma or a line break, which would shift its columns.
    """
    write_landmarks(_called(path, ".marker"), _landmarks(points, names, color, 0.0))


def write_apo(
    path: str | Path,
    points: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    color: tuple[int, int, int] = RED,
    volume: float = 50.0,
    apo_base: ApoBase = 0,
) -> None:
    """Write (n, 3) voxels (z, y, x) as a Vaa3D ``.apo`` point cloud, rounded to 1/1000 voxel.

    Parameters
    ----------
    path : str or Path
        Where to write; overwritten if it is there.
    points : array_like, shape (n, 3)
        Voxels (z, y, x), 0-based.
    names : sequence of str, optional
        One for each point.
    color : (red, green, blue) ints, optional
        0 to 255.
    volume : float, optional
        ``volsize``, from which Vaa3D takes how large to draw the point.
    apo_base : 0 or 1, optional
        What the file calls the first voxel along an axis.

    Raises
    ------
    ValueError
        If a name holds a comma or a line break, which would shift its columns.
    """
    marks = _landmarks(points, names, color, volume)
    write_landmarks(_called(path, ".apo"), marks, apo_base=apo_base)


def _read_apo(path: Path, base: ApoBase) -> list[Place]:
    return [apo_place(row, base) for row in read_rows(path)]


def _read_csv(path: Path) -> list[Place]:
    # Where a comma marks decimals, spreadsheets separate fields by semicolons.
    rows = read_rows(path, ",;\t")
    header = [name.strip("\"'").lower() for name in rows[0].fields] if rows else []
    if not {"z", "y", "x"} <= set(header):
        raise AnnotationError(
            f"{path} needs a header that names z, y and x, in voxels: "
            f"without it nobody knows the order. Its first line is {','.join(header)!r}"
        )
    columns = [header.index(axis) for axis in "zyx"]
    return [_triple(row.numbers(columns)) for row in rows[1:]]


def _landmarks(
    points: ArrayLike,
    names: Sequence[str] | None,
    color: tuple[int, int, int],
    volume: float,
) -> list[Landmark]:
    voxels = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    labels = [""] * len(voxels) if names is None else names
    if len(labels) != len(voxels):
        raise ValueError(f"{len(voxels)} points need as many names, got {len(labels)}")
    return [
        Landmark(_triple(voxel), name, color=color, volume=volume)
        for voxel, name in zip(voxels.tolist(), labels, strict=True)
    ]


def _called(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise AnnotationError(f"{path}: Vaa3D knows the format by its name: call it *{suffix}")
    return path


def _triple(values: Sequence[float]) -> Place:
    z, y, x = values
    return z, y, x


def _array(places: Sequence[Place]) -> NDArray[np.float64]:
    return np.asarray(places, dtype=np.float64).reshape(-1, 3)
