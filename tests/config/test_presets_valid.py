"""Every preset that comes with the package is valid, and says only what differs."""

import importlib
from pathlib import Path

import pytest
from pydantic import BaseModel

from neuroconn.cli.presets import SCHEMAS, schema_of
from neuroconn.config import load_yaml
from neuroconn.config.base import read_settings
from neuroconn.config.presets import folder

# Experiments are read by the study, not by a command; tests/benchmarks/test_study.py checks them.
FILES = sorted(p for p in folder("configs").glob("*/*.yaml") if p.parent.name != "experiments")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_preset_fits_the_schema_of_its_command(path: Path) -> None:
    read_settings(schema_of(path.parent.name), path)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_preset_opens_with_when_to_choose_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]

    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_preset_repeats_no_default(path: Path) -> None:
    given = load_yaml(path.read_text(encoding="utf-8"))
    defaults = schema_of(path.parent.name)().model_dump(mode="json")

    assert not list(repeated(given, defaults))


def repeated(given: dict[str, object], defaults: dict[str, object]) -> list[str]:
    """Keys whose value is the default's."""
    found = []
    for key, value in given.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            found += [f"{key}.{k}" for k in repeated(value, default)]
        elif value == default and type(value) is type(default) and key != "name":
            found.append(key)
    return found


def test_there_are_presets_for_every_command() -> None:
    assert {p.parent.name for p in FILES} == set(SCHEMAS)
    assert all(issubclass(schema_of(c), BaseModel) for c in SCHEMAS)
    assert all(importlib.import_module(module) for module, _ in SCHEMAS.values())
