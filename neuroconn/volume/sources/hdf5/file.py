"""HDF5 files opened with care: no way leads out of them, and every failure is one line."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroconn.errors import NeuroconnError, VolumeError

MAX_OBJECTS = 20_000
"""Groups and arrays that are looked at; a container with more wants its array named."""
MAX_SOFT_LINKS = 32


def h5py_module() -> Any:
    """Import h5py, which only HDF5 files need.

    Raises
    ------
    VolumeError
        If it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise VolumeError(
            "HDF5 files need h5py, which is not installed; pip install 'neuroconn[formats]'"
        ) from error


@contextmanager
def one_line(where: str, advice: str = "copy it again") -> Iterator[None]:
    """Turn whatever a library makes of damaged bytes into a VolumeError of one line.

    Parameters
    ----------
    where : str
        What is damaged, with its place.
    advice : str
        What to do about it.
    """
    try:
        yield
    except NeuroconnError:
        raise
    except Exception as error:  # damaged headers surface as almost any type
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise VolumeError(f"{where} is damaged or unreadable ({reason}); {advice}") from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file for reading its structure; what goes wrong meanwhile is a VolumeError."""
    with one_line(str(path)), open_for_reading(path) as file:
        yield file


def open_for_reading(path: Path, cache_bytes: int = 2**20) -> Any:
    """Open a file, with a cache for so many bytes of decoded chunks."""
    return h5py_module().File(
        path, "r", locking="best-effort", rdcc_nbytes=cache_bytes, rdcc_nslots=100_003
    )


def follow(file: Any, name: str, where: str) -> Any | None:
    """Return the object at a path, reached through hard links and soft links only.

    Parameters
    ----------
    file : h5py.File
        Where to look.
    name : str
        Path from the root.
    where : str
        The file, for messages.

    Returns
    -------
    h5py object or None
        None if there is no such object.

    Raises
    ------
    VolumeError
        If the path leads into another file, whose content nobody vouches for.
    """
    h5py = h5py_module()
    parts, here, links = _reversed_parts(name), file, 0
    while parts:
        part = parts.pop()
        if not isinstance(here, h5py.Group):
            return None
        kind, target = _link(here, part)
        if kind is None:
            return None
        if kind == "hard":
            here = here[part]
            continue
        if kind != "soft":
            raise VolumeError(
                f"{where}: {name} lies in another file ({target}), and links out of a file are "
                "not followed; convert that file, or save all in one"
            )
        links += 1
        if links > MAX_SOFT_LINKS:
            raise VolumeError(f"{where}: the links of {name} go round in a circle")
        here = file if target.startswith("/") else here
        parts += _reversed_parts(target)
    return here


def has_member(group: Any, name: str) -> bool:
    """Whether a group has a link of this name, wherever it leads."""
    return _link(group, name)[0] is not None


def arrays_in(file: Any, where: str) -> list[tuple[str, Any]]:
    """Return every array of a file and its path, in the order of paths; links are not followed.

    Raises
    ------
    VolumeError
        If there are too many objects to look at.
    """
    h5py = h5py_module()
    found: list[tuple[str, Any]] = []
    queue, seen = [("", file)], {_address(file)}
    while queue:
        path, group = queue.pop()
        for name in group:
            if _link(group, name)[0] != "hard":
                continue
            item = group[name]
            if _address(item) in seen:  # a group may be its own grandchild
                continue
            seen.add(_address(item))
            if len(seen) > MAX_OBJECTS:
                raise VolumeError(
                    f"{where} holds more than {MAX_OBJECTS} objects; name the array: --dataset NAME"
                )
            if isinstance(item, h5py.Group):
                queue.append((f"{path}/{name}", item))
            elif isinstance(item, h5py.Dataset):
                found.append((f"{path}/{name}".removeprefix("/"), item))
    return sorted(found, key=lambda entry: entry[0])


def _link(group: Any, name: str) -> tuple[str | None, str]:
    """Return the kind of a link and where it leads, without going there.

    Asking h5py whether a name is in a group would open the file that an external link names.
    """
    h5l, key = h5py_module().h5l, name.encode()
    if not group.id.links.exists(key):
        return None, ""
    kind = group.id.links.get_info(key).type
    if kind == h5l.TYPE_HARD:
        return "hard", ""
    value = group.id.links.get_val(key)
    if kind == h5l.TYPE_SOFT:
        return "soft", value.decode("utf-8", "surrogateescape")
    return "external", repr(value[0])


def _reversed_parts(name: str) -> list[str]:
    return [part for part in reversed(name.split("/")) if part not in ("", ".")]


def _address(item: Any) -> int:
    return int(h5py_module().h5o.get_info(item.id).addr)
