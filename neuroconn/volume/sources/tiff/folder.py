"""One volume from a folder of TIFF files: slices, or stacks one after the other along z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.base import Choice, chosen_channel
from neuroconn.volume.sources.tiff.codecs import Decoders
from neuroconn.volume.sources.tiff.contents import ome_files
from neuroconn.volume.sources.tiff.metadata import Spacing, agreed
from neuroconn.volume.sources.tiff.slices import (
    few,
    listed,
    natural_key,
    ordered_slices,
    slice_channels,
)
from neuroconn.volume.sources.tiff.stack import Stack, stack_of

_OPENERS = 4
"""Threads that open slices: on a network each takes a round trip."""


def folder_stack(path: Path, files: list[Path], choice: Choice) -> Stack:
    """Order the files of a folder and lay their planes one after the other.

    Raises
    ------
    VolumeError
        If files are missing, doubled, damaged or unlike the others.
    UsageError
        If the chosen channel does not exist.
    """
    ome = _ome_file(files, choice)
    if ome is not None:
        return stack_of(ome, choice, Decoders())
    groups = slice_channels(files)
    if len(groups) > 1:
        files = groups[chosen_channel(len(groups), choice, str(path))]
        choice = Choice(None, choice.dataset)
    files = ordered_slices(files)
    stacks = _stacks(files, choice)
    planes = [plane for stack in stacks for plane in stack.planes]
    spacing, notes = _spacing_of(files, stacks)
    description = f"{len(planes)} TIFF slices"
    if len(planes) > len(files):
        description = f"{len(files)} TIFF stacks of {len(planes)} planes"
    return Stack(planes, description, spacing, max(len(groups), stacks[0].channels), notes)


def _ome_file(files: Sequence[Path], choice: Choice) -> Path | None:
    """Return the file whose OME-XML lays one volume over the files of a folder, if one does."""
    for file in sorted(files, key=lambda f: natural_key(f.name))[:3]:
        try:
            named = ome_files(file, choice)
        except VolumeError:  # told with all others that are damaged
            continue
        if len(named) > 1:
            strangers = [f.name for f in files if f not in named]
            if strangers:
                raise VolumeError(
                    f"{file.parent} holds {len(strangers)} files that the OME-XML of {file.name} "
                    f"does not name: {few(strangers)}. Move them away"
                )
            return file
    return None


def _stacks(files: list[Path], choice: Choice) -> list[Stack]:
    """Open all files; all that is wrong with any of them is told at once."""
    decoders = Decoders()

    def read(file: Path) -> Stack:
        return stack_of(file, choice, decoders, plain=file not in (files[0], files[-1]))

    results = _in_parallel(read, files)
    problems = [result for result in results if isinstance(result, Exception)]
    if len(problems) == len(files):  # the same for all, most likely: a channel to be chosen
        raise problems[0]
    if problems:
        texts = [str(problem) for problem in problems]
        raise VolumeError(listed(texts, len(files), f"files of {files[0].parent}"))
    stacks = [result for result in results if isinstance(result, Stack)]
    _check_counts(files, stacks)
    return stacks


def _check_counts(files: list[Path], stacks: list[Stack]) -> None:
    counts = [len(stack.planes) for stack in stacks]
    if 1 not in counts or max(counts) == 1:
        return
    few_single = counts.count(1) < len(counts) / 2
    odd = [
        f"{file} has {count} page{'s' * (count > 1)}"
        for file, count in zip(files, counts, strict=True)
        if (count == 1) == few_single
    ]
    raise VolumeError(
        f"{few(odd)} in a folder of {len(files)} files; a folder holds slices of one page each, or "
        "stacks of several pages each"
    )


def _in_parallel(
    read: Callable[[Path], Stack], files: list[Path]
) -> list[Stack | VolumeError | UsageError]:
    def several(part: list[Path]) -> list[Stack | VolumeError | UsageError]:
        results: list[Stack | VolumeError | UsageError] = []
        for file in part:
            try:
                results.append(read(file))
            except (VolumeError, UsageError) as error:
                results.append(error)
        return results

    step = max(16, -(-len(files) // (4 * _OPENERS)))
    parts = [files[k : k + step] for k in range(0, len(files), step)]
    with ThreadPoolExecutor(_OPENERS) as pool:
        return [result for part in pool.map(several, parts) for result in part]


def _spacing_of(files: list[Path], stacks: list[Stack]) -> tuple[Spacing | None, tuple[str, ...]]:
    """Take the spacing from the first file if the last says the same."""
    ends = [(files[k].name, stacks[k].spacing_um) for k in (0, -1)]
    spacing, contradiction = agreed(ends)
    return spacing, (*stacks[0].notes, *contradiction)
