"""Other ways to lay a tracing over a brain: what to try when it does not fit.

SWC says neither its unit nor its axes, so the usual mistakes are few: µm for voxels, an axis
counted from the far side, columns in another order, an image that was halved before it was traced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations

from neuroconn.annotation.forest import Forest
from neuroconn.annotation.placement import (
    INSIDE_AT_LEAST,
    Units,
    inside,
    place,
)
from neuroconn.geometry import ZYX, Frame

_FLIPS = ("", "y", "z", "x", "zy", "yx", "zx", "zyx")
_SCALES = (2.0, 4.0, 8.0, 0.5, 0.25, 0.125)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One other way to read the same file."""

    advice: str
    """What to set, such as ``y_flip`` or ``units: um``."""
    forest: Forest
    """The nodes as they would lie, in voxels."""


def alternatives(
    raw: Forest, *, units: Units, flip: str, axes: str, frame: Frame, shape: ZYX
) -> Iterator[Alternative]:
    """Lay the nodes of a file over a brain in every way but the one given.

    Parameters
    ----------
    raw : Forest
        As in the file.
    units, flip, axes
        How it is laid now; see `read_forest`.
    frame : Frame
        Of the brain's level 0.
    shape : (z, y, x) ints
        Of the brain's level 0.

    Yields
    ------
    Alternative
        Only those that leave enough nodes inside, the likeliest first.
    """
    ways = _ways(units, flip, axes)
    for words, (other_units, other_flip, other_axes), scale in ways:
        forest = place(
            raw, units=other_units, frame=frame, shape=shape, flip=other_flip, axes=other_axes
        )
        if scale != 1:
            forest = forest.transform(scale, (0.5 * (scale - 1),) * 3)
        if inside(forest.positions, shape).mean() >= INSIDE_AT_LEAST:
            yield Alternative(words, forest)


def _ways(
    units: Units, flip: str, axes: str
) -> Iterator[tuple[str, tuple[Units, str, str], float]]:
    others: list[Units] = [u for u in ("voxel", "um") if u != units]
    orders = ["".join(order) for order in permutations("xyz") if "".join(order) != axes]
    for other in _FLIPS[1:]:
        yield _says(flip=_toggled(flip, other)), (units, _toggled(flip, other), axes), 1.0
    for unit in others:
        for other in _FLIPS:
            toggled = _toggled(flip, other)
            yield _says(unit, toggled if other else None), (unit, toggled, axes), 1.0
    for order in orders:
        for other in _FLIPS:
            toggled = _toggled(flip, other)
            yield _says(flip=toggled if other else None, axes=order), (units, toggled, order), 1.0
    for scale in _SCALES:
        words = f"coordinates {scale:g} times as large, as in an image of another voxel size"
        yield words, (units, flip, axes), scale


def _says(units: Units | None = None, flip: str | None = None, axes: str | None = None) -> str:
    said = [
        f"{name}: {value}"
        for name, value in (("units", units), ("axes", axes), ("flip", flip))
        if value is not None
    ]
    return " and ".join(part if part != "flip: " else "no flip" for part in said)


def _toggled(flip: str, other: Iterable[str]) -> str:
    return "".join(axis for axis in "zyx" if (axis in flip) != (axis in set(other)))
