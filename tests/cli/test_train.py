"""``neuroconn train``: settings from a preset or a file, a model at the end."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.progress import Progress as Bar
from rich.progress import TextColumn

from neuroconn import training
from neuroconn.cli import main
from neuroconn.cli.train_progress import TrainingProgress
from neuroconn.config.train import TrainSettings
from neuroconn.training import TrainReport

TINY = """
name: tiny
network: {levels: 1, width: 2, convolutions: 1, dropout: 0.0}
crop: 16
batch: 1
iterations: 4
minimum_voxels: 1
phantoms: {margin: 4, variety: {empty: 0.0, axons: 40}}
validate_every: 2
validation_crops: 1
checkpoint_every: 2
volumes: {phantoms: 1, edge: 16, core: 16, halo: 2}
precision: fp32
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the library function is called with; nothing is trained."""
    calls: list[dict[str, Any]] = []

    def record(settings: TrainSettings, output: Path, **options: Any) -> TrainReport:
        assert callable(options.pop("progress"))
        assert callable(options.pop("ticker"))
        calls.append({"settings": settings, "output": output, **options})
        return TrainReport(output / "model", settings.iterations, 0, {"mse": 1.0})

    monkeypatch.setattr(training, "train", record)
    return calls


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something while a training runs."""

    def install(action: Callable[[], None]) -> None:
        def act(settings: TrainSettings, output: Path, **options: Any) -> TrainReport:
            action()
            raise AssertionError("the signal was not heard")

        monkeypatch.setattr(training, "train", act)

    return install


def test_a_run_leaves_a_model_and_says_where(config: Path, tmp_path: Path) -> None:
    from neuroconn.network import load_model

    output = tmp_path / "run"

    result = run(config, output, "--device", "cpu", "--threads", 1)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("4 of 4 iterations now; validation: mse ")
    assert result.stdout.endswith(f"Wrote {output / 'model'}\n")
    assert "iteration 2: loss" in result.stderr
    assert load_model(output / "model").card.name == "tiny"


def test_json_is_one_object_on_stdout(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"

    first = json.loads(run(config, output, "--json", "--device", "cpu").stdout)
    again = json.loads(run(config, output, "--json", "--device", "cpu").stdout)

    assert first["model"] == str(output / "model")
    assert (first["iterations"], first["resumed_at"]) == (4, 0)
    assert {"mse", "recall", "precision", "quality", "cldice", "tlts"} < set(first["scores"])
    assert (first["stopped_early"], first["skipped_updates"]) == (False, 0)
    assert first["best_iteration"] in (2, 4)
    assert again == {**first, "resumed_at": 4}


def test_a_run_that_stopped_early_says_so(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = TrainReport(
        tmp_path / "m", 400, 0, {"quality": 0.8}, best=200, stopped=True, skipped=3
    )
    monkeypatch.setattr(training, "train", lambda *_, **__: report)

    said = run(config, tmp_path / "run").stdout

    assert "400 of 400 iterations now; no better since 200, stopped" in said
    assert "3 updates overflowed and were skipped" in said
    assert "validation: quality 0.800." in said


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_of_several_processes_only_the_first_one_speaks(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    report = TrainReport(tmp_path / "model", 4, 0, {})
    monkeypatch.setattr(training, "train", lambda *_, **__: report)

    result = run(config, tmp_path / "run", *words)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_a_line_a_validation_says_what_people_look_for(capsys: pytest.CaptureFixture[str]) -> None:
    shown = TrainingProgress(100, 4, None, quiet=False)
    row = {
        "loss": 3.25,
        "loss_mse": 3.0,
        "loss_l_conn": 0.25,
        "crops_per_second": 12.0,
        "validation_mse": 2.5,
        "validation_quality": 0.81,
    }

    shown.tick(49, {})
    shown.tick(50, {"loss": 3.0})
    shown.row(50, 100, row)

    said = capsys.readouterr().err
    assert said.startswith(
        "iteration 50: loss 3.25 (mse 3.00, l_conn 0.250); validation mse 2.500, quality 0.810; "
        "12 crops/s, "
    )
    assert said.endswith(" left\n")


def test_a_bar_shows_losses_scores_and_speed_from_where_the_run_goes_on() -> None:
    bar = Bar(TextColumn("{task.fields[note]} {task.fields[speed]}"), auto_refresh=False)
    shown = TrainingProgress(100, 4, bar, quiet=False)
    task = bar.tasks[0]

    shown.tick(41, {})
    shown.row(42, 100, {"validation_mse": 2.5})
    time.sleep(0.25)
    shown.tick(43, {"loss": 3.0, "loss_mse": 3.0})

    assert (task.completed, task.total) == (43, 100)
    assert task.fields["note"] == "loss 3.00; validation mse 2.500"
    assert task.fields["speed"].endswith(" crops/s")
    assert float(task.fields["speed"].split()[0]) < 4 * 2 / 0.2
    assert task.speed is None or task.speed < 100


def test_quiet_says_nothing_on_stderr(config: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["-q", "train", str(config), str(tmp_path / "run")])

    assert (result.exit_code, result.stderr) == (0, "")


def test_a_preset_and_overrides_become_settings(asked: list[Any], tmp_path: Path) -> None:
    result = run(
        "--preset", "shipped", tmp_path / "run", "--set", "crop=32", "--set", "optimiser.rate=0.01"
    )

    assert result.exit_code == 0, result.output
    (call,) = asked
    assert (call["settings"].name, call["settings"].crop) == ("shipped", 32)
    assert call["settings"].optimiser.rate == 0.01
    assert call["output"] == tmp_path / "run"
    assert (call["resume"], call["device"], call["threads"]) == (True, "auto", None)


def test_a_preset_may_be_a_path(asked: list[Any], config: Path, tmp_path: Path) -> None:
    assert run("--preset", config, tmp_path / "run").exit_code == 0
    assert asked[0]["settings"].name == "tiny"


def test_options_are_handed_on(asked: list[Any], config: Path, tmp_path: Path) -> None:
    run(config, tmp_path, "--no-resume", "--device", "cuda", "--threads", 3)

    assert (asked[0]["resume"], asked[0]["device"], asked[0]["threads"]) == (False, "cuda", 3)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["out"],
        ["--preset", "shipped"],
        ["--preset", "shipped", "a.yaml", "out"],
        ["a.yaml", "b.yaml", "out"],
        ["--preset", "nope", "out"],
        ["none.yaml", "out"],
        ["--preset", "shipped", "out", "--set", "corp=32"],
        ["--preset", "shipped", "out", "--set", "crop=30"],
        ["--preset", "shipped", "out", "--device", "tpu"],
        ["--preset", "shipped", "out", "--threads", "0"],
    ],
)
def test_a_call_that_cannot_be_meant_is_a_usage_error(
    arguments: list[str], asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert not asked
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(config: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")

    result = run(config, tmp_path)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {tmp_path} is not empty and not a training folder")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_code_and_says_how_to_go_on(
    number: signal.Signals,
    code: int,
    during: Callable[[Callable[[], None]], None],
    config: Path,
    tmp_path: Path,
) -> None:
    before = signal.getsignal(number)
    during(lambda: os.kill(os.getpid(), number))

    result = run(config, tmp_path / "run")

    assert result.exit_code == code
    assert "run the same command again" in result.stderr
    assert signal.getsignal(number) is before
