"""The metadata documents of a map, kept a second time in its run folder.

They are written once and are a few kilobytes, and without them no voxel can be read.
"""

from __future__ import annotations

import json
from typing import Any

from neuroconn.inference.output.folder import Folder, open_folder
from neuroconn.inference.output.run_folder import RunFolder
from neuroconn.volume.address import Address
from neuroconn.volume.store import Image

_KEPT = "metadata"
_ROOT = "zarr.json"


def keep_metadata(image: Image, folder: RunFolder) -> None:
    """Copy the documents of a new map into its run folder.

    Raises
    ------
    StorageError
        If the storage refuses.
    """
    held = open_folder(image.path)
    keys = [_ROOT, *(f"{name}/{_ROOT}" for name in image.paths)]
    folder.write_json(_KEPT, {key: _parsed(held.read(key)) for key in keys})


def damaged_documents(output: Address, folder: RunFolder) -> tuple[tuple[str, str], ...]:
    """Return the documents of a map that are not as they were, each with what is wrong.

    Attributes of the root may change, since viewers and people add to them.
    """
    held, kept = open_folder(output), folder.read_json(_KEPT) or {}
    found = ((key, _difference(held, key, document)) for key, document in kept.items())
    return tuple((key, reason) for key, reason in found if reason)


def restore_documents(output: Address, folder: RunFolder, keys: list[str]) -> None:
    """Put the copies of documents in their place.

    Raises
    ------
    StorageError
        If the storage refuses.
    """
    kept = folder.read_json(_KEPT) or {}
    for key in keys:
        place, _, name = key.rpartition("/")
        target = open_folder(output / place if place else output)
        target.prepare()
        target.write(name, json.dumps(kept[key], indent=2).encode())


def _difference(held: Folder, key: str, document: dict[str, Any]) -> str:
    data = held.read(key)
    if data is None:
        return "is missing"
    now = _parsed(data)
    if now is None:
        return "is damaged"
    return "" if _essence(key, now) == _essence(key, document) else "is not the one of this run"


def _essence(key: str, document: dict[str, Any]) -> Any:
    if key != _ROOT:
        return document
    attributes = document.get("attributes", {})
    own = attributes.get("neuroconn", {})
    run_id = own.get("attributes", {}).get("run_id") if isinstance(own, dict) else None
    return document.get("node_type"), run_id, "ome" in attributes


def _parsed(data: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(data or b"")
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
