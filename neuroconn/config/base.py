"""Strict YAML and strict schemas.

A misspelt key, a key given twice or a YAML alias is an error that names it: all three are silent
in plain ``yaml.safe_load``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from neuroconn.errors import ConfigError


class Settings(BaseModel):
    """Base of every settings schema: frozen, no unknown keys, finite, defaults live here."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


S = TypeVar("S", bound=Settings)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without aliases or duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise ConfigError(f"YAML aliases are not allowed (line {event.start_mark.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError(f"key {key!r} is given twice (line {line})")
            seen.add(key)
        return dict(super().construct_mapping(node, deep=deep))


def load_yaml(text: str, *, source: str = "YAML") -> dict[str, Any]:
    """Parse one YAML mapping; an empty text is an empty mapping.

    Raises
    ------
    ConfigError
        If the text is not YAML, not a mapping, uses aliases or repeats a key.
    """
    try:
        data = yaml.load(text, Loader=_StrictLoader)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise ConfigError(f"{source} is not valid YAML: {str(error).splitlines()[0]}") from None
    if data is None:
        return {}
    if not isinstance(data, dict) or not all(isinstance(k, str) for k in data):
        raise ConfigError(f"{source} must be a mapping of names to values")
    return data


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Turn ``["a.b=1", "c=[1, 2]"]`` into ``{"a": {"b": 1}, "c": [1, 2]}``.

    Raises
    ------
    ConfigError
        If an assignment has no ``=`` or its value is not YAML.
    """
    tree: dict[str, Any] = {}
    for assignment in assignments:
        name, found, value = assignment.partition("=")
        if not found or not name:
            raise ConfigError(f"--set wants key=value, got {assignment!r}")
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {name}: {parent!r} already has a plain value")
        node[leaf] = load_yaml(f"value: {value}", source=f"--set {name}")["value"]
    return tree


def resolve(schema: type[S], *layers: Mapping[str, Any], source: str = "settings") -> S:
    """Merge ``layers`` (later ones win, mappings merge) and check them against ``schema``.

    Raises
    ------
    ConfigError
        One line that names each wrong key and why.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer)
    try:
        return schema.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error, schema)}") from None


def read_settings(schema: type[S], path: Path, *assignments: str) -> S:
    """Read a YAML file into ``schema``, with ``key=value`` overrides on top."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    layers = load_yaml(text, source=str(path)), parse_assignments(assignments)
    return resolve(schema, *layers, source=str(path))


def _merge(into: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            if not isinstance(into.get(key), dict):
                into[key] = {}
            _merge(into[key], value)
        else:
            into[key] = value


def _explain(error: ValidationError, schema: type[BaseModel]) -> str:
    reasons = []
    for item in error.errors():
        name = ".".join(map(str, item["loc"])) or "value"
        if item["type"] == "extra_forbidden":
            known = ", ".join(_part(schema, item["loc"][:-1]).model_fields)
            reasons.append(f"unknown key {name!r} (known: {known})")
        else:
            reasons.append(f"{name}: {item['msg']} (got {item.get('input')!r})")
    return "; ".join(reasons)


def _part(schema: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the schema that a path of keys and list positions leads to, as far as it is one."""
    for name in path:
        field = schema.model_fields.get(str(name))
        if field is not None:
            inside = (field.annotation, *get_args(field.annotation))
            models = [t for t in inside if isinstance(t, type) and issubclass(t, BaseModel)]
            schema = models[0] if models else schema
    return schema
