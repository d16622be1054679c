"""Which array of a Zarr hierarchy is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuroconn.errors import UsageError, VolumeError
from neuroconn.volume.sources.stores.nodes import Hierarchy, Node, join
from neuroconn.volume.sources.stores.ome_image import (
    OmeLevel,
    content,
    level_of,
    parse_image,
    series_paths,
)

LISTED = 12
"""Candidates named in a message."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An array, and what OME-Zarr says about it."""

    array: Node
    level: OmeLevel | None
    """None if the array belongs to no image."""
    documents: tuple[str, ...]
    """Metadata the choice rests on."""


def choose_array(hierarchy: Hierarchy, dataset: str | None) -> Chosen:
    """Find the one array that is meant.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where to look.
    dataset : str, optional
        Path from the root: an array, a level of an image, an image, or a group that holds one.
        Without it the root is taken: an image stands for its finest level, a container for the
        only image or, failing images, the only array in it.

    Raises
    ------
    VolumeError
        If nothing there is a volume, or several are; the message lists them.
    UsageError
        If ``dataset`` does not exist.
    """
    root = hierarchy.node("")
    if root is None:
        raise VolumeError(
            f"{hierarchy.place.where} is no Zarr: it has no zarr.json, .zgroup or .zarray; "
            "check the path"
        )
    if dataset is None:
        return _resolve(hierarchy, root)
    return _named(hierarchy, _checked_path(dataset, hierarchy.place.where))


def _named(hierarchy: Hierarchy, path: str) -> Chosen:
    """Resolve a path; an array that is a level of an image above it keeps the image's facts."""
    parts = path.split("/")
    for depth in range(len(parts) - 1, -1, -1):
        above = hierarchy.node("/".join(parts[:depth]))
        if above is not None and not above.is_array and content(above.attributes) == "image":
            chosen = _level(hierarchy, above, "/".join(parts[depth:]))
            if chosen is not None:
                return chosen
    node = hierarchy.node(path)
    if node is None:
        root = hierarchy.node("")
        held = _candidates(hierarchy, root) if root is not None else None
        raise UsageError(f"{hierarchy.place.where} holds no dataset {path!r}{_listed(held)}")
    return _resolve(hierarchy, node)


def _resolve(hierarchy: Hierarchy, node: Node) -> Chosen:
    where = hierarchy.address(node.path)
    if node.is_array:
        return Chosen(node, None, node.facts)
    kind = content(node.attributes)
    if kind == "image":
        chosen = _level(hierarchy, node, None)
        assert chosen is not None
        return chosen
    if kind in ("plate", "well"):
        raise VolumeError(
            f"{where} is a {kind} of a screen (OME-Zarr HCS), not one brain; name a field of it, "
            "such as --dataset A/1/0"
        )
    held = _series(hierarchy, node) if kind == "series" else hierarchy.children(node.path)
    return _only(hierarchy, node, held)


def _only(hierarchy: Hierarchy, node: Node, held: Sequence[Node] | None) -> Chosen:
    where = hierarchy.address(node.path)
    if held is None:
        raise VolumeError(
            f"{where} is a group whose members cannot be listed; name the array: --dataset PATH"
        )
    images = [n for n in held if not n.is_array and content(n.attributes) in ("image", "series")]
    arrays = [n for n in held if n.is_array and not _is_coordinate(n)]
    found = images or arrays
    if not found:
        raise VolumeError(f"{where} is a group that holds neither an image nor a volume; check it")
    if len(found) > 1:
        what = "images" if images else "arrays"
        names = _listed([n.path for n in found])
        raise VolumeError(f"{where} holds {len(found)} {what}; choose one with --dataset{names}")
    return _resolve(hierarchy, found[0])


def _is_coordinate(array: Node) -> bool:
    shape = array.document.get("shape")
    return isinstance(shape, list) and len(shape) == 1


def _level(hierarchy: Hierarchy, image: Node, path: str | None) -> Chosen | None:
    where = hierarchy.address(image.path)
    multiscale, notes = parse_image(image.attributes, where)
    level = level_of(multiscale, path, where, notes)
    if level is None:
        return None
    array = hierarchy.node(join(image.path, level.path))
    if array is None or not array.is_array:
        state = "is missing" if array is None else "is a group"
        raise VolumeError(f"{where}: the metadata lists the array {level.path!r}, which {state}")
    return Chosen(array, level, (*image.facts, *array.facts))


def _series(hierarchy: Hierarchy, container: Node) -> list[Node]:
    """Images of a bioformats2raw container: as its ``OME`` group lists them, else 0, 1, 2, ..."""
    ome = hierarchy.node(join(container.path, "OME"))
    listed = series_paths(ome.attributes) if ome is not None else None
    if listed is not None:
        try:
            paths = [_checked_path(p, hierarchy.address(container.path)) for p in listed]
        except UsageError as error:  # the file's mistake, not the user's
            raise VolumeError(str(error)) from None
        nodes = {p: hierarchy.node(join(container.path, p)) for p in paths}
        missing = [p for p, node in nodes.items() if node is None]
        if missing:
            raise VolumeError(
                f"{hierarchy.address(container.path)} lists the series {missing[0]!r}, which is "
                "missing; copy it again"
            )
        return [node for node in nodes.values() if node is not None]
    return list(_counted(hierarchy, container.path))


def _counted(hierarchy: Hierarchy, path: str) -> Iterator[Node]:
    number = 0
    while (node := hierarchy.node(join(path, str(number)))) is not None:
        yield node
        number += 1


def _candidates(hierarchy: Hierarchy, node: Node) -> list[str] | None:
    kind = content(node.attributes)
    if node.is_array:
        return []
    if kind == "image":
        where = hierarchy.address(node.path)
        return list(parse_image(node.attributes, where)[0].paths)
    held = _series(hierarchy, node) if kind == "series" else hierarchy.children(node.path)
    return None if held is None else [n.path for n in held]


def _listed(names: Sequence[str] | None) -> str:
    """End of a message: what there is."""
    if names is None:
        return "; check its path"
    if not names:
        return "; it is an array itself"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f": there is {', '.join(names[:LISTED])}{more}"


def _checked_path(path: str, where: str) -> str:
    parts = path.strip("/").split("/")
    if not all(parts) or any(p in (".", "..") or "\\" in p or "\0" in p for p in parts):
        raise UsageError(f"dataset {path!r} is no path inside {where}; name one without '..'")
    return "/".join(parts)
