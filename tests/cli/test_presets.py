"""``neuroconn presets``: list, show and check."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.cli.presets import SCHEMAS, annotated, schema_of
from neuroconn.config import list_presets, load_yaml
from neuroconn.config.base import Settings

PRESETS = [(command, name) for command, names in list_presets().items() for name in names]


class Inner(Settings):
    """Part of a part."""

    depth: int = 2
    """How deep."""


class Outer(Settings):
    """Settings of a made-up command."""

    size: float = 1e-5
    """What the number means, said at such a length that the comment above it cannot possibly fit
    on a line of its own and has to be broken."""
    words: tuple[str, ...] = ("no", "1e3", "a: b")
    inner: Inner = Inner()
    """The part."""
    parts: tuple[Inner, ...] = (Inner(), Inner(depth=3))
    nothing: int | None = None


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["presets", *map(str, arguments)])


def test_every_setting_is_shown_under_what_it_means() -> None:
    lines = list(annotated(Outer()))

    assert lines[-4:] == ["parts:", "- {depth: 2}", "- {depth: 3}", "nothing: null"]
    assert lines[0].startswith("# What the number means")
    assert lines[1].startswith("# ")
    assert "  # How deep." in lines
    assert max(map(len, lines)) <= 100


def test_what_is_shown_reads_back_as_the_same_settings() -> None:
    settings = Outer(words=("yes", "null"), inner=Inner(depth=9), nothing=3)

    again = load_yaml("\n".join(annotated(settings)))

    assert Outer.model_validate(again) == settings


@pytest.mark.parametrize(("command", "name"), PRESETS)
def test_a_shown_preset_checks_as_a_preset(command: str, name: str, tmp_path: Path) -> None:
    shown = run("show", command, name)
    assert shown.exit_code == 0, shown.output
    file = tmp_path / "own.yaml"
    file.write_text(shown.stdout)

    checked = run("check", command, file)

    assert checked.exit_code == 0, checked.output
    assert (
        run("show", command, file, "--json").stdout == run("show", command, name, "--json").stdout
    )


def test_list_names_all_and_those_of_one_command() -> None:
    everything = run("list")
    assert all(f"{c:8} {n}" in everything.stdout for c, n in PRESETS)

    one = json.loads(run("list", "infer", "--json").stdout)
    assert one == list_presets("infer")


def test_list_says_when_to_choose_a_preset() -> None:
    assert "A first look at a new brain" in run("list", "infer").stdout


def test_show_applies_assignments() -> None:
    shown = json.loads(run("show", "infer", "default", "--set", "halo=48", "--json").stdout)

    assert shown["halo"] == 48
    assert shown["evidence"]["threshold"] == 8.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "infer", "nope"), "no infer preset 'nope'"),
        (("show", "dance", "default"), "'dance' is not one of"),
        (("check", "infer", "nowhere.yaml"), "cannot read"),
    ],
)
def test_what_is_not_there_is_a_usage_error(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("hola: 32\n")

    result = run("check", "infer", file)

    assert result.exit_code == 2
    assert "'hola'" in result.stderr
    assert "halo" in result.stderr


@pytest.mark.parametrize("command", SCHEMAS)
def test_every_setting_of_every_command_is_explained(command: str) -> None:
    schema = schema_of(command)

    assert schema().model_dump_json() == schema.model_validate({}).model_dump_json()
    assert all(info.description for info in schema.model_fields.values())
