"""Coordinates as people type them: ``120`` is a voxel, ``300um`` a distance."""

from __future__ import annotations

import math

from neuroconn.errors import UsageError
from neuroconn.geometry import Frame

_UNITS = ("um", "µm", "μm")


def parse_coordinate(word: str) -> tuple[float, bool]:
    """Read a number, and whether it is in µm.

    Raises
    ------
    UsageError
        If it is no finite number; lengths in other units are named as such.

    Examples
    --------
    >>> parse_coordinate("300um"), parse_coordinate("12.5")
    ((300.0, True), (12.5, False))
    """
    text = word.strip()
    bare = next((text.removesuffix(u) for u in _UNITS if text.lower().endswith(u)), None)
    if bare is None and text.lower().endswith("um"):
        bare = text[:-2]
    try:
        number = float(text if bare is None else bare)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        hint = "; millimetres and nanometres are not read" if text.endswith(("mm", "nm")) else ""
        raise UsageError(
            f"{word!r} is no coordinate; write voxels (120) or micrometres (300um){hint}"
        )
    return number, bare is not None


def to_voxel(word: str, frame: Frame, axis: int, spacing_known: bool, brain: object) -> float:
    """Read a word as a fractional voxel of the level of ``frame``.

    Raises
    ------
    UsageError
        If it is no coordinate, or in µm of a brain whose spacing nobody gave.
    """
    number, is_um = parse_coordinate(word)
    if not is_um:
        return number
    if not spacing_known:
        raise UsageError(unknown_spacing(word, brain))
    return (number - frame.origin_um[axis]) / frame.spacing_um[axis]


def unknown_spacing(what: str, brain: object) -> str:
    """Say why micrometres cannot be used here."""
    return (
        f"{what} is in µm, but nobody said how long a voxel of {brain} is: give voxels, or convert "
        "the brain again with --spacing Z Y X"
    )
