"""Find presets (``configs/``) and sites (``cluster/``), from a wheel and from a checkout alike."""

from __future__ import annotations

import os
import re
from pathlib import Path

from neuroconn.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
_COMPOSE = re.compile(r"^services:", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def folder(name: str) -> Path:
    """Return the packaged folder ``name`` (``configs`` or ``cluster``).

    A wheel carries it inside the package, a checkout beside it.
    """
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


_STUDIES = "experiments"
"""Folder of ``configs`` that no command reads: comparisons of many training runs."""


def list_presets(command: str | None = None) -> dict[str, list[str]]:
    """Names of the presets of each command.

    Returns
    -------
    dict of str to list of str
        ``{"infer": ["default", "quick", ...], ...}``, sorted.
    """
    found: dict[str, set[str]] = {}
    for root in _roots("configs"):
        for path in root.glob("*/*.yaml"):
            if path.parent.name != _STUDIES:
                found.setdefault(path.parent.name, set()).add(path.stem)
    return {k: sorted(v) for k, v in sorted(found.items()) if command in (None, k)}


def list_sites() -> list[str]:
    """Names of the sites ``--scheduler`` accepts."""
    files = (p for root in _roots("cluster") for p in root.glob("*.yaml"))
    # Beside the sites lies a file for another program, under the name that it asks for.
    return sorted({p.stem for p in files if not _COMPOSE.search(p.read_text(encoding="utf-8"))})


def find_preset(command: str, name: str) -> Path:
    """Return the YAML file of a preset: a path as given, or a name looked up in ``configs/``.

    ``NEUROCONN_CONFIG_DIR`` is searched before the packaged presets; the working directory never
    is, so a stray file cannot change a result.

    Raises
    ------
    ConfigError
        If there is no such preset; the message lists those there are.
    """
    if _looks_like_path(name):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"no preset file {path}")
        return path
    known = ", ".join(list_presets(command).get(command, [])) or "none"
    return _named(_roots("configs"), command, name, f"no {command} preset {name!r}; known: {known}")


def find_site(name: str) -> Path:
    """Return the YAML file of a cluster site: a path as given, or a name in ``cluster/``.

    Raises
    ------
    ConfigError
        If there is no such site.
    """
    if _looks_like_path(name):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"no site file {path}")
        return path
    known = ", ".join(list_sites()) or "none"
    return _named(_roots("cluster"), ".", name, f"no cluster site {name!r}; known: {known}")


def _roots(kind: str) -> list[Path]:
    variable = {"configs": "NEUROCONN_CONFIG_DIR", "cluster": "NEUROCONN_CLUSTER_DIR"}[kind]
    own = os.environ.get(variable)
    return ([Path(own).expanduser()] if own else []) + [folder(kind)]


def _looks_like_path(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml"))


def _named(roots: list[Path], part: str, name: str, missing: str) -> Path:
    if _NAME.fullmatch(name):
        for root in roots:
            path = root / part / f"{name}.yaml"
            if path.is_file():
                return path
    raise ConfigError(missing)
