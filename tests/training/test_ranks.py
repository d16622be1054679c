"""Several processes, as torchrun starts them: the same crops, the same gradients, one folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from processes import main as take_a_step
from runs import rows, run

from neuroconn.config.train import TrainSettings
from neuroconn.training.folder import TrainingFolder

Settings = Callable[..., TrainSettings]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
SCRIPT = Path(__file__).with_name("processes.py")
STILL: dict[str, Any] = {"batch": 4, "network": {"dropout": 0.0}, "optimiser": {"rate": 1e-3}}


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def command(processes: int, script: Path | str, *words: object) -> list[str]:
    start = [*TORCHRUN, "--master-port", "0", "--standalone"] if processes > 1 else [sys.executable]
    return [*start, *(["-m"] if isinstance(script, str) else []), str(script), *map(str, words)]


def call(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=240)


@pytest.fixture
def config(tiny: Settings, tmp_path: Path) -> Callable[..., Path]:
    def write(name: str = "config", **changes: Any) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(tiny(**changes).model_dump(mode="json")))
        return path

    return write


CONNECTED = {"mse": {}, "l_conn": {"weight": 100, "options": {"window": 8, "dilation": 1}}}


@pytest.mark.cluster
def test_two_processes_take_the_step_of_one_with_the_whole_batch(
    config: Callable[..., Path], tmp_path: Path
) -> None:
    path = config(**STILL, loss=CONNECTED, accumulate=2, clip_gradient=1.0)
    alone, shared = tmp_path / "alone.safetensors", tmp_path / "shared.safetensors"

    take_a_step(str(path), str(alone))
    result = call(command(2, SCRIPT, path, shared))
    assert result.returncode == 0, result.stderr

    ours, theirs = (safetensors.torch.load_file(p) for p in (alone, shared))
    assert ours.keys() == theirs.keys()
    assert {"loss loss_l_conn", "loss gradient"} < ours.keys()
    assert any(name.endswith("running_var") for name in ours)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=2e-3, atol=2e-5, msg=name)


@pytest.mark.cluster
def test_a_run_of_two_processes_leaves_one_folder_and_is_that_of_one(
    config: Callable[..., Path], tiny: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = ("neuroconn", "train", config(**STILL, iterations=4), folder, "--json", "--threads", 1)

    first, again = call(command(2, *words)), call(command(2, *words))

    for result in (first, again):
        assert result.returncode == 0, result.stderr
    reports = [json.loads(result.stdout) for result in (first, again)]  # one process speaks
    assert [(r["resumed_at"], r["iterations"]) for r in reports] == [(0, 4), (4, 4)]
    run(tiny(**STILL, iterations=4), tmp_path / "alone")
    for ours, theirs in zip(rows(folder), rows(tmp_path / "alone"), strict=True):
        for name in ("loss", "gradient", "validation_mse"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.02), name
    report = run(tiny(**STILL, iterations=6), folder)  # one process goes on with it
    assert (report.resumed_at, report.iterations) == (4, 6)


@pytest.mark.cluster
def test_a_folder_that_the_first_process_refuses_stops_the_others(
    config: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")

    result = call(command(2, "neuroconn", "train", config(**STILL), folder))

    assert result.returncode != 0
    assert "not a training folder" in result.stderr
    assert [p.name for p in folder.iterdir()] == ["thesis.tex"]


@pytest.mark.cluster
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_told_to_end_at_any_moment_goes_on_where_it_was(
    config: Callable[..., Path], tiny: Settings, tmp_path: Path, processes: int
) -> None:
    changes = {**STILL, "iterations": 10_000, "checkpoint_every": 1, "validate_every": 10_000}
    folder = tmp_path / "run"
    words = command(processes, "neuroconn", "-q", "train", config(**changes), folder)
    with subprocess.Popen(
        words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(folder / "checkpoint.pt", process)
        time.sleep(0.37)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)

    assert process.returncode != 0
    assert "run the same command again" in said
    assert not list(folder.glob(".*.part"))
    before = TrainingFolder(folder).checkpoint()
    assert before is not None
    report = run(tiny(**{**changes, "iterations": before["iteration"] + 1}), folder)
    assert report.resumed_at == before["iteration"] > 0


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    for _ in range(1200):
        if path.is_file():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")
