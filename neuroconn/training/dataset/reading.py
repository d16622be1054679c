"""Reading a dataset: any crop, from any thread, one crop in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from neuroconn.annotation import Graph
from neuroconn.errors import InterruptedRunError, VolumeError
from neuroconn.geometry import Box
from neuroconn.training.crop import SPLITS
from neuroconn.training.dataset.layout import SCHEMA, VOLUMES, own_block, stored_files
from neuroconn.training.dataset.squares import decode
from neuroconn.volume.address import Address, address_of
from neuroconn.volume.engines import chosen_engine
from neuroconn.volume.object_store import zarr_store


@dataclass(frozen=True)
class Dataset:
    """A finished dataset; a small value that reads voxels when asked."""

    path: Address
    """Where it is."""
    group: zarr.Group
    """The Zarr group, for reading."""
    provenance: Mapping[str, Any]
    """Settings, brains and version it was made with."""

    def __len__(self) -> int:
        return len(self.splits)

    @property
    def size(self) -> int:
        """Edge of a crop, in voxels."""
        return int(self.provenance["settings"]["size"])

    @property
    def clip(self) -> float:
        """Where its distances are cut off, in voxels."""
        return float(self.provenance["settings"]["clip"])

    @property
    def brains(self) -> list[Mapping[str, Any]]:
        """What is known of each brain: name, shape, voxel size, intensities, SWC files."""
        return list(self.provenance["brains"])

    def numbers(self, split: str) -> NDArray[np.int64]:
        """Crops of a split, ascending."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def box(self, number: int) -> Box:
        """Where a crop lies in its brain."""
        z, y, x = self._starts[number].tolist()
        return Box((z, y, x), (z + self.size, y + self.size, x + self.size))

    def brain_of(self, number: int) -> Mapping[str, Any]:
        """Brain a crop was cut from."""
        return self.brains[int(self._brains[number])]

    def image(self, number: int) -> NDArray[Any]:
        """Grey levels of a crop, shape (z, y, x)."""
        return self._read("image", number)

    def centreline(self, number: int) -> NDArray[np.bool_]:
        """Voxels of a crop that a neurite passes through, shape (z, y, x)."""
        return self._read("centreline", number)

    def distance(self, number: int) -> NDArray[np.float32]:
        """Distance map of a crop in voxels, shape (z, y, x)."""
        return decode(self.squares(number), self.clip)

    def squares(self, number: int) -> NDArray[Any]:
        """Distance map of a crop as stored, shape (z, y, x): 0 on a neurite; see `decode`."""
        return self._read("distance", number)

    def graph(self, number: int) -> Graph:
        """Annotation within the clip of a crop, in voxels of the crop."""
        nodes = slice(*self._node_offsets[number : number + 2].tolist())
        edges = slice(*self._edge_offsets[number : number + 2].tolist())
        return Graph(
            self._read("nodes", nodes), self._read("edges", edges), self._read("radii", nodes)
        )

    @cached_property
    def splits(self) -> NDArray[np.uint8]:
        """(n,) index into ``SPLITS`` of every crop."""
        return self._read("split", slice(None))

    @cached_property
    def voxels(self) -> NDArray[np.int64]:
        """(n,) neurite voxels of every crop."""
        return self._read("voxels", slice(None))

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return self._read("start", slice(None))

    @cached_property
    def _brains(self) -> NDArray[np.uint16]:
        return self._read("brain", slice(None))

    @cached_property
    def _node_offsets(self) -> NDArray[np.int64]:
        return self._read("node_offset", slice(None))

    @cached_property
    def _edge_offsets(self) -> NDArray[np.int64]:
        return self._read("edge_offset", slice(None))

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = dict(self.group.arrays())
        if isinstance(self.path, Path) and chosen_engine(None) == "tensorstore":
            # A read costs a seventh of zarr-python's, and lets other threads run.
            names = (*VOLUMES, "nodes", "radii", "edges")
            arrays |= {name: _fast_array(self.path / name) for name in names}
        return arrays

    def _read(self, name: str, rows: int | slice) -> NDArray[Any]:
        try:
            return np.asarray(self._arrays[name][rows])
        except (ValueError, RuntimeError, OSError, EOFError, KeyError) as error:
            raise VolumeError(
                f"{self.path}: {name} of row {rows} cannot be read ({error}): the dataset is "
                "damaged. Remove it and make it again"
            ) from error


def _fast_array(path: Path) -> Any:
    """Open an array through TensorStore; what is stored does not change any more."""
    import tensorstore

    store = {"driver": "file", "path": f"{path.resolve()}/"}
    return tensorstore.open(
        {"driver": "zarr3", "kvstore": store},
        read=True,
        open=True,
        recheck_cached=False,
        # Enough for the indices of some thousand shards.
        context=tensorstore.Context({"cache_pool": {"total_bytes_limit": 1 << 24}}),
    ).result()


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset made by ``neuroconn dataset``.

    Parameters
    ----------
    path : path or URL
        A folder, or an address on an object store.

    Raises
    ------
    VolumeError
        If it is no dataset, was not finished, or a file of it is missing.
    """
    at = address_of(path)
    try:
        group = zarr.open_group(zarr_store(at, "r"), mode="r", zarr_format=3)
        block = own_block(group.attrs.asdict())
    except (OSError, ValueError, KeyError, TypeError, InterruptedRunError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VolumeError(f"{at} is not a dataset: {reason}") from None
    if block is None:
        raise VolumeError(f"{at} is not a dataset: make one with neuroconn dataset")
    if block.get("schema") != SCHEMA:
        raise VolumeError(
            f"{at} was written by another version of neuroconn (schema {block.get('schema')!r}; "
            f"this one reads schema {SCHEMA}): make it again"
        )
    if not block.get("complete"):
        raise VolumeError(
            f"{at} was not finished: run the same neuroconn dataset command again to finish it"
        )
    found = Dataset(at, group, block)
    if isinstance(at, Path):
        _check_files(found, at)
    return found


def _check_files(dataset: Dataset, folder: Path) -> None:
    """Look for the files: one that is not there would read as zeros, without a word."""
    for name in VOLUMES:
        for file in stored_files(cast("zarr.Array[Any]", dataset.group[name]), folder):
            if not file.is_file() or not file.stat().st_size:
                raise VolumeError(f"{file} is missing or empty: make the dataset again")
