"""N5 containers: a folder of groups and arrays, or what BigDataViewer and n5-viewer make of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.volume.sources.base import (
    Choice,
    Identity,
    Source,
    chosen_channel,
    digest,
)
from neuroconn.volume.sources.hdf5.file import one_line
from neuroconn.volume.sources.hdf5.source import positions_of
from neuroconn.volume.sources.n5.blocks import listed_blocks
from neuroconn.volume.sources.n5.metadata import (
    arrays_in,
    downsampling,
    parse_array,
    read_attributes,
    voxel_frame,
)
from neuroconn.volume.sources.raster.companions import required

_LISTED = 8
_VIEW = re.compile(r"(?:.*/)?setup0*(\d+)/timepoint0*(\d+)")
_CHANNEL = re.compile(r"(?:.*/)?c0*(\d+)")


class N5Source(Source):
    """One array of an N5 container.

    Parameters
    ----------
    root : path
        The container.
    name : str
        Path of the array in it.
    channel : int
        Position on the channel axis, where the array names one.

    Raises
    ------
    VolumeError
        If the metadata or the blocks on disk cannot be those of a volume.

    Notes
    -----
    Any thread may read: TensorStore is thread-safe, and a lock lets one thread open it. A pickle
    carries no open store: every process opens its own. Absent blocks are zeros in N5, without a
    word; which ones there are is noted on opening, one byte each, and a block that has gone since
    is an error.
    """

    format = "N5"
    _store: Any
    _lock: threading.Lock

    def __init__(self, root: Path, name: str, channel: int = 0) -> None:
        required("tensorstore", "TensorStore", root)
        self._folder, self._name = _inside(root, name), name
        self.where = f"{root}, array {name or '/'}"
        attributes = read_attributes(self._folder)
        self._array = parse_array(attributes, self.where)
        if not set("zyx") <= set(self._array.axes):
            raise VolumeError(
                f"{self.where} has {len(self._array.shape)} dimensions {self._array.shape} and a "
                "brain has z, y, x; no axis is guessed. Name them in an attribute, such as "
                '"axes": ["x", "y", "z", "c"], or save one channel'
            )
        axes, shape = self._array.axes, self._array.shape
        fixed = iter(positions_of(axes, shape, channel, self.where))
        self._fixed = [None if a in "zyx" else next(fixed) for a in axes]
        self.shape, self.unit = self._zyx(shape), self._zyx(self._array.block)
        self.unit = _triple(min(a, b) for a, b in zip(self.unit, self.shape, strict=True))
        self.dtype = self._array.dtype
        self.channels = dict(zip(axes, shape, strict=True)).get("c", 1)
        self.description = f"N5 array {name or '/'}"
        self.spacing_um, self.origin_um, self.notes = voxel_frame(root, name, axes)
        self.factors = _factors(root, name)
        self._present, stored, sample = listed_blocks(self._folder, self._array, self.where)
        absent = self._present.size - int(np.count_nonzero(self._present))
        if absent:
            self.notes += (f"{absent} of {self._present.size} blocks are absent and read as 0",)
        facts = [name, attributes.get("dataType"), shape, self._array.block, channel, stored]
        files = self._present.size - absent
        self.identity = Identity(root.name, files, stored, digest(facts), digest(sample))
        self._forget()

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume."""
        if not Box.of_shape(self.shape).contains(box):
            raise ValueError(f"{box} leaves the volume of shape {self.shape}")
        by_name = {a: slice(b, e) for a, b, e in zip("zyx", box.start, box.stop, strict=True)}
        index: list[Any] = [
            by_name[a] if f is None else f
            for a, f in zip(self._array.axes, self._fixed, strict=True)
        ]
        self._check_blocks(index)
        with one_line(f"{self.where}, {box}"):
            part = self._opened()[tuple(index)]
            names = [a for a in self._array.axes if a in "zyx"]
            ordered = part.transpose([names.index(a) for a in "zyx"])
            voxels = np.asarray(ordered.read().result())
        if voxels.shape != box.shape:
            raise VolumeError(f"{self.where}, {box} came out as {voxels.shape}; it is damaged")
        return voxels.astype(self.dtype, copy=False)

    def _check_blocks(self, index: Sequence[Any]) -> None:
        """Refuse to read zeros where there was a block."""
        spans = [i if isinstance(i, slice) else slice(i, i + 1) for i in index]
        touched = [
            range(s.start // b, -(-s.stop // b))
            for s, b in zip(spans, self._array.block, strict=True)
        ]
        for block in product(*touched):
            file = self._folder.joinpath(*map(str, block))
            if self._present[block] and not file.is_file():
                raise VolumeError(f"{file} has gone since the source was opened; copy it again")

    def _opened(self) -> Any:
        with self._lock:
            if self._store is None:
                tensorstore = required("tensorstore", "TensorStore", self._folder)
                spec = {
                    "driver": "n5",
                    "kvstore": {"driver": "file", "path": f"{self._folder}/"},
                    "metadata": self._array.as_tensorstore(),
                    "open": True,
                    "assume_metadata": True,  # attributes of other tools would stop it
                }
                self._store = tensorstore.open(spec, read=True).result()
            return self._store

    def _zyx(self, values: Sequence[int]) -> ZYX:
        return _triple(values[self._array.axes.index(a)] for a in "zyx")

    def _forget(self) -> None:
        self._store, self._lock = None, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_store", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def open_n5(path: Path, choice: Choice) -> N5Source:
    """Open a volume in an N5 container.

    ``s0`` stands for all levels beside it; ``setupN`` of BigDataViewer and ``cN`` of n5-viewer are
    channels.

    Raises
    ------
    VolumeError
        If the container is damaged, or holds several volumes and none was chosen.
    UsageError
        If the chosen array or channel does not exist.
    """
    if choice.dataset is not None:
        name = choice.dataset.strip("/")
        if "dimensions" not in read_attributes(_inside(path, name)):
            known = _shown(list(arrays_in(path)))
            raise UsageError(f"{path} has no array {choice.dataset}; it has {known or 'none'}")
        return _open_array(path, name, choice)
    names = _full_resolution(list(arrays_in(path)))
    if not names:
        raise VolumeError(f"{path} holds no array; name the container or a group with one")
    if len(names) == 1:
        return _open_array(path, names[0], choice)
    grouped = _channels(path, names)
    if grouped is None:
        raise VolumeError(
            f"{path} holds {len(names)} volumes and a brain is one; choose it: --dataset NAME, "
            f"one of {_shown(names)}"
        )
    source = N5Source(path, grouped[chosen_channel(len(grouped), choice, str(path))])
    source.channels = len(grouped)
    return source


def open_n5_array(root: Path, name: str) -> N5Source:
    """Open one array by its path, however BigDataViewer pads the numbers in it.

    Raises
    ------
    VolumeError
        If it does not exist, or is damaged.
    """
    if "dimensions" not in read_attributes(_inside(root, name)):
        wanted = re.sub(r"\b([a-z]+)0*(\d)", r"\1\2", name)
        same = [n for n in arrays_in(root) if re.sub(r"\b([a-z]+)0*(\d)", r"\1\2", n) == wanted]
        if not same:
            raise VolumeError(f"{root} has no array {name}: the view is missing, or not copied")
        name = same[0]
    return N5Source(root, name)


def _open_array(path: Path, name: str, choice: Choice) -> N5Source:
    array = parse_array(read_attributes(_inside(path, name)), f"{path}, array {name or '/'}")
    channels = dict(zip(array.axes, array.shape, strict=False)).get("c", 1)
    return N5Source(path, name, chosen_channel(channels, choice, str(path)))


def _full_resolution(names: list[str]) -> list[str]:
    """Keep ``s0`` of every group that has levels, and all that is no level."""
    known = set(names)
    kept = []
    for name in names:
        group, _, last = name.rpartition("/")
        first = f"{group}/s0".removeprefix("/")
        if last == "s0" or not re.fullmatch(r"s\d+", last) or first not in known:
            kept.append(name)
    return kept


def _channels(path: Path, names: list[str]) -> list[str] | None:
    """Return the arrays that are channels of one volume, in order; None if they are not."""
    groups = [re.sub(r"/?s0$", "", name) for name in names]
    views = [_VIEW.fullmatch(group) for group in groups]
    if all(views):
        times = sorted({int(view[2]) for view in views if view})
        if len(times) > 1:
            raise VolumeError(
                f"{path} has {len(times)} time points and a brain has one; choose it: "
                f"--dataset {names[0]}"
            )
        numbers = [int(view[1]) for view in views if view]
    else:
        matches = [_CHANNEL.fullmatch(group) for group in groups]
        if not all(matches) or len({g.rpartition("/")[0] for g in groups}) > 1:
            return None
        numbers = [int(match[1]) for match in matches if match]
    return [name for _, name in sorted(zip(numbers, names, strict=True))]


def _inside(root: Path, name: str) -> Path:
    """Return the folder of an array, which has to lie in the container."""
    folder = root / name
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
        raise UsageError(f"{name!r} is no path of an array inside {root}")
    if not folder.resolve().is_relative_to(root.resolve()):
        raise VolumeError(f"{folder} leads out of {root}, and is not followed there")
    return folder


def _factors(root: Path, name: str) -> tuple[float, float, float]:
    parts = name.split("/") if name else []
    groups = ["/".join(parts[:k]) for k in range(len(parts), -1, -1)]
    return downsampling([read_attributes(root / group) for group in groups], parts)


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(name or "/" for name in names[:_LISTED]) + more


def _triple(values: Any) -> ZYX:
    z, y, x = (int(v) for v in values)
    return z, y, x
