"""Any Zarr array of a grey volume as a source."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.errors import InterruptedRunError, NeuroconnError, VolumeError
from neuroconn.geometry import Box, ChunkGrid
from neuroconn.volume.axes import AxisView, triple
from neuroconn.volume.checked_reads import one_line, read_ahead
from neuroconn.volume.sources.base import Choice, Source, check_numeric, chosen_channel
from neuroconn.volume.sources.stores.axes import plain_axes
from neuroconn.volume.sources.stores.choice import Chosen, choose_array
from neuroconn.volume.sources.stores.coordinates import coordinates_frame
from neuroconn.volume.sources.stores.nodes import Hierarchy, Node, join
from neuroconn.volume.sources.stores.place import Place
from neuroconn.volume.sources.stores.stored import identity, object_key, stored_objects
from neuroconn.volume.store import LARGEST_CHUNK_BYTES
from neuroconn.volume.stored import planned_reads

LARGEST_INDEX = 1 << 24
"""Inner chunks of a shard, whose index is read whole."""

_LARGEST_SHAPE = 1 << 62
_OBJECTS = ("pickle", "json2", "msgpack2", "vlen-array", "vlen-bytes", "vlen-utf8")
"""Codecs of Python objects; the first runs code that the file brings."""


class ZarrSource(Source):
    """A (z, y, x) view of a Zarr array.

    zarr's reads are safe to share between threads. A pickled source carries the address and opens
    the array again where it is first read.
    """

    format = "Zarr"

    def __init__(self, hierarchy: Hierarchy, chosen: Chosen, choice: Choice) -> None:
        place, node = hierarchy.place, chosen.array
        where = hierarchy.address(node.path)
        self._place, self._path, self._format = place, node.path, node.zarr_format
        _check_codecs(node, where)
        with _library_errors(where):
            stored = _open_array(place, node.path, node.zarr_format)
            _check_array(stored, where)
        self._axes, notes = _axes(node, chosen, tuple(stored.shape), where)
        self.channels = stored.shape[self._axes.index("c")] if "c" in self._axes else 1
        self._check_times(stored, where)
        self._channel = chosen_channel(self.channels, choice, where)
        self._view: AxisView | None = AxisView(stored, self._axes, self._channel)
        self.shape, self.dtype = self._view.shape, check_numeric(self._view.dtype, where)
        z, y, x = (min(a, b) for a, b in zip(self._view.chunks, self.shape, strict=True))
        self.unit = (z, y, x)
        objects = stored_objects(place, self._view)
        self.notes = (*notes, *objects.notes(where, stored.fill_value))
        self.identity = identity(place, self._view, chosen.documents, objects.present)
        self._describe(hierarchy, chosen)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the voxels of a box inside the volume.

        Raises
        ------
        VolumeError
            If a stored object is damaged; the message names it.
        InterruptedRunError
            If the store cannot be reached any more. That is no damage: nothing is to be read on
            past it.
        """
        view = self._opened()
        store: Any = view.stored.store_path.store
        absent = store.absent
        try:
            with read_ahead(*planned_reads(view, box)):
                voxels = np.asarray(view[box.slices])
        except InterruptedRunError as error:
            raise InterruptedRunError(f"{self._where} cannot be read any more: {error}") from None
        except Exception as error:  # codecs raise types of their own
            raise VolumeError(
                f"{self._where}: cannot decode the voxels of {box}, stored in "
                f"{self._objects(view, box)}: {_reason(error)}"
            ) from error
        if store.absent > absent:
            self._check_still_there()
        return voxels.astype(self.dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_view": None}

    @property
    def _where(self) -> str:
        return f"{self._place.where}/{self._path}" if self._path else self._place.where

    def _opened(self) -> AxisView:
        if self._view is None:
            with _library_errors(self._where):
                stored = _open_array(self._place, self._path, self._format)
                self._view = AxisView(stored, self._axes, self._channel)
        return self._view

    def _check_still_there(self) -> None:
        """Tell an empty chunk from a disk that was unplugged: that one takes the metadata too."""
        key = join(self._path, "zarr.json" if self._format == 3 else ".zarray")
        if self._place.document(key) is None:
            raise InterruptedRunError(
                f"{self._where} has disappeared while it was read; make it available again and "
                "run the same command to resume"
            )

    def _check_times(self, stored: zarr.Array[Any], where: str) -> None:
        sizes = dict(zip(self._axes, stored.shape, strict=True))
        if sizes.get("t", 1) != 1:
            raise VolumeError(
                f"{where} is a time series of {sizes['t']} points; a brain is one. Save one of them"
            )
        odd = {k: n for k, n in sizes.items() if n != 1 and k not in ("t", "c", "z", "y", "x")}
        if odd:
            name, size = next(iter(odd.items()))
            raise VolumeError(
                f"{where} has an axis {name!r} of {size}; a brain has z, y, x and at most channels"
            )

    def _describe(self, hierarchy: Hierarchy, chosen: Chosen) -> None:
        level = chosen.level
        if level is not None:
            self.description = level.description
            self.spacing_um, self.origin_um = level.spacing_um, level.origin_um
            return
        self.description = f"Zarr v{self._format} array"
        frame, notes = coordinates_frame(hierarchy, chosen.array, self._axes)
        self.notes = (*self.notes, *notes)
        if frame is not None:
            self.spacing_um, self.origin_um = frame.spacing_um, frame.origin_um

    def _objects(self, view: AxisView, box: Box) -> str:
        grid = ChunkGrid(view.shape, triple(view.shards or view.chunks))
        lower, upper = (
            grid.index_of(box.start),
            grid.index_of(triple(tuple(n - 1 for n in box.stop))),
        )
        first, last = object_key(view, lower), object_key(view, upper)
        return first if first == last else f"{first} to {last}"


class OmeZarrSource(ZarrSource):
    """A level of an OME-Zarr image."""

    format = "OME-Zarr"


def open_zarr(place: Place, choice: Choice) -> ZarrSource:
    """Open the array that is meant at a place.

    Raises
    ------
    VolumeError
        If there is no volume, or one that cannot be read safely.
    UsageError
        If the chosen dataset or channel does not exist.
    """
    hierarchy = Hierarchy(place)
    chosen = choose_array(hierarchy, choice.dataset)
    kind = ZarrSource if chosen.level is None else OmeZarrSource
    return kind(hierarchy, chosen, choice)


def _axes(
    node: Node, chosen: Chosen, shape: tuple[int, ...], where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Axis names, and what was assumed."""
    if chosen.level is None:
        axes, note = plain_axes(node.dimension_names, shape, where)
        return axes, () if note is None else (note,)
    axes, names = chosen.level.axes, node.dimension_names
    if len(axes) != len(shape):
        raise VolumeError(f"{where} has {len(shape)} axes and its image names {len(axes)}")
    if names is not None and set(names) == set(axes) and names != axes:
        raise VolumeError(
            f"{where} has axes {', '.join(names)} and its image says {', '.join(axes)}: one of "
            "them is wrong, and the brain would be turned. Correct the metadata"
        )
    return axes, chosen.level.notes


def _open_array(place: Place, path: str, zarr_format: int) -> zarr.Array[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on types that are refused right after
        return zarr.open_array(
            place.store,
            path=path,
            mode="r",
            zarr_format=3 if zarr_format == 3 else 2,
        )


def _check_codecs(node: Node, where: str) -> None:
    for name in node.codecs:
        if name in _OBJECTS or "pickle" in name.lower():
            raise VolumeError(
                f"{where} stores Python objects (codec {name!r}), which are never unpickled; a "
                "brain is made of integers or real numbers"
            )
    if "O" in str(node.document.get("dtype", "")):
        raise VolumeError(f"{where} stores Python objects; a brain is made of numbers")


def _check_array(array: zarr.Array[Any], where: str) -> None:
    """Refuse sizes that no volume has, before anything of such a size is allocated."""
    if min(array.shape, default=0) < 1 or prod(array.shape) > _LARGEST_SHAPE:
        raise VolumeError(f"{where} has shape {tuple(array.shape)}, which is no volume's")
    outer = array.shards or array.chunks
    if min(*array.chunks, *outer) < 1:
        raise VolumeError(f"{where} has chunks of {array.chunks} voxels; the metadata is damaged")
    size = prod(array.chunks) * array.dtype.itemsize
    if size > LARGEST_CHUNK_BYTES:
        raise VolumeError(
            f"{where}: a chunk of {array.chunks} voxels takes {size:.1e} bytes in memory; at most "
            f"{LARGEST_CHUNK_BYTES:.1e} are decoded. The metadata is damaged, or save it rechunked"
        )
    inner = prod(-(-a // b) for a, b in zip(outer, array.chunks, strict=True))
    if inner > LARGEST_INDEX:
        raise VolumeError(f"{where}: a shard of {inner:.1e} chunks is not a usable one")


@contextmanager
def _library_errors(where: str) -> Iterator[None]:
    """Turn what zarr raises on damaged metadata into one line."""
    try:
        yield
    except NeuroconnError:
        raise
    except Exception as error:  # any type may surface
        raise VolumeError(f"{where} is not a readable Zarr array: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Say what a library means, in one line; name the package or the codec that is missing."""
    name = type(error).__name__
    if isinstance(error, ImportError):
        return f"its codec needs the package {error.name or one_line(error)}, not installed here"
    if name == "UnknownCodecError":
        codec = one_line(error).split("'")
        return f"its codec {' '.join(c for c in codec[1:] if c)} is not installed here"
    return f"{one_line(error)} ({name})" if isinstance(error, KeyError) else one_line(error)
