"""Voxel size and origin of a level whose own table does not tell them."""

from __future__ import annotations

import math
from pathlib import Path

from neuroconn.geometry import ZYX
from neuroconn.vaa3d.conformance.table import RawHeader, RawTable, TableFault
from neuroconn.vaa3d.mdata import TileTable

Floats = tuple[float, float, float]
SURE = 0.005
"""How far, as a part of itself, a voxel size read from names may be uncertain."""
_HEADER = 68


def usable_spacing(header: RawHeader) -> Floats | None:
    """Return the voxel size of a header, if it is one."""
    fine = all(math.isfinite(v) and v > 0 for v in header.spacing_um)
    return header.spacing_um if fine else None


def usable_origin(header: RawHeader) -> Floats | None:
    """Return the origin of a header, if it is one."""
    return header.origin_um if all(map(math.isfinite, header.origin_um)) else None


def neighbour_frame(folder: Path, shape: ZYX) -> tuple[Floats, Floats, str] | None:
    """Return voxel size and origin by the level nearest in size, and that level's name.

    Parameters
    ----------
    folder : Path
        The level in question.
    shape : (z, y, x) ints
        Its voxels.
    """
    near: list[tuple[float, Floats, Floats, str]] = []
    for other in sorted(folder.parent.glob("RES*")):
        header = _header(other) if other.name != folder.name else None
        factor = header and factor_between(shape, header.shape)
        spacing, origin = (header and f(header) for f in (usable_spacing, usable_origin))
        if spacing and origin and factor:
            z, y, x = (v * f for v, f in zip(spacing, factor, strict=True))
            near.append((abs(math.log2(math.prod(factor))), (z, y, x), origin, other.name))
    return min(near)[1:] if near else None


def _header(level: Path) -> RawHeader | None:
    try:
        with (level / "mdata.bin").open("rb") as file:
            return RawTable(file.read(_HEADER)).header
    except (OSError, TableFault):
        return None


def factor_between(here: ZYX, there: ZYX) -> Floats | None:
    """Return by how much voxels here are larger than there: powers of two, or nothing is known.

    Examples
    --------
    >>> factor_between((5, 75, 105), (5, 300, 421)), factor_between((10, 300, 421), (10, 75, 105))
    ((1.0, 4.0, 4.0), (1.0, 0.25, 0.25))
    >>> factor_between((5, 75, 105), (5, 330, 421)) is None
    True
    """
    factors = []
    for n, m in zip(here, there, strict=True):
        fine, coarse = max(n, m), min(n, m)
        steps = [k for k in range(32) if fine >> k == coarse]
        if not steps:
            return None
        factors.append(float(2 ** steps[0]) if m > n else 1.0 / 2 ** steps[0])
    return factors[0], factors[1], factors[2]


def frame_of_names(table: TileTable) -> tuple[Floats | None, Floats | None]:
    """Read voxel size and origin from the numbers in names, as far as these tell them."""
    rows, first = table.rows, table.rows[0][0]
    try:
        places = [
            [(b.start, int(Path(str(b.file)).stem.split("_")[-1])) for b in first.blocks if b.file],
            [(row[0].start[0], int(row[0].folder.split("/")[0])) for row in rows],
            [(c.start[1], int(c.folder.split("_")[-1])) for c in rows[0]],
        ]
    except ValueError:
        return None, None
    if not all(places):
        return None, None
    z, y, x = (size_from_names(one, step) for one, step in zip(places, (1, 10, 10), strict=True))
    origin = places[0][0][1] / 10, places[1][0][1] / 10, places[2][0][1] / 10
    return (None if z is None or y is None or x is None else (z, y, x)), origin


def size_from_names(places: list[tuple[int, int]], step: int) -> float | None:
    """Return the roundest voxel size that all names of an axis agree with.

    Parameters
    ----------
    places : list of (int, int)
        First voxel of each tile, and the number in its name, in tenths of a micrometre.
    step : int
        What numbers are rounded to.

    Returns
    -------
    float or None
        In µm; None where names leave it more than half a per cent of doubt.

    Examples
    --------
    >>> size_from_names([(0, 0), (256, 900), (51200, 179200)], step=10)
    0.35
    >>> size_from_names([(0, 0), (256, 900)], step=10) is None
    True
    """
    (voxel, number), *others = places
    bounds = [
        ((n - number - step) / 10 / (v - voxel), (n - number + step) / 10 / (v - voxel))
        for v, n in others
        if v > voxel
    ]
    if not bounds:
        return None
    low, high = max(a for a, _ in bounds), min(b for _, b in bounds)
    if low <= 0 or high < low or high - low > SURE * high:
        return None
    middle = (low + high) / 2
    for digits in range(1, 8):
        size = float(f"{middle:.{digits}g}")
        if low <= size <= high:
            return size
    return middle
