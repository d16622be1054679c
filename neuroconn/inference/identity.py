"""What a run is: everything that changes its bytes, and nothing else.

Weights, input, grid, padding, normalisation, rules, engine and encoding belong in it; workers,
windows, batches and paths do not. A run folder is resumed by the same identity or refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

if TYPE_CHECKING:
    from neuroconn.volume.store import Image

SCHEMA = 1
"""Raised when the meaning of a journal or of a stored core changes."""

LATER: dict[str, tuple[Any, ...]] = {
    "engine.kind": ("torch",),
    "on_damage": ("fail",),
    "region": (None,),
    "through_failed": ("all", "bridge"),
}
"""Fields that the first version did not write, with the values that mean what it did."""


def run_identity(**fields: Any) -> dict[str, Any]:
    """Bring ``fields`` to a canonical form that survives a round trip through JSON.

    Parameters
    ----------
    **fields
        Plain values, numpy scalars and arrays, sequences, mappings, dataclasses and settings.

    Returns
    -------
    dict
        Sorted by name, with the ``schema`` version; whole floats become ints, tuples lists.

    Raises
    ------
    TypeError
        If a value is a path (a moved brain is still the same run) or cannot be written as JSON.
    ValueError
        If a number is not finite, since NaN is not equal to itself.

    Examples
    --------
    >>> run_identity(chunk=(64, 64, 64), threshold=8.0)
    {'chunk': [64, 64, 64], 'schema': 1, 'threshold': 8}
    """
    plain = {"schema": SCHEMA, **fields}
    return {name: _canonical(plain[name], name) for name in sorted(plain)}


def brain_identity(image: Image, level: int) -> dict[str, Any]:
    """Say which voxels a run reads, without their path: shape, type, place, histogram."""
    array = image.array(level)
    attributes = image.attributes
    return {
        "shape": image.levels[level].shape,
        "level": level,
        "dtype": str(array.dtype),
        "frame": image.frames[level],
        "content": digest({"intensity": attributes.get("intensity", {})})[:16],
    }


def digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, the same for every order of its fields.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1.0})
    True
    """
    canonical = _canonical(identity, "identity")
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Name every field in which two identities differ, with both values.

    Parameters
    ----------
    a : mapping
        The identity as it was written, maybe by the first version of this package.
    b : mapping
        The identity now.

    Examples
    --------
    >>> differences({"rules": {"threshold": 8}}, {"rules": {"threshold": 6}, "bridge": 1})
    ['bridge: missing, now 1', 'rules.threshold: 8, now 6']
    """
    left = dict(_flat(_canonical(a, "identity")))
    right = dict(_flat(_canonical(b, "identity")))
    return [
        f"{'.'.join(path)}: {left.get(path, 'missing')}, now {right.get(path, 'missing')}"
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
        and not (path not in left and _is_as_before(path, right[path]))
    ]


def _is_as_before(path: tuple[str, ...], value: str) -> bool:
    """Whether a field that was not written says what was the case without it."""
    if path[0] == "network":  # was known by the digest of its weights alone
        return True
    return value in map(json.dumps, LATER.get(".".join(path), ()))


def _canonical(value: Any, name: str) -> Any:
    match value:
        case BaseModel():
            return _canonical(value.model_dump(), name)
        case np.ndarray() | np.generic():
            return _canonical(value.tolist(), name)
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}; an identity needs finite numbers")
            return int(value) if value.is_integer() else value
        case Mapping():
            return {str(k): _canonical(value[k], f"{name}.{k}") for k in sorted(value, key=str)}
        case list() | tuple():
            return [_canonical(v, f"{name}[{i}]") for i, v in enumerate(value)]
        case PurePath():
            raise TypeError(f"{name} is the path {value}; where files lie is no part of a run")
    if is_dataclass(value) and not isinstance(value, type):
        return _canonical(asdict(value), name)
    raise TypeError(f"{name} is a {type(value).__name__}, which has no canonical form")


def _flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Leaves as JSON, by path; lists are leaves, so that a shape is shown whole."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, (*path, key))
    else:
        yield path, json.dumps(value)  # in Python True == 1, on disk they differ
