"""The group around the commands: help, exit codes, what goes where."""

import importlib
import logging
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from neuroconn import errors
from neuroconn.cli import COMMANDS, main

KNOWN = [
    (errors.UsageError, 2),
    (errors.ConfigError, 2),
    (errors.OutputError, 2),
    (errors.HaloError, 2),
    (errors.ClusterError, 2),
    (errors.VolumeError, 3),
    (errors.AnnotationError, 3),
    (errors.ModelError, 4),
    (errors.StorageError, 74),
    (errors.InterruptedRunError, 75),
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command ``status`` that raises what is put in the list."""
    raised: list[BaseException] = []

    @click.command()
    def command() -> None:
        click.echo("result")
        raise raised[0]

    module = importlib.import_module("neuroconn.cli.status")
    monkeypatch.setattr(module, "command", command)
    return raised


def test_help_lists_every_command_with_a_line_each() -> None:
    result = CliRunner().invoke(main, ["--help"])

    assert result.exit_code == 0
    for name, line in COMMANDS.items():
        assert f"  {name} " in result.output
        assert line.split()[0] in result.output


def test_h_is_help_and_a_bare_call_says_the_same() -> None:
    wanted = CliRunner().invoke(main, ["--help"]).output

    assert CliRunner().invoke(main, ["-h"]).output == wanted
    assert CliRunner().invoke(main, []).output == wanted


def test_the_version_is_printed() -> None:
    from neuroconn import __version__

    assert CliRunner().invoke(main, ["--version"]).output == f"neuroconn, version {__version__}\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_of_the_table_is_there_and_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])

    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 4


@pytest.mark.parametrize(
    ("wrong", "near"), [("infr", "infer"), ("trian", "train"), ("export-tiles", "export")]
)
def test_a_misspelt_command_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    result = CliRunner().invoke(main, [wrong])

    assert result.exit_code == 2
    assert f"No such command {wrong!r}. Did you mean {near!r}?" in result.stderr


def test_a_word_near_nothing_gets_no_guess() -> None:
    result = CliRunner().invoke(main, ["xyzzy"])

    assert result.exit_code == 2
    assert "Did you mean" not in result.stderr


@pytest.mark.parametrize(("kind", "code"), KNOWN)
def test_a_known_failure_is_one_line_and_its_exit_code(
    failing: list[BaseException], kind: type[errors.NeuroconnError], code: int
) -> None:
    failing.append(kind("what, why, what to do"))

    result = CliRunner().invoke(main, ["status"])

    assert result.exit_code == code
    assert result.stdout == "result\n"
    assert result.stderr == "Error: what, why, what to do\n"


def test_an_exit_code_of_one_failure_is_respected(failing: list[BaseException]) -> None:
    error = errors.InterruptedRunError("stopped by a signal")
    error.exit_code = 143
    failing.append(error)

    assert CliRunner().invoke(main, ["status"]).exit_code == 143


def test_an_unknown_failure_keeps_its_traceback(failing: list[BaseException]) -> None:
    failing.append(ZeroDivisionError("a bug"))

    result = CliRunner().invoke(main, ["status"])

    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("flags", "level"),
    [([], logging.WARNING), (["-v"], logging.INFO), (["-vvv"], logging.DEBUG), (["-q"], 40)],
)
def test_flags_choose_what_is_logged(
    flags: list[str], level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **options: chosen.append(options["level"]))

    CliRunner().invoke(main, [*flags, "status", "--help"])

    assert chosen == [level]


def test_a_closed_pipe_is_not_an_error() -> None:
    code = "from neuroconn.cli import main; main(['--help'])"
    command = f"{sys.executable} -c {code!r} | true"

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)

    assert done.stderr == ""


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "neuroconn", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("neuroconn, version")


@pytest.mark.parametrize(("kind", "code"), KNOWN)
def test_every_error_is_a_neuroconn_error_and_a_builtin(
    kind: type[errors.NeuroconnError], code: int
) -> None:
    assert kind.exit_code == code
    if kind is not errors.InterruptedRunError:
        assert issubclass(kind, ValueError | OSError)
    assert kind.__doc__
