"""The order of a folder of slices, and what is missing in it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from neuroconn.errors import VolumeError

_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key under which ``slice_9`` comes before ``slice_10``.

    Examples
    --------
    >>> sorted(["slice_10.tif", "slice_9.tif"], key=natural_key)
    ['slice_9.tif', 'slice_10.tif']
    """
    parts = _DIGITS.split(name.lower())
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def ordered_slices(files: list[Path]) -> list[Path]:
    """Sort slices naturally and check that none is missing, doubled or of another series.

    Numbers may go up in steps (0, 10, 20: positions rather than counts) if the step is constant.
    Names without any number are taken in natural order.

    Raises
    ------
    VolumeError
        If the names do not form one sequence; the message names the slice.
    """
    files = sorted(files, key=lambda file: (natural_key(file.name), file.name))
    patterns = {_DIGITS.sub("#", file.stem.lower()) for file in files}
    if not any("#" in pattern for pattern in patterns):
        return files
    if len(patterns) > 1:
        odd = min(files, key=lambda f: sum(_pattern(f) == _pattern(g) for g in files))
        raise VolumeError(
            f"{odd} is named unlike the other slices: the folder mixes two series. Move it away"
        )
    numbers = [_numbers(file) for file in files]
    varying = [k for k in range(len(numbers[0])) if len({n[k] for n in numbers}) > 1]
    if not varying and len(files) > 1:
        raise VolumeError(f"{files[0]} and {files[1]} carry the same slice number; remove one")
    if varying:
        _check_sequence(files, [n[varying[-1]] for n in numbers])
    return files


def _check_sequence(files: list[Path], numbers: list[int]) -> None:
    steps = [b - a for a, b in pairwise(numbers)]
    usual = min((s for s in steps if s > 0), default=1)
    for number, step, before, after in zip(numbers, steps, files, files[1:], strict=False):
        if step == 0:
            raise VolumeError(f"{before} and {after} carry the same slice number; remove one")
        if step < 0:
            raise VolumeError(
                f"slices cannot be ordered: {after} follows {before}, but its last number goes "
                "back. A folder holds one channel and one tile"
            )
        if step != usual:
            raise VolumeError(
                f"slice {number + usual} is missing between {before} and {after}: "
                "the volume would be shorter than the brain"
            )


def _numbers(file: Path) -> list[int]:
    return [int(n) for n in _DIGITS.findall(file.stem)]


def _pattern(file: Path) -> str:
    return _DIGITS.sub("#", file.stem.lower())
