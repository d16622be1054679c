"""The folder of a dataset while it is built: made whole, noted, finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from neuroconn.errors import OutputError
from neuroconn.inference.identity import differences
from neuroconn.training.dataset.excerpts import Excerpts
from neuroconn.training.dataset.layout import (
    FIGURES,
    KIND,
    SCHEMA,
    create_arrays,
    own_block,
    stored_file,
    storing,
    write_rows,
)
from neuroconn.training.dataset.plan import Plan
from neuroconn.volume.codecs import Compression
from neuroconn.volume.convert_journal import ConvertJournal, make_durable
from neuroconn.volume.creation import place_in_folder


class BuildFolder:
    """One process writes to it at a time; what is in the journal is on disk."""

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        self.path = path
        try:
            # Inside a folder that is an array, so that no reader of the group stumbles over it.
            self._journal = ConvertJournal(path / FIGURES, {"dataset": identity_of(provenance)})
        except OutputError:
            raise OutputError(f"another process is writing {path}; wait for it to end") from None
        self.done = {int(record["first"]) for record in self._journal.records()}
        self.group = zarr.open_group(str(path), mode="r+", zarr_format=3)

    @classmethod
    def open(
        cls,
        path: Path,
        plan: Plan,
        provenance: Mapping[str, Any],
        *,
        dtype: np.dtype[Any],
        clip: float,
        compression: Compression,
        excerpts: Excerpts,
    ) -> BuildFolder:
        """Make the folder, or take up the one that is there and known to be the same."""
        if path.exists() and any(path.iterdir()):
            return cls(path, provenance)
        held: dict[str, Buffer] = {}
        block = {"schema": SCHEMA, "kind": KIND, "complete": False, **provenance}
        group = zarr.create_group(MemoryStore(held), zarr_format=3, attributes={"neuroconn": block})
        nodes, edges = excerpts.offsets
        create_arrays(
            group, plan, dtype, clip=clip, nodes=int(nodes[-1]), edges=int(edges[-1]),
            compression=compression,
        )  # fmt: skip
        note: dict[str, Any] = {"neuroconn": {"what": "pictures and a table for people; no voxels"}}
        # A group would make readers list the folder and warn about it; an array is not listed.
        group.create_array(FIGURES, shape=(1,), dtype="uint8", chunks=(1,), attributes=note)
        with storing(str(path)):
            place_in_folder(path, {key: held[key].to_bytes() for key in sorted(held)})
        return cls(path, provenance)

    @property
    def figures(self) -> Path:
        """Where pictures go."""
        return self.path / FIGURES

    def note(self, first: int, arrays: Mapping[str, zarr.Array[Any]]) -> None:
        """Record that the shard of crop ``first`` is written, once it is on disk."""
        paths = []
        for array in arrays.values():
            per = (array.shards or array.chunks)[0]
            paths.append(stored_file(array, self.path, first // per))
        make_durable([*paths, *(path.parent for path in paths)])
        self._journal.append({"first": first})
        self.done.add(first)

    def write_tables(self, plan: Plan, excerpts: Excerpts) -> None:
        """Write what is known of every crop beside its voxels."""
        nodes, edges = excerpts.offsets
        tables: dict[str, NDArray[Any]] = {
            "brain": plan.brain.astype(np.uint16),
            "start": plan.starts,
            "voxels": plan.voxels,
            "split": plan.splits.astype(np.uint8),
            "node_offset": nodes,
            "edge_offset": edges,
        }
        for name, values in tables.items():
            array = cast("zarr.Array[Any]", self.group[name])
            per = (array.shards or array.chunks)[0]
            for first in range(0, len(values), per):
                write_rows(array, first, values[first : first + per])

    def finish(self) -> None:
        """Say that everything is there."""
        block = own_block(self.group.attrs.asdict()) or {}
        with storing(str(self.path)):
            self.group.update_attributes({"neuroconn": {**block, "complete": True}})
            make_durable([self.path / "zarr.json", self.path])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._journal.__exit__(kind, error, trace)


def identity_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the bytes of the crops depend on: not where brains lie, nor the version."""
    brains = provenance.get("brains", [])
    places = ("brain", "name")
    return {
        "settings": provenance.get("settings"),
        "brains": [{k: v for k, v in brain.items() if k not in places} for brain in brains],
    }


def is_finished(path: Path, provenance: Mapping[str, Any], *, resume: bool) -> bool:
    """Whether all of this dataset is there; False if nothing is.

    Raises
    ------
    OutputError
        If the path holds anything else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    return _check_same(path, provenance, resume=resume)


def _check_same(path: Path, provenance: Mapping[str, Any], *, resume: bool) -> bool:
    try:
        group = zarr.open_group(str(path), mode="r", zarr_format=3)
        block = own_block(group.attrs.asdict())
    except (OSError, ValueError, KeyError, TypeError):
        block = None
    if block is None:
        raise OutputError(f"{path} holds something that is not a dataset: choose another output")
    if changed := differences(identity_of(block), identity_of(provenance)):
        raise OutputError(
            f"{path} holds another dataset ({'; '.join(changed[:4])}): choose another output, or "
            "repeat the settings to continue it"
        )
    if not resume:
        raise OutputError(f"{path} holds a dataset already: resume it, or choose another output")
    return bool(block.get("complete"))
