"""Lists of points: Vaa3D's markers and apo files, CSV, and the nodes of an SWC.

All are voxels of level 0, (z, y, x) and 0-based in memory. On disk a ``.marker`` counts from 1 and
goes x, y, z; an ``.apo`` goes z, x, y and is taken to count from 0, as Vaa3D's SWC does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroconn.annotation.swc import read_swc
from neuroconn.errors import AnnotationError

_MARKER_HEADER = "##x,y,z,radius,shape,name,comment, color_r,color_g,color_b"
_APO_HEADER = (
    "##n,orderinfo,name,comment,z,x,y, pixmax,intensity,sdev,volsize,mass,,,, "
    "color_r,color_g,color_b"
)
_RED = (255, 0, 0)


def read_points(path: str | Path) -> NDArray[np.float64]:
    """Read points from a ``.marker``, ``.apo``, ``.csv``, ``.swc`` or ``.eswc`` file.

    Parameters
    ----------
    path : str or Path
        The suffix says the format. A CSV has a header that names ``z``, ``y`` and ``x`` in any
        order; other columns are ignored. Of an SWC the nodes are taken, as voxels.

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
    suffix = path.suffix.lower()
    if suffix in {".swc", ".eswc"}:
        return read_swc(path).positions
    readers: dict[str, Callable[[Path], list[list[float]]]] = {
        ".marker": _read_marker,
        ".apo": _read_apo,
        ".csv": _read_csv,
    }
    if suffix not in readers:
        raise AnnotationError(
            f"{path}: points are read from .marker, .apo, .csv, .swc and .eswc, not {suffix!r}"
        )
    points = readers[suffix](path)
    if not points:
        raise AnnotationError(f"{path} holds no points")
    return np.asarray(points, dtype=np.float64)


def write_marker(
    path: str | Path,
    points: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    color: tuple[int, int, int] = _RED,
) -> None:
    """Write (n, 3) voxels (z, y, x) as a Vaa3D ``.marker`` file, rounded to 1/1000 voxel.

    Raises
    ------
    ValueError
        If a name holds a comma or a line break, which would shift its columns.
    """
    voxels, labels = _checked(points, names)
    red, green, blue = color
    rows = [
        f"{x + 1:5.3f}, {y + 1:5.3f}, {z + 1:5.3f}, {0:5.3f}, 1, {name}, , {red},{green},{blue}"
        for (z, y, x), name in zip(voxels, labels, strict=True)
    ]
    _write(Path(path), _MARKER_HEADER, rows)


def write_apo(
    path: str | Path,
    points: ArrayLike,
    *,
    names: Sequence[str] | None = None,
    color: tuple[int, int, int] = _RED,
    volume: float = 50.0,
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

    Raises
    ------
    ValueError
        If a name holds a comma or a line break, which would shift its columns.
    """
    voxels, labels = _checked(points, names)
    red, green, blue = color
    rows = [
        f"{n}, , {name},, {z:5.3f},{x:5.3f},{y:5.3f}, "
        f"{0:5.3f},{0:5.3f},{0:5.3f},{volume:5.3f},{0:5.3f},,,,{red},{green},{blue}"
        for n, ((z, y, x), name) in enumerate(zip(voxels, labels, strict=True), 1)
    ]
    _write(Path(path), _APO_HEADER, rows)


def _read_marker(path: Path) -> list[list[float]]:
    rows = [row for row in _rows(path) if not row[1][0].lower().startswith("x")]
    return [[v - 1 for v in _pick(path, row, (2, 1, 0))] for row in rows]


def _read_apo(path: Path) -> list[list[float]]:
    return [_pick(path, row, (4, 6, 5)) for row in _rows(path)]


def _read_csv(path: Path) -> list[list[float]]:
    # Where a comma marks decimals, spreadsheets separate fields by semicolons.
    rows = _rows(path, ",;\t")
    header = [name.strip("\"'").lower() for name in rows[0][1]] if rows else []
    if not {"z", "y", "x"} <= set(header):
        raise AnnotationError(
            f"{path} needs a header that names z, y and x, in voxels: "
            f"without it nobody knows the order. Its first line is {','.join(header)!r}"
        )
    columns = [header.index(axis) for axis in "zyx"]
    return [_pick(path, row, columns) for row in rows[1:]]


def _rows(path: Path, separators: str = ",") -> list[tuple[int, list[str]]]:
    """Line number and fields of every line that is no comment.

    They are separated by the first of ``separators`` that the first line holds.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror or error}") from None
    numbered = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1)
    lines = [(n, line) for n, line in numbered if line.strip() and line.lstrip()[0] != "#"]
    first = lines[0][1] if lines else ""
    between = next((s for s in separators if s in first), separators[0])
    return [(n, [word.strip() for word in line.split(between)]) for n, line in lines]


def _pick(path: Path, row: tuple[int, list[str]], columns: Sequence[int]) -> list[float]:
    line, words = row
    if len(words) <= max(columns):
        raise AnnotationError(
            f"{path}, line {line}: {len(words)} fields where at least {max(columns) + 1} "
            "separated by commas are needed"
        )
    values = []
    for column in columns:
        try:
            value = float(words[column])
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise AnnotationError(
                f"{path}, line {line}, field {column + 1}: {words[column]!r} is no coordinate"
            )
        values.append(value)
    return values


def _checked(
    points: ArrayLike, names: Sequence[str] | None
) -> tuple[list[list[float]], Sequence[str]]:
    voxels = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    labels = [""] * len(voxels) if names is None else names
    if len(labels) != len(voxels):
        raise ValueError(f"{len(voxels)} points need as many names, got {len(labels)}")
    if not np.isfinite(voxels).all():
        raise ValueError("points must be finite")
    for name in labels:
        if set(name) & set(",\r\n"):
            raise ValueError(f"a name cannot hold a comma or a line break, got {name!r}")
    return voxels.tolist(), labels


def _write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8", newline="\n")
