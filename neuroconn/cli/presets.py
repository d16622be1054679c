"""``neuroconn presets``: list, show and check."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

    from neuroconn.config import Settings

SCHEMAS = {
    "convert": ("neuroconn.config.convert", "ConvertSettings"),
    "infer": ("neuroconn.config.infer", "InferSettings"),
    "overlay": ("neuroconn.config.overlay", "OverlaySettings"),
    "train": ("neuroconn.config.train", "TrainSettings"),
}
"""Module and schema of each command that takes presets; imported when asked for."""

_WIDTH = 96


def schema_of(command: str) -> type[Settings]:
    """Return the settings schema of a command."""
    module, name = SCHEMAS[command]
    schema: type[Settings] = getattr(importlib.import_module(module), name)
    return schema


@click.group()
def command() -> None:
    """List, show and check presets.

    A preset holds only what differs from the defaults. `show` prints all settings it results in: a
    file to start an own preset from.
    """


@command.command("list")
@click.argument("name", metavar="[COMMAND]", required=False, type=click.Choice(list(SCHEMAS)))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(name: str | None, as_json: bool) -> None:
    """List the presets there are, of COMMAND or of all."""
    from neuroconn.config import list_presets

    found = list_presets(name)
    if as_json:
        click.echo(json.dumps(found))
        return
    for owner, names in found.items():
        for preset in names:
            click.echo(f"{owner:8} {preset:20} {_purpose(owner, preset)}".rstrip())


@command.command()
@click.argument("name", metavar="COMMAND", type=click.Choice(list(SCHEMAS)))
@click.argument("preset", metavar="NAME")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, preset: str, assignments: tuple[str, ...], as_json: bool) -> None:
    """Print all settings of the preset NAME, with what each means."""
    settings = _read(name, preset, *assignments)
    click.echo(settings.model_dump_json() if as_json else "\n".join(annotated(settings)))


@command.command()
@click.argument("name", metavar="COMMAND", type=click.Choice(list(SCHEMAS)))
@click.argument("file", type=click.Path(path_type=Path))
def check(name: str, file: Path) -> None:
    """Check that FILE is a preset of COMMAND; the error names each wrong key."""
    from neuroconn.config.base import read_settings

    read_settings(schema_of(name), file)
    click.echo(f"{file} is a preset of {name}")


def annotated(settings: BaseModel, indent: str = "") -> Iterator[str]:
    """Yield settings as YAML lines, each under a comment that says what it means."""
    plain = settings.model_dump(mode="json")
    for key, info in type(settings).model_fields.items():
        if key not in plain:
            continue  # it does not apply
        value = getattr(settings, key)
        yield from _comment(info.description, indent)
        if _is_settings(value):
            yield f"{indent}{key}:"
            yield from annotated(value, indent + "  ")
        else:
            yield from _plain(key, plain[key], indent)


def _is_settings(value: object) -> bool:
    return hasattr(value, "model_dump") and bool(type(value).model_fields)  # type: ignore[attr-defined]


def _plain(key: str, value: Any, indent: str) -> Iterator[str]:
    import yaml

    # Numbers and words a line each, lists of them on one line.
    flow = None if isinstance(value, list | dict) else False
    text = yaml.safe_dump(
        {key: value}, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=_WIDTH
    )
    yield from (indent + line for line in text.splitlines())


def _comment(text: str | None, indent: str) -> Iterator[str]:
    import textwrap

    prefix = f"{indent}# "
    yield from textwrap.wrap(
        " ".join((text or "").split()), _WIDTH, initial_indent=prefix, subsequent_indent=prefix
    )


def _read(name: str, preset: str, *assignments: str) -> Settings:
    from neuroconn.config import find_preset
    from neuroconn.config.base import read_settings

    return read_settings(schema_of(name), find_preset(name, preset), *assignments)


def _purpose(name: str, preset: str) -> str:
    """Return the first sentence of a preset's opening comment: when to choose it."""
    from neuroconn.config import find_preset

    words: list[str] = []
    for line in find_preset(name, preset).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words += line.lstrip("# ").split()
    sentence = " ".join(words).partition(". ")[0]
    return sentence.removesuffix(".")
