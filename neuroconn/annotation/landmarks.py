"""Places that somebody marked, as Vaa3D keeps them: ``.marker`` and ``.apo`` files, in full.

Both count voxels of the image they were made in, which is the finest level of a TeraFly tree. In
memory places are (z, y, x) and 0-based. On disk they are rounded to 1/1000 voxel:

=========  ===========  ==========================================================
file       order        counts from
=========  ===========  ==========================================================
.marker    x, y, z      1
.apo       z, x, y      0, as Vaa3D's SWC does; whether TeraFly means 0 or 1 is not
                        settled, so ``apo_base=1`` reads and writes it the other way
=========  ===========  ==========================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from neuroconn.annotation.rows import Row, read_rows, write_lines
from neuroconn.errors import AnnotationError

ApoBase: TypeAlias = Literal[0, 1]
"""What the first voxel along an axis is called in an ``.apo``."""

MARKER_HEADER = "##x,y,z,radius,shape,name,comment, color_r,color_g,color_b"
APO_HEADER = (
    "##n,orderinfo,name,comment,z,x,y, pixmax,intensity,sdev,volsize,mass,,,, "
    "color_r,color_g,color_b"
)
RED = (255, 0, 0)


@dataclass(frozen=True, slots=True)
class Landmark:
    """One place; what a file does not hold has its default.

    Examples
    --------
    >>> Landmark((30, 20, 10), name="soma 1").position
    (30, 20, 10)
    """

    position: tuple[float, float, float]
    """Voxel (z, y, x), 0-based."""
    name: str = ""
    comment: str = ""
    color: tuple[int, int, int] = RED
    """Red, green, blue, 0 to 255."""
    radius: float = 0.0
    """Of a ``.marker``, in voxels."""
    shape: int = 1
    """Of a ``.marker``: how it is drawn."""
    order: str = ""
    """Of an ``.apo``: its ``orderinfo``."""
    pixmax: float = 0.0
    """Of an ``.apo``, and so are the rest: the brightest voxel."""
    intensity: float = 0.0
    """The mean."""
    deviation: float = 0.0
    """The standard deviation."""
    volume: float = 50.0
    """``volsize``, from which Vaa3D takes how large to draw the point."""
    mass: float = 0.0


def read_landmarks(path: str | Path, *, apo_base: ApoBase = 0) -> tuple[Landmark, ...]:
    """Read a ``.marker`` or an ``.apo``, or the points of an ``.ano``, with all they say.

    Parameters
    ----------
    path : str or Path
        The suffix says the format.
    apo_base : 0 or 1, optional
        What an ``.apo`` calls the first voxel.

    Returns
    -------
    tuple of Landmark
        In the order of the file; it may hold none.

    Raises
    ------
    AnnotationError
        If the file cannot be read; the message names line and field.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".ano":
        from neuroconn.annotation.ano import linked

        points = linked(path).points
        return () if points is None else read_landmarks(points, apo_base=apo_base)
    if suffix == ".marker":
        return tuple(_of_marker(row) for row in marker_rows(path))
    if suffix == ".apo":
        return tuple(_of_apo(row, apo_base) for row in read_rows(path))
    raise AnnotationError(f"{path}: landmarks are in .marker, .apo and .ano files, not {suffix!r}")


def write_landmarks(
    path: str | Path, landmarks: Sequence[Landmark], *, apo_base: ApoBase = 0
) -> None:
    """Write a ``.marker`` or an ``.apo``, byte for byte as Vaa3D does.

    Raises
    ------
    AnnotationError
        If the suffix is another.
    ValueError
        If a text holds a comma or a line break, which would shift its columns, or a number is not
        finite.
    """
    path = Path(path)
    for landmark in landmarks:
        _check(landmark)
    suffix = path.suffix.lower()
    if suffix == ".marker":
        write_lines(path, [MARKER_HEADER, *map(_marker_row, landmarks)])
    elif suffix == ".apo":
        rows = [_apo_row(n, mark, apo_base) for n, mark in enumerate(landmarks, 1)]
        write_lines(path, [APO_HEADER, *rows])
    else:
        raise AnnotationError(f"{path}: landmarks are written as .marker or .apo, not {suffix!r}")


def marker_rows(path: Path) -> list[Row]:
    """Rows of a ``.marker``; Vaa3D takes a line that begins with x for a header."""
    return [row for row in read_rows(path) if not row.fields[0].lower().startswith("x")]


def marker_place(row: Row) -> tuple[float, float, float]:
    """Voxel (z, y, x) of a row of a ``.marker``."""
    return _voxel(row, (2, 1, 0), 1)


def apo_place(row: Row, base: ApoBase) -> tuple[float, float, float]:
    """Voxel (z, y, x) of a row of an ``.apo``."""
    return _voxel(row, (4, 6, 5), base)


def _voxel(row: Row, columns: Sequence[int], base: int) -> tuple[float, float, float]:
    # Taking 1 away leaves an error in the last bit, and 0.3 would come back as 0.30000000000000004.
    z, y, x = (round(v - base, 9) if base else v for v in row.numbers(columns))
    return z, y, x


def _of_marker(row: Row) -> Landmark:
    return Landmark(
        marker_place(row),
        name=row.text(5),
        comment=row.text(6),
        color=_color(row, 7),
        radius=row.number(3, "radius", 0.0),
        shape=round(row.number(4, "shape", 1.0)),
    )


def _of_apo(row: Row, base: ApoBase) -> Landmark:
    names = ("pixmax", "intensity", "sdev", "volsize", "mass")
    defaults = (0.0, 0.0, 0.0, 50.0, 0.0)
    values = [
        row.number(column, name, default)
        for column, name, default in zip(range(7, 12), names, defaults, strict=True)
    ]
    place = apo_place(row, base)
    return Landmark(place, row.text(2), row.text(3), _color(row, 15), 0.0, 1, row.text(1), *values)


def _color(row: Row, first: int) -> tuple[int, int, int]:
    r, g, b = (round(row.number(first + k, "colour", RED[k])) for k in range(3))
    if not 0 <= min(r, g, b) <= max(r, g, b) <= 255:
        raise AnnotationError(
            f"{row.path}, line {row.line}: colour {r},{g},{b} is not from 0 to 255; a comma in a "
            "name or comment shifts the columns"
        )
    return r, g, b


def _marker_row(mark: Landmark) -> str:
    z, y, x = (v + 1 for v in mark.position)
    return (
        f"{x:5.3f}, {y:5.3f}, {z:5.3f}, {mark.radius:5.3f}, {mark.shape}, {mark.name}, "
        f"{mark.comment}, {_joined(mark.color)}"
    )


def _apo_row(number: int, mark: Landmark, base: int) -> str:
    z, y, x = (v + base for v in mark.position)
    values = (mark.pixmax, mark.intensity, mark.deviation, mark.volume, mark.mass)
    return (
        f"{number}, {mark.order}, {mark.name},{mark.comment}, {z:5.3f},{x:5.3f},{y:5.3f}, "
        f"{','.join(f'{v:5.3f}' for v in values)},,,,{_joined(mark.color)}"
    )


def _joined(color: tuple[int, int, int]) -> str:
    return ",".join(map(str, color))


def _check(mark: Landmark) -> None:
    numbers = (*mark.position, mark.radius, mark.pixmax, mark.intensity, mark.deviation)
    if not np.isfinite([*numbers, mark.volume, mark.mass]).all():
        raise ValueError(f"points must be finite, got {mark}")
    for text in (mark.name, mark.comment, mark.order):
        if set(text) & set(",\r\n"):
            raise ValueError(f"a name cannot hold a comma or a line break, got {text!r}")
