"""Headers that name other files, and what can go wrong before a voxel is looked at."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from neuroconn.errors import NeuroconnError, VolumeError

HEADER_LIMIT = 2**20
"""Bytes a text header may have; real ones have a few hundred."""

_PATTERN = re.compile(r"(?P<name>[^%]*%0?\d?d[^%]*?)\s+(?P<range>-?\d+\s+-?\d+\s+-?\d+)(\s+\d+)?")


def companion(path: Path, name: str) -> Path:
    """Return the data file that a header names, if it lies in the header's folder.

    Parameters
    ----------
    path : Path
        The header.
    name : str
        As it stands in the header; ``/`` separates folders.

    Raises
    ------
    VolumeError
        If the name is absolute, contains ``..``, leaves the folder through a symbolic link, or
        leads to no file: a header from elsewhere must not choose what is read on this machine.
    """
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or re.match(r"\w:|\\", name):
        raise VolumeError(
            f"{path} names {name!r} as its data, which is not a file in its own folder; put both "
            "into one folder and write the bare name into the header"
        )
    folder = path.parent.resolve()
    file = (folder / pure).resolve()
    if not file.is_relative_to(folder):
        raise VolumeError(
            f"{path} names {name!r} as its data, a link that leaves its folder; put the file "
            "itself there"
        )
    if not file.is_file():
        raise VolumeError(
            f"{path} names {name!r} as its data and there is no such file beside it; copy both"
        )
    return file


def numbered_names(text: str, most: int) -> list[str] | None:
    """Return the file names that ``name%03d.raw FIRST LAST STEP`` stands for; None if it is none.

    Parameters
    ----------
    text : str
        What stands in a header as the name of the data.
    most : int
        How many files could make sense.

    Raises
    ------
    VolumeError
        If the numbers lead nowhere or to more than ``most`` files.

    Examples
    --------
    >>> numbered_names("slice%02d.raw 8 10 1", 3)
    ['slice08.raw', 'slice09.raw', 'slice10.raw']
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    first, last, step = (int(n) for n in match["range"].split())
    numbers = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
    if not 0 < len(numbers) <= most:
        raise VolumeError(
            f"{text!r} stands for {len(numbers)} files and the volume has {most} planes to share; "
            "the header is damaged"
        )
    return [match["name"] % number for number in numbers]


def required(module: str, package: str, path: Path) -> Any:
    """Import a library that only some formats need.

    Raises
    ------
    VolumeError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise VolumeError(
            f"{path} needs {package}, which is not installed; pip install 'neuroconn[formats]'"
        ) from None


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged header makes a library raise into one line."""
    try:
        with np.errstate(all="ignore"):
            yield
    except NeuroconnError:
        raise
    except Exception as error:  # damaged fields surface as almost any type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"{path} is not a readable {kind} file: {reason}") from error
