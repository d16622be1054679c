"""What ImageJ and tifffile say about a stack: its axes, and how long a voxel is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from neuroconn.errors import VolumeError
from neuroconn.volume.ome import MICROMETRES

Spacing: TypeAlias = tuple[float, float, float]

_SYMBOLS = {
    "pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4,
    "dm": 1e5, "m": 1e6, "in": 25400.0, "thou": 25.4, "\\u00B5m": 1.0, "\\u00b5m": 1.0,
}  # fmt: skip
_WORDS = {"micron": 1.0, "microns": 1.0, "inches": 25400.0, **MICROMETRES}
_WORDS |= {f"{name}s": factor for name, factor in MICROMETRES.items()}
_NO_LENGTH = ("pixel", "pixels", "voxel", "voxels", "reference frame")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file declares about its planes."""

    origin: str
    """Who says so, for people: ``ImageJ stack``, ``OME-TIFF``, ``TIFF stack``."""
    sizes: tuple[int, int, int] | None = None
    """Time points, z planes, channels; None where the file declares nothing."""
    order: str = "TZC"
    """The same axes as they lie in the file, slowest first."""
    spacing_um: Spacing | None = None
    notes: tuple[str, ...] = ()


def imagej(description: str, per_pixel: Sequence[float], where: str) -> Declared:
    """Read an ImageJ description.

    Parameters
    ----------
    description : str
        Text that begins with ``ImageJ=``.
    per_pixel : (y, x)
        Pixel size that the resolution tags give, in ImageJ's unit; NaN if they do not.
    where : str
        The file, for messages.

    Raises
    ------
    VolumeError
        If the numbers of planes contradict each other.
    """
    facts = {
        key.strip(): value.strip()
        for key, equals, value in (line.partition("=") for line in description.splitlines())
        if equals
    }
    t, z, c, images = (_count(facts, k, where) for k in ("frames", "slices", "channels", "images"))
    if z == 1 and "slices" not in facts and images % (t * c) == 0:
        z = images // (t * c)
    if "images" in facts and t * z * c != images:
        raise VolumeError(
            f"{where} contradicts itself: ImageJ says {images} images and {t} frames x {z} slices "
            f"x {c} channels. Export it again"
        )
    units = [facts.get(key, facts.get("unit", "")) for key in ("zunit", "yunit", "unit")]
    size = [_number(facts.get("spacing")), *per_pixel]
    spacing, notes = spacing_claim("ImageJ", size, units)
    if facts.get("cf") == "0" and _number(facts.get("c0", "0")) != 0:
        shown = f"{facts.get('c1', '1')} x value + {facts['c0']}"
        notes = (*notes, f"ImageJ shows {shown}; the values are kept as they are stored")
    return Declared("ImageJ stack", (t, z, c), "TZC", spacing, notes)


@lru_cache(maxsize=64)
def shaped(description: str, plane: int, where: str) -> Declared | None:
    """Read what tifffile itself writes, ``{"shape": [...], "axes": ...}``; None if it is not that.

    Parameters
    ----------
    description : str
        The text.
    plane : int
        Voxels and samples of a plane.
    where : str
        The file, for messages.

    Raises
    ------
    VolumeError
        If there are several axes beside y and x and no names to tell them apart.
    """
    try:
        facts = json.loads(description)
        shape, axes = [int(n) for n in facts["shape"]], facts.get("axes", "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if min(shape, default=0) < 1 or math.prod(shape) % plane:
        return None
    planes, leading = math.prod(shape) // plane, list[int]()
    while shape and math.prod(leading) < planes:
        leading.append(shape.pop(0))
    if math.prod(leading) != planes:
        return None
    names = axes[: len(leading)] if isinstance(axes, str) and len(axes) >= len(leading) else ""
    long = {names[k] if names else f"#{k}": n for k, n in enumerate(leading) if n > 1}
    if len(long) > 1 and not set(long) <= set("TZC"):
        raise VolumeError(
            f"{where} has shape {(*leading, *shape)}; a brain is one grey (z, y, x) volume, and "
            "nothing says which axis is z. Save it as OME-TIFF or ImageJ stack"
        )
    if not set(long) <= set("TC"):
        long = {name if name in "TC" else "Z": n for name, n in long.items()}
    order = "".join(long) + "".join(a for a in "TZC" if a not in long)
    t, z, c = (long.get(axis, 1) for axis in "TZC")
    return Declared("TIFF stack", (t, z, c), order)


def resolution_note(per_pixel: Sequence[float], unit: int) -> tuple[str, ...]:
    """Say what resolution tags give; they know no z, and many programs write any number."""
    factor = {2: 25400.0, 3: 1e4}.get(unit)
    if factor is None or not all(math.isfinite(s) and s > 0 for s in per_pixel):
        return ()
    y, x = (round(s * factor, 6) for s in per_pixel)
    return (
        f"resolution tags give {y:g} x {x:g} µm a pixel in y and x and nothing in z: they are not "
        "used, state --spacing",
    )


def spacing_claim(
    who: str, size: Sequence[float], units: Sequence[str]
) -> tuple[Spacing | None, tuple[str, ...]]:
    """Return a spacing in micrometres if one is claimed, and what is wrong with it if anything.

    Parameters
    ----------
    who : str
        Who claims it.
    size : (z, y, x)
        Length of a voxel; NaN where nothing is said.
    units : (z, y, x)
        Names of units.

    Examples
    --------
    >>> spacing_claim("OME", (2, 400, 0.0005), ("µm", "nm", "mm"))[0]
    (2.0, 0.4, 0.5)
    >>> spacing_claim("ImageJ", (0, 1, 1), ("µm",) * 3)[0] is None
    True
    """
    said = {s for s in size if not math.isnan(s)}
    if not said or all(unit.lower() in _NO_LENGTH for unit in units):
        return None, ()
    if said == {1.0} and not any(units):  # what a writer puts who was told nothing
        return None, ()
    factors = [_factor(unit) for unit in units]
    um = [s * f for s, f in zip(size, factors, strict=True) if f is not None]
    if len(um) == 3 and all(math.isfinite(s) and s > 0 for s in um):
        return (um[0], um[1], um[2]), ()
    text = " x ".join(
        "?" if math.isnan(s) else f"{s:g} {u}".rstrip() for s, u in zip(size, units, strict=True)
    )
    return None, (
        f"{who} gives voxels of {text} (z, y, x), which is not a length on every axis: "
        "it is not used, state --spacing",
    )


def agreed(claims: Sequence[tuple[str, Spacing | None]]) -> tuple[Spacing | None, tuple[str, ...]]:
    """Return the spacing on which all who claim one agree; None and a note if they do not."""
    known = [(who, spacing) for who, spacing in claims if spacing is not None]
    if not known:
        return None, ()
    first = known[0][1]
    for who, spacing in known[1:]:
        if any(not math.isclose(a, b, rel_tol=0.01) for a, b in zip(first, spacing, strict=True)):
            return None, (
                f"{known[0][0]} says {_um(first)}, {who} says {_um(spacing)}: neither is used, "
                "state --spacing",
            )
    return first, ()


def _um(spacing: Spacing) -> str:
    return " x ".join(f"{s:g}" for s in spacing) + " µm (z, y, x)"


def _factor(unit: str) -> float | None:
    # Symbols mind their case (Mm is not mm), words do not.
    return _SYMBOLS.get(unit) or _WORDS.get(unit.lower())


def _count(facts: dict[str, str], key: str, where: str) -> int:
    text: Any = facts.get(key, "1")
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise VolumeError(f"{where} is damaged: ImageJ says {key}={text!r}, which is no number")
    return int(text)


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan
