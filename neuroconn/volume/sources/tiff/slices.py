"""The order of a folder of slices, and what is missing in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from neuroconn.errors import VolumeError

_DIGITS = re.compile(r"(\d+)")
_CHANNEL = re.compile(r"(?:^|[^a-z])(?:c|ch|chn|chan|channel)[-_ ]?$")
_SHOWN = 3


def few(items: Sequence[str]) -> str:
    """Join the first few of many things and say how many more there are.

    Examples
    --------
    >>> few(["a", "b"])
    'a; b'
    >>> few(list("abcde"))
    'a; b; c; and 2 more'
    """
    more = len(items) - _SHOWN
    return "; ".join([*items[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def listed(problems: Sequence[str], total: int, what: str) -> str:
    """Say how many of many things are wrong, and what is wrong with the first few."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} of {total} {what} cannot be used: {few(problems)}"


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key under which ``slice_9`` comes before ``slice_10``.

    Examples
    --------
    >>> sorted(["slice_10.tif", "slice_9.tif"], key=natural_key)
    ['slice_9.tif', 'slice_10.tif']
    """
    parts = _DIGITS.split(name.lower())
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def slice_channels(files: Sequence[Path]) -> list[list[Path]]:
    """Tell the channels of a folder apart by a number after ``c`` or ``ch`` in the names.

    Returns
    -------
    list of lists of paths
        One list for each channel, by its number; a single one if the names tell no channels.

    Raises
    ------
    VolumeError
        If channels have different numbers of slices.

    Examples
    --------
    >>> files = [Path(f"z{z}_ch{c}.tif") for z in (1, 2) for c in (0, 1)]
    >>> [[f.name for f in channel] for channel in slice_channels(files)]
    [['z1_ch0.tif', 'z2_ch0.tif'], ['z1_ch1.tif', 'z2_ch1.tif']]
    """
    parts = [_DIGITS.split(file.stem.lower()) for file in files]
    if len({len(p) for p in parts}) != 1 or len({_pattern(file) for file in files}) != 1:
        return [list(files)]
    fields = [k for k in range(1, len(parts[0]), 2) if len({int(p[k]) for p in parts}) > 1]
    marked = [k for k in fields if _CHANNEL.search(parts[0][k - 1])]
    if len(fields) < 2 or len(marked) != 1:
        return [list(files)]
    channels: dict[int, list[Path]] = {}
    for file, part in zip(files, parts, strict=True):
        channels.setdefault(int(part[marked[0]]), []).append(file)
    if len({len(group) for group in channels.values()}) > 1:
        counts = [f"channel {c} has {len(channels[c])} slices" for c in sorted(channels)]
        raise VolumeError(
            f"{files[0].parent} is incomplete: {few(counts)}; a brain has as many in each"
        )
    return [channels[c] for c in sorted(channels)]


def ordered_slices(files: Sequence[Path]) -> list[Path]:
    """Sort slices naturally and check that none is missing, doubled or of another series.

    Numbers may go up in steps (0, 10, 20: positions rather than counts) if the step is constant.
    Names without any number are taken in natural order.

    Raises
    ------
    VolumeError
        If the names do not form one sequence; the message names the slices.
    """
    files = sorted(files, key=lambda file: (natural_key(file.name), file.name))
    patterns = Counter(_pattern(file) for file in files)
    if not any("#" in pattern for pattern in patterns):
        return files
    if len(patterns) > 1:
        usual = patterns.most_common(1)[0][0]
        odd = [str(file) for file in files if _pattern(file) != usual]
        state = "is" if len(odd) == 1 else f"({len(odd)} of {len(files)} files) are"
        raise VolumeError(
            f"{few(odd)} {state} named unlike the other slices: the folder mixes two series. "
            "Move one away"
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
    same = [f"{a} and {b.name}" for a, b, s in zip(files, files[1:], steps, strict=False) if not s]
    if same:
        raise VolumeError(f"{few(same)} carry the same slice number; remove one of each")
    back = [k for k, step in enumerate(steps) if step < 0]
    if back:
        raise VolumeError(
            f"slices cannot be ordered: {files[back[0] + 1]} follows {files[back[0]]}, but its "
            f"last number goes back ({len(back)} times in all). A folder holds one channel and one "
            "tile"
        )
    counts = Counter(steps)
    usual = min(counts, key=lambda step: (-counts[step], step))
    holes = [k for k, step in enumerate(steps) if step != usual]
    if holes:
        _refuse_holes(files, numbers, usual, holes)


def _refuse_holes(files: list[Path], numbers: list[int], usual: int, holes: list[int]) -> None:
    for k in holes:
        if (numbers[k + 1] - numbers[k]) % usual:
            raise VolumeError(
                f"slices cannot be ordered: numbers go up by {usual}, and {files[k + 1]} follows "
                f"{files[k]} ({len(holes)} such steps in all)"
            )
    spans = [(numbers[k] + usual, numbers[k + 1] - usual) for k in holes]
    missing = sum((last - first) // usual + 1 for first, last in spans)
    shown = few([f"{a}" if a == b else f"{a} to {b}" for a, b in spans])
    name = f"slice {shown} is" if missing == 1 else f"slices {shown} ({missing} in all) are"
    raise VolumeError(
        f"{name} missing between {files[holes[0]]} and {files[holes[-1] + 1]}: the volume would be "
        "shorter than the brain"
    )


def _numbers(file: Path) -> list[int]:
    return [int(n) for n in _DIGITS.findall(file.stem)]


def _pattern(file: Path) -> str:
    return _DIGITS.sub("#", file.stem.lower())
