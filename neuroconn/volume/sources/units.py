"""Lengths as files write them, in micrometres."""

from __future__ import annotations

import math
from collections.abc import Sequence

from neuroconn.volume.ome import MICROMETRES

_SYMBOLS = {
    "pm": 1e-6, "å": 1e-4, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0,
    "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25400.0,
    "micron": 1.0, "microns": 1.0, "micrometre": 1.0, "micrometres": 1.0, "micrometers": 1.0,
    "nanometre": 1e-3, "nanometres": 1e-3, "nanometers": 1e-3,
    "millimetre": 1e3, "millimetres": 1e3, "millimeters": 1e3, "metre": 1e6,
}  # fmt: skip


def micrometres_per(unit: object) -> float | None:
    """Return how many micrometres a unit of length has; None for what is no known one.

    Examples
    --------
    >>> micrometres_per("nm"), micrometres_per(" Micrometer "), micrometres_per("pixel")
    (0.001, 1.0, None)
    """
    if not isinstance(unit, str):
        return None
    name = unit.strip().lower()
    return MICROMETRES.get(name, _SYMBOLS.get(name))


def lengths_um(
    lengths: Sequence[float], units: Sequence[object]
) -> tuple[float, float, float] | None:
    """Return three lengths in micrometres; None unless each is positive and has a known unit.

    Examples
    --------
    >>> lengths_um((2, 0.5, 500), ("um", "um", "nm"))
    (2.0, 0.5, 0.5)
    >>> lengths_um((2, 0, 0.5), ("um", "um", "um")) is None
    True
    """
    if len(lengths) != 3 or len(units) != 3:
        return None
    factors = [micrometres_per(unit) for unit in units]
    um = [float(n) * f for n, f in zip(lengths, factors, strict=True) if f is not None]
    if len(um) != 3 or not all(math.isfinite(n) and n > 0 for n in um):
        return None
    return um[0], um[1], um[2]


def at_level(
    spacing_um: tuple[float, float, float] | None,
    origin_um: tuple[float, float, float] | None,
    factors: tuple[float, float, float],
) -> tuple[tuple[float, float, float] | None, tuple[float, float, float]]:
    """Return spacing and origin of a downsampled level from those of full resolution.

    A voxel of the level covers ``factors`` voxels, and its centre is the centre of those.

    Examples
    --------
    >>> at_level((2.0, 1.0, 1.0), (0.0, 5.0, 0.0), (1.0, 2.0, 4.0))
    ((2.0, 2.0, 4.0), (0.0, 5.5, 1.5))
    """
    z, y, x = origin_um or (0.0, 0.0, 0.0)
    if spacing_um is None:
        return None, (z, y, x)
    shift = [(f - 1) / 2 * s for f, s in zip(factors, spacing_um, strict=True)]
    large = [f * s for f, s in zip(factors, spacing_um, strict=True)]
    return (large[0], large[1], large[2]), (z + shift[0], y + shift[1], x + shift[2])
