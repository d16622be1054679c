"""The metadata of a new image, put where it shall be in one step.

They are made in memory, by zarr. A folder appears under its final name with all of them in it. On
an object store, where nothing can be renamed, the root document comes last: without it there is no
image, and who finds the rest knows that it was left unfinished.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from neuroconn.errors import OutputError
from neuroconn.geometry import Level
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.codecs import Layout, create_array
from neuroconn.volume.object_store import ROOTS
from neuroconn.volume.objects import Objects


@dataclass(frozen=True)
class Note:
    """An array without voxels that keeps Zarr readers out of a folder inside an image."""

    name: str
    attributes: Mapping[str, Any]


def documents(
    levels: Sequence[Level],
    layout: Layout,
    *,
    zarr_format: int,
    group_attributes: Mapping[str, Any],
    array_attributes: Mapping[str, Any],
    notes: Sequence[Note] = (),
) -> dict[str, bytes]:
    """Return the metadata documents of an image by key, those of its root last."""
    held: dict[str, Buffer] = {}
    group = zarr.create_group(
        MemoryStore(held),
        zarr_format=2 if zarr_format == 2 else 3,
        attributes=dict(group_attributes),
    )
    for number, level in enumerate(levels):
        create_array(group, str(number), level.shape, layout, dict(array_attributes))
    for note in notes:
        # A group would make readers list the folder and warn about it; an array is not listed.
        group.create_array(
            note.name, shape=(1,), dtype="uint8", chunks=(1,), attributes=dict(note.attributes)
        )
    roots = [key for key in ROOTS if key in held]
    order = [*sorted(key for key in held if key not in roots), *roots]
    return {key: held[key].to_bytes() for key in order}


def place_in_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder with these files in it, or nothing at all.

    Raises
    ------
    OutputError
        If the path is taken.
    """
    with _nursery(path) as new:
        for key, data in files.items():
            file = new / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def place_on_store(at: ObjectPath, files: Mapping[str, bytes]) -> None:
    """Store documents in their order; the same ones once more change nothing.

    Raises
    ------
    OutputError
        If another document is where the last one, which makes the image, shall be.
    StorageError
        If the server refuses.
    """
    objects = Objects(at)
    *first, last = files
    for key in first:
        objects.put(key, files[key])
    if not objects.create(last, files[last]):
        raise OutputError(f"another image appeared at {at} meanwhile; choose another output")


def refuse_taken_store(at: ObjectPath) -> None:
    """Refuse an address that holds anything, or cannot hold anything.

    Raises
    ------
    OutputError
        If so.
    StorageError
        If the server refuses, or there is no such bucket.
    """
    if not at.writable:
        raise OutputError(f"{at} can only be read; outputs go to folders and to s3:// addresses")
    found = next(Objects(at).list(), None)
    if found is not None:
        raise OutputError(
            f"{at} already holds something ({found[0]}), and nothing is ever overwritten; "
            "choose another output, or remove it"
        )


def _refuse_taken(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path} is a file or a link, not a folder; choose another output")
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(
            f"{path} already holds something, and nothing is ever overwritten; "
            "choose another output, or remove it"
        )


@contextmanager
def _nursery(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``path`` at the end, or nothing if that fails."""
    _refuse_taken(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
