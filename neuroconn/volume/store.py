"""OME-Zarr images: created in one step, opened with checks.

What neuroconn knows beyond OME-Zarr is in the group attribute ``neuroconn``::

    {"schema": 1, "kind": "brain", "spacing_known": true, "attributes": {...}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from neuroconn.errors import InterruptedRunError, VolumeError
from neuroconn.geometry import ZYX, ChunkGrid, Frame, Level
from neuroconn.volume import connection
from neuroconn.volume.address import Address, ObjectPath, address_of
from neuroconn.volume.axes import AxisView
from neuroconn.volume.codecs import Compression, Layout, check_decoding
from neuroconn.volume.creation import (
    Note,
    documents,
    place_in_folder,
    place_on_store,
    refuse_taken_store,
)
from neuroconn.volume.object_store import image_format, is_writable, zarr_store
from neuroconn.volume.objects import Objects
from neuroconn.volume.ome import (
    AXES,
    Multiscale,
    channel_attributes,
    group_attributes,
    ome_block,
    parse_multiscale,
)
from neuroconn.volume.regions import stored_grid
from neuroconn.volume.statistics import unpack_histogram

SCHEMA = 1
LARGEST_CHUNK_BYTES = 1 << 32
"""A chunk is decoded whole: metadata that asks for more is damaged or hostile."""

Kind: TypeAlias = Literal["brain", "distance"]
Downsample: TypeAlias = Literal["max", "mean", "min", "mode"]
ZarrFormat: TypeAlias = Literal[3, 2]


@dataclass(frozen=True)
class Image:
    """A stored OME-Zarr image; a small value that pickles and opens its arrays on demand."""

    path: Address
    """A folder, or an address on an object store."""
    levels: list[Level]
    """Level 0 first."""
    frames: list[Frame]
    """Where the voxels of each level lie, as the file says."""
    spacing_known: bool
    """False if the frames count voxels, because nobody said how long they are."""
    kind: Kind
    """A ``brain`` of intensities, or a ``distance`` map."""
    downsample: str | None
    """How coarse levels were made: max, mean, min, mode; None if a foreign file does not say."""
    ours: bool
    """Whether neuroconn wrote it; the arrays of other images are opened for reading only."""
    axes: tuple[str, ...] = AXES
    paths: tuple[str, ...] = ()
    zarr_format: ZarrFormat = 3
    """3 is OME-Zarr 0.5, which has shards; 2 is OME-Zarr 0.4, which stores chunks."""

    @property
    def folder(self) -> Path:
        """Where the image lies on this machine.

        Raises
        ------
        VolumeError
            If it lies on an object store.
        """
        if isinstance(self.path, ObjectPath):
            raise VolumeError(f"{self.path} is not on this machine: this needs a copy in a folder")
        return self.path

    @property
    def frame(self) -> Frame:
        """Where the voxels of level 0 lie."""
        return self.frames[0]

    @property
    def shape(self) -> ZYX:
        """Extent of level 0 along (z, y, x)."""
        return self.levels[0].shape

    @property
    def attributes(self) -> dict[str, Any]:
        """What neuroconn noted about the image, read afresh."""
        block = cast("dict[str, Any]", self._group("r").attrs.asdict().get("neuroconn", {}))
        return dict(block.get("attributes", {}))

    @property
    def ome(self) -> dict[str, Any]:
        """The OME-Zarr metadata as stored: ``multiscales``, ``omero``, and ``version`` in 0.5."""
        return ome_block(self._group("r").attrs.asdict())

    @property
    def histogram(self) -> NDArray[np.int64]:
        """Voxels of each value at level 0, as counted by the conversion.

        Raises
        ------
        VolumeError
            If the brain was not converted by neuroconn, or not to the end.
        """
        intensity = self.attributes.get("intensity")
        if not isinstance(intensity, Mapping) or "histogram" not in intensity:
            raise VolumeError(
                f"{self.path} has no intensity statistics; finish its conversion, or convert it "
                "with neuroconn convert"
            )
        return unpack_histogram(intensity["histogram"])

    def update_attributes(self, changes: Mapping[str, Any]) -> None:
        """Add or replace top-level keys of :attr:`attributes`; values must be JSON."""
        group = self._group("r+")
        block = cast("dict[str, Any]", group.attrs.asdict().get("neuroconn", {}))
        merged = {**block, "attributes": {**block.get("attributes", {}), **changes}}
        group.update_attributes({"neuroconn": merged})

    def set_window(self, start: float, end: float, *, low: float, high: float) -> None:
        """Tell viewers to show ``start`` as black and ``end`` as white, of a range low to high."""
        group = self._group("r+")
        window = {"start": start, "end": end, "min": low, "max": high}
        channel = {"label": self.kind, "color": "FFFFFF", "active": True, "window": window}
        group.update_attributes(channel_attributes(group.attrs.asdict(), channel))

    def array(self, level: int = 0) -> zarr.Array[Any]:
        """Open the (z, y, x) array of a level.

        An image stored with other axes gives a read-only view with the same reading interface.
        """
        stored = self._opened.get(level) or self._open(level)
        if isinstance(self.path, ObjectPath):
            self._opened[level] = stored  # each opening is a request or three
        if self.axes == AXES:
            return stored
        return cast("zarr.Array[Any]", AxisView(stored, self.axes))

    def grid(self, level: int = 0) -> ChunkGrid:
        """Return the grid of stored objects of a level: shards, or chunks where there are none."""
        return stored_grid(self.array(level))

    def document(self, key: str) -> bytes | None:
        """Return an object beside the arrays, None if it is absent.

        Raises
        ------
        StorageError
            If it cannot be read.
        """
        if isinstance(self.path, ObjectPath):
            return Objects(self.path).get(key)
        try:
            return (self.path / key).read_bytes()
        except FileNotFoundError:
            return None

    @cached_property
    def _opened(self) -> dict[int, zarr.Array[Any]]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def _open(self, level: int) -> zarr.Array[Any]:
        mode: Literal["r", "r+"] = "r+" if self.ours and is_writable(self.path) else "r"
        return zarr.open_array(
            zarr_store(self.path, mode),
            path=self.paths[level],
            mode=mode,
            zarr_format=self.zarr_format,
        )

    def _group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        store = zarr_store(self.path, mode)
        return zarr.open_group(store, mode=mode, zarr_format=self.zarr_format)


def create_image(
    path: str | Path | ObjectPath,
    *,
    levels: list[Level],
    dtype: DTypeLike,
    frame: Frame,
    chunk: int | ZYX = 64,
    shard: int | ZYX | None = 256,
    fill_value: float = 0,
    kind: Kind,
    attributes: Mapping[str, Any] | None = None,
    array_attributes: Mapping[str, Any] | None = None,
    spacing_known: bool = True,
    downsample: Downsample | None = None,
    zarr_format: ZarrFormat = 3,
    compression: Compression = "archive",
    notes: Sequence[Note] = (),
    resume: bool = False,
) -> Image:
    """Create an empty OME-Zarr image, or nothing at all.

    Parameters
    ----------
    path : path
        Must not exist, or be an empty folder. A crash leaves at most a sibling folder whose name
        ends in ``.partial``; whatever is at ``path`` itself is complete. On an object store
        (``s3://bucket/path``) a crash leaves objects without the root document: no image.
    levels : list of Level
        Shapes and factors, level 0 first.
    dtype : dtype
        Type of a voxel; stored little-endian.
    frame : Frame
        Where the voxels of level 0 lie.
    chunk, shard : int or (z, y, x) ints
        Readable unit and stored object; a shard holds whole chunks. ``shard=None`` stores chunks,
        and so does format 2, whatever ``shard`` is.
    fill_value : float
        Value of voxels nobody wrote; stored objects full of it take no space.
    kind : {"brain", "distance"}
        What the voxels mean.
    attributes : mapping, optional
        Becomes :attr:`Image.attributes`. JSON values.
    array_attributes : mapping, optional
        Attributes of each level's array, such as ``scale_factor`` and ``add_offset`` of a distance
        map; those two are taken from ``attributes`` if not given. ``_FillValue`` of a distance map
        of integers is ``fill_value`` unless given.
    spacing_known : bool
        False to say that ``frame`` counts voxels: axes then have no unit.
    downsample : {"max", "mean", "min", "mode"}, optional
        How coarse levels will be made; max for a brain, min for a distance map.
    zarr_format : {3, 2}
        3 is OME-Zarr 0.5; 2 is OME-Zarr 0.4, for programs that cannot read Zarr v3.
    compression : {"archive", "speed", "scratch"}
        blosc-zstd 3, blosc-zstd 1, or blosc-lz4 5: smaller files, or less time to write them.
    notes : sequence of Note, optional
        Folders inside the image that are not its arrays.
    resume : bool, optional
        On an object store, finish what was begun there with the same arguments.

    Raises
    ------
    OutputError
        If the path is taken.
    StorageError
        If an object store refuses.
    ValueError
        If shards do not hold whole chunks, or the format or compression is not known.
    """
    path = address_of(path)
    if zarr_format not in (2, 3):
        raise ValueError(f"Zarr format {zarr_format!r} is not known; 3 and 2 are")
    if isinstance(path, ObjectPath) and not resume:
        refuse_taken_store(path)
    outer = None if shard is None or zarr_format == 2 else _triple(shard)
    stored = np.dtype(dtype).newbyteorder("<")
    layout = Layout(stored, _triple(chunk), outer, fill_value, compression)
    held = dict(attributes or {})
    block = {"schema": SCHEMA, "kind": kind, "spacing_known": spacing_known, "attributes": held}
    ome = group_attributes(
        zarr_format,
        path.name.split(".")[0],
        levels,
        frame,
        spacing_known=spacing_known,
        downsample=downsample or ("max" if kind == "brain" else "min"),
    )
    files = documents(
        levels,
        layout,
        zarr_format=zarr_format,
        group_attributes={**ome, "neuroconn": block},
        array_attributes=_array_attributes(kind, layout, held, array_attributes or {}),
        notes=notes,
    )
    if isinstance(path, ObjectPath):
        place_on_store(path, files)
    else:
        place_in_folder(path, files)
    return open_image(path)


def open_image(path: str | Path | ObjectPath) -> Image:
    """Open an OME-Zarr 0.4 or 0.5 image with three space axes.

    Parameters
    ----------
    path : path or URL
        A folder; ``s3://bucket/path``; or ``http(s)://host/path``, for reading only.

    Raises
    ------
    VolumeError
        If there is no such image, its metadata cannot be followed safely, or the server refuses.
    """
    path = address_of(path)
    version = image_format(path)
    try:
        store = zarr_store(path, "r", connection.OPENING)
        group = zarr.open_group(store, mode="r", zarr_format=version)
        attributes = cast("dict[str, Any]", group.attrs.asdict())
        multiscale = parse_multiscale(attributes)
        arrays = [_checked_array(group, name, multiscale) for name in multiscale.paths]
    except (VolumeError, InterruptedRunError) as error:
        raise VolumeError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"{path} is not a readable OME-Zarr image: {reason}") from error
    kind, ours = _own_block(path, attributes.get("neuroconn"))
    return Image(
        path=path,
        levels=_levels([a.shape for a in arrays], multiscale.frames),
        frames=list(multiscale.frames),
        spacing_known=multiscale.spacing_known,
        kind=kind,
        downsample=multiscale.downsample,
        ours=ours,
        axes=multiscale.axes,
        paths=multiscale.paths,
        zarr_format=group.metadata.zarr_format,
    )


def _own_block(path: Address, block: Any) -> tuple[Kind, bool]:
    if not isinstance(block, Mapping):
        return "brain", False
    if block.get("schema") != SCHEMA or block.get("kind") not in ("brain", "distance"):
        raise VolumeError(
            f"{path} was written by another version of neuroconn (schema {block.get('schema')!r}, "
            f"kind {block.get('kind')!r}; this one reads schema {SCHEMA})"
        )
    return cast("Kind", block["kind"]), True


def _array_attributes(
    kind: Kind, layout: Layout, notes: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    if kind != "distance":
        return dict(given)
    shared = {key: notes[key] for key in ("scale_factor", "add_offset") if key in notes}
    # NaN needs no code, and as an attribute it would be a word that JSON does not have.
    fill = {} if layout.dtype.kind == "f" else {"_FillValue": int(layout.fill_value)}
    return {**fill, "units": "voxel", **shared, **given}


def _checked_array(
    group: zarr.Group, name: str, multiscale: Multiscale
) -> zarr.Array[Any] | AxisView:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise VolumeError(f"dataset {name!r} is a group, not an array")
    if array.ndim != len(multiscale.axes):
        raise VolumeError(f"array {name!r} has {array.ndim} axes, not {len(multiscale.axes)}")
    if min(array.shape) < 1:
        raise VolumeError(f"array {name!r} of shape {array.shape} holds no voxel")
    size = int(np.prod(array.chunks, dtype=object)) * array.dtype.itemsize
    if size > LARGEST_CHUNK_BYTES:
        raise VolumeError(f"a chunk of array {name!r} takes {size:.1e} bytes: not a usable image")
    check_decoding(array)
    return array if multiscale.axes == AXES else AxisView(array, multiscale.axes)


def _levels(shapes: list[Any], frames: tuple[Frame, ...]) -> list[Level]:
    base = frames[0].spacing_um
    levels: list[Level] = []
    before = (1, 1, 1)
    for shape, frame in zip(shapes, frames, strict=True):
        ratios = (s / b for s, b in zip(frame.spacing_um, base, strict=True))
        fz, fy, fx = (max(1, round(r)) for r in ratios)
        sz, sy, sx = (max(1, f // b) for f, b in zip((fz, fy, fx), before, strict=True))
        levels.append(Level((shape[0], shape[1], shape[2]), (fz, fy, fx), (sz, sy, sx)))
        before = (fz, fy, fx)
    return levels


def _triple(size: int | ZYX) -> ZYX:
    return (size, size, size) if isinstance(size, int) else size
