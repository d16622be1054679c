"""Groups and arrays of a Zarr hierarchy, from their metadata documents alone.

The documents are read before zarr sees them: nothing depends on listing, which HTTP servers do
not offer, and a codec that would unpickle is met as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from neuroconn.errors import VolumeError
from neuroconn.volume.checked_reads import one_line
from neuroconn.volume.sources.stores.place import Place


@dataclass(frozen=True)
class Node:
    """A group or an array."""

    path: str
    """Relative to the root, empty for the root itself."""
    zarr_format: int
    """2 or 3."""
    is_array: bool
    document: Mapping[str, Any]
    attributes: Mapping[str, Any]
    facts: tuple[str, ...]
    """The documents as they were read, for an identity."""

    @property
    def dimension_names(self) -> tuple[Any, ...] | None:
        """Names of an array's axes, as Zarr v3 or xarray write them."""
        names = self.document.get("dimension_names") or self.attributes.get("_ARRAY_DIMENSIONS")
        return tuple(names) if isinstance(names, list) else None

    @cached_property
    def codecs(self) -> list[str]:
        """Names of every codec an array asks for, those inside shards too."""
        if self.zarr_format == 2:
            filters = self.document.get("filters")
            steps = [
                *(filters if isinstance(filters, list) else ()),
                self.document.get("compressor"),
            ]
            return [str(s.get("id")) for s in steps if isinstance(s, Mapping)]
        return list(_codec_names(self.document.get("codecs"), 0))


class Hierarchy:
    """Nodes of one place, each read once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._nodes: dict[str, Node | None] = {}

    def node(self, path: str) -> Node | None:
        """Return the node at a path, None if there is none.

        Raises
        ------
        VolumeError
            If its metadata is damaged.
        """
        if path not in self._nodes:
            self._nodes[path] = self._v3(path) or self._v2(path)
        return self._nodes[path]

    def children(self, path: str) -> list[Node] | None:
        """Return what is inside a group; None where that cannot be known.

        A place that cannot be listed still knows them if the metadata is consolidated.
        """
        names = self.place.children(path)
        if names is None:
            names = self._consolidated(path)
        if names is None:
            return None
        nodes = (self.node(join(path, name)) for name in names)
        return [node for node in nodes if node is not None]

    def address(self, path: str) -> str:
        """Where a node lies, for messages."""
        return f"{self.place.where}/{path}" if path else self.place.where

    def _v3(self, path: str) -> Node | None:
        key = join(path, "zarr.json")
        text = self.place.document(key)
        if text is None:
            return None
        document = self._parsed(key, text)
        kind = document.get("node_type")
        if document.get("zarr_format") != 3 or kind not in ("array", "group"):
            raise VolumeError(
                f"{self.address(key)} describes neither a Zarr v3 array nor a group "
                f"(zarr_format {document.get('zarr_format')!r}, node_type {kind!r})"
            )
        attributes = document.get("attributes") or {}
        if not isinstance(attributes, Mapping):
            raise VolumeError(f"{self.address(key)}: attributes are no table; it is damaged")
        return Node(path, 3, kind == "array", document, attributes, (_text(text),))

    def _v2(self, path: str) -> Node | None:
        texts = {name: self.place.document(join(path, name)) for name in (".zarray", ".zattrs")}
        if texts[".zarray"] is None:
            texts[".zgroup"] = self.place.document(join(path, ".zgroup"))
        found = {name: text for name, text in texts.items() if text is not None}
        if not found:
            return None
        parsed = {name: self._parsed(join(path, name), text) for name, text in found.items()}
        document = parsed.get(".zarray") or parsed.get(".zgroup") or {}
        facts = tuple(_text(text) for text in found.values())
        return Node(path, 2, ".zarray" in parsed, document, parsed.get(".zattrs", {}), facts)

    def _parsed(self, key: str, text: bytes) -> Mapping[str, Any]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            state = "is empty" if not text.strip() else f"is no JSON ({one_line(error)})"
            raise VolumeError(
                f"{self.address(key)} {state}: the metadata is truncated or damaged. Copy it again"
            ) from error
        if not isinstance(document, Mapping):
            raise VolumeError(f"{self.address(key)} holds no table; the metadata is damaged")
        return document

    def _consolidated(self, path: str) -> list[str] | None:
        root = self.node("")
        inline = root.document.get("consolidated_metadata") if root else None
        entries = inline.get("metadata") if isinstance(inline, Mapping) else None
        if entries is None and root is not None and root.zarr_format == 2:
            text = self.place.document(".zmetadata")
            entries = self._parsed(".zmetadata", text).get("metadata") if text else None
        if not isinstance(entries, Mapping):
            return None
        prefix = f"{path}/" if path else ""
        inside = (str(key)[len(prefix) :] for key in entries if str(key).startswith(prefix))
        names = {rest.split("/")[0] for rest in inside}
        return sorted(n for n in names if n not in ("", "..") and not n.startswith(".z"))


def join(*parts: str) -> str:
    """Join keys; empty parts are left out."""
    return "/".join(part for part in parts if part)


def _codec_names(codecs: Any, depth: int) -> list[str]:
    names = []
    for codec in codecs if isinstance(codecs, list) and depth < 8 else ():
        if isinstance(codec, str):
            names.append(codec)
        elif isinstance(codec, Mapping):
            names.append(str(codec.get("name")))
            inner = codec.get("configuration")
            if isinstance(inner, Mapping):
                names += _codec_names(inner.get("codecs"), depth + 1)
                names += _codec_names(inner.get("index_codecs"), depth + 1)
    return names


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
