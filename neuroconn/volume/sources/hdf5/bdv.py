"""BigDataViewer: an XML that describes views, and HDF5 or N5 that holds their voxels.

References
----------
.. [1] T. Pietzsch et al. BigDataViewer: visualization and processing for large image data sets.
   Nature Methods, 2015. https://imagej.net/plugins/bdv/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.base import Choice, Source, chosen_channel
from neuroconn.volume.sources.hdf5.array import Hdf5Array
from neuroconn.volume.sources.hdf5.bdv_xml import SpimData, read_spimdata
from neuroconn.volume.sources.hdf5.checks import check_place
from neuroconn.volume.sources.hdf5.file import follow, opened
from neuroconn.volume.sources.hdf5.source import Hdf5Source
from neuroconn.volume.sources.units import at_level

_CELLS = re.compile(r"/?t(\d{5,})/s(\d{2,})/(\d+)/cells")
_N5_LEVEL = re.compile(r"/?setup(\d+)/timepoint(\d+)/s(\d+)/?")


class BdvSource(Hdf5Source):
    """One view of a BigDataViewer HDF5 file."""

    format = "BigDataViewer HDF5"
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Voxels of full resolution in one of this level."""


def is_bdv(file: Any, choice: Choice) -> bool:
    """Whether a file has BigDataViewer's groups, and no other array of it is asked for."""
    named = choice.dataset is None or _CELLS.fullmatch(choice.dataset) is not None
    return named and bool(_numbered(file, "t", 5)) and bool(_numbered(file, "s", 2))


def open_bdv_xml(path: Path, choice: Choice) -> Source:
    """Open the data set that an XML of BigDataViewer or BigStitcher describes.

    Raises
    ------
    VolumeError
        If the XML or its container is damaged, has several time points or view setups and none
        was chosen, or lies elsewhere.
    UsageError
        If the chosen channel or array does not exist.
    """
    spim = read_spimdata(path)
    pattern = _CELLS if spim.format == "bdv.hdf5" else _N5_LEVEL
    time, number, level = _chosen_view(path, spim, choice, pattern)
    if spim.format == "bdv.hdf5":
        with opened(spim.container) as file:
            source: Any = _open_cells(spim.container, file, time, number, level)
    else:
        # Imported here: an N5 folder needs TensorStore, an HDF5 file does not.
        from neuroconn.volume.sources.n5.source import open_n5_array

        source = open_n5_array(spim.container, f"setup{number}/timepoint{time}/s{level}")
    _describe(source, spim, time, number, path)
    opened_view: Source = source
    return opened_view


def open_bdv_hdf5(path: Path, file: Any, choice: Choice) -> BdvSource:
    """Open a BigDataViewer HDF5 file without its XML: nobody knows the voxel size then.

    Raises
    ------
    VolumeError
        If there are several time points or view setups and none was chosen.
    UsageError
        If the chosen channel or array does not exist.
    """
    times, setups = _numbered(file, "t", 5), _numbered(file, "s", 2)
    if choice.dataset is not None:
        time, number, level = _named_view(choice.dataset, _CELLS)
    else:
        time, level = _only_time(path, times, f"t{times[0]:05d}/s{setups[0]:02d}/0/cells"), 0
        number = setups[chosen_channel(len(setups), choice, str(path))]
    source = _open_cells(path, file, time, number, level)
    source.channels = len(setups) if choice.dataset is None else 1
    source.notes += ("the voxel size is in the XML that belongs to this file; convert that, or "
                     "give --spacing",)  # fmt: skip
    return source


def _chosen_view(
    path: Path, spim: SpimData, choice: Choice, pattern: re.Pattern[str]
) -> tuple[int, int, int]:
    """Return time point, view setup and level."""
    if choice.dataset is not None:
        if pattern.fullmatch(choice.dataset) is None:
            raise UsageError(f"{path} has no dataset {choice.dataset}; one is {_example(spim)}")
        return _named_view(choice.dataset, pattern)
    time = _only_time(path, spim.times, _example(spim))
    return time, spim.setups[chosen_channel(len(spim.setups), choice, str(path))].number, 0


def _named_view(dataset: str, pattern: re.Pattern[str]) -> tuple[int, int, int]:
    match = pattern.fullmatch(dataset)
    assert match is not None
    first, second, level = map(int, match.groups())
    return (first, second, level) if pattern is _CELLS else (second, first, level)


def _example(spim: SpimData) -> str:
    time, setup = spim.times[0], spim.setups[0].number
    if spim.format == "bdv.hdf5":
        return f"t{time:05d}/s{setup:02d}/0/cells"
    return f"setup{setup}/timepoint{time}/s0"


def _only_time(path: Path, times: tuple[int, ...] | list[int], example: str) -> int:
    if len(times) > 1:
        raise VolumeError(
            f"{path} has {len(times)} time points and a brain has one; choose it: "
            f"--dataset {example}"
        )
    return times[0]


def _open_cells(path: Path, file: Any, time: int, setup: int, level: int) -> BdvSource:
    name = f"t{time:05d}/s{setup:02d}/{level}/cells"
    cells = follow(file, name, str(path))
    if cells is None:
        raise VolumeError(f"{path} has no {name}: the view is missing, or the file is incomplete")
    array = Hdf5Array(path, name, cells)
    if len(array.shape) != 3:
        raise VolumeError(f"{array.where} is {array.shape}; BigDataViewer stores (z, y, x) volumes")
    # Java has no unsigned short: what is written as int16 means uint16.
    signed = array.dtype.kind == "i" and array.dtype.itemsize == 2
    source = BdvSource(array, unsigned=signed)
    source.description = f"BigDataViewer HDF5, time point {time}, view setup {setup}"
    source.factors = _factors(path, file, setup, level)
    if signed:
        source.notes += ("int16 in the file means uint16, as BigDataViewer reads it",)
    return source


def _describe(source: Any, spim: SpimData, time: int, number: int, path: Path) -> None:
    """Add what the XML says about a view."""
    setup = spim.setup(number, str(path))
    source.spacing_um, source.origin_um = at_level(
        setup.spacing_um, spim.origin_um(time, setup), source.factors
    )
    source.channels = len(spim.setups)
    source.description += f" ({setup.name})"
    source.notes += spim.notes(time, setup)
    if setup.shape not in (None, source.shape):
        source.notes += (f"the XML says the view is {setup.shape}, it is {source.shape}",)


def _factors(path: Path, file: Any, setup: int, level: int) -> tuple[float, float, float]:
    """Return the downsampling of a level, which the file lists in (x, y, z)."""
    name = f"s{setup:02d}/resolutions"
    resolutions = follow(file, name, str(path))
    if resolutions is None:
        return (1.0, 1.0, 1.0)
    check_place(resolutions, f"{path}, dataset {name}")
    levels, axes = resolutions.shape if resolutions.ndim == 2 else (0, 0)
    if not level < levels < 64 or axes != 3:
        return (1.0, 1.0, 1.0)
    x, y, z = (float(n) for n in resolutions[level])
    return (z, y, x) if min(x, y, z) >= 1 and max(x, y, z) < 1e6 else (1.0, 1.0, 1.0)


def _numbered(group: Any, letter: str, digits: int) -> list[int]:
    pattern = re.compile(rf"{letter}(\d{{{digits},}})")
    return sorted(int(match[1]) for match in map(pattern.fullmatch, group) if match)
