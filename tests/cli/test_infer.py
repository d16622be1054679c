"""``neuroconn infer`` as users type it, with a tiny network on a tiny brain."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.config.base import load_yaml, resolve
from neuroconn.config.infer import InferSettings
from neuroconn.config.presets import find_preset, list_presets
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.network import ModelCard, Normalisation, UNet, save_model
from neuroconn.volume import create_image, write_region
from neuroconn.volume.statistics import intensity_statistics, pack_histogram, voxel_histogram

SMALL = ["chunk=16", "inner_chunk=8", "halo=8", "evidence.reliable=2", "precision=float32"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(90, 110, (32, 32, 32)).astype(np.uint16)
    voxels[16, 16] = 900
    image = create_image(
        tmp_path / "brain.ome.zarr",
        levels=plan_levels((32, 32, 32)),
        dtype="uint16",
        frame=Frame((1.0, 1.0, 2.0)),
        chunk=16,
        shard=32,
        kind="brain",
    )
    write_region(image.array(0), Box.of_shape((32, 32, 32)), voxels)
    counts = voxel_histogram(voxels)
    intensity = {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
    image.update_attributes({"intensity": intensity})
    torch.manual_seed(0)
    card = ModelCard(name="tiny", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    save_model(tmp_path / "model", UNet(levels=1, width=2), card)
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    places = [str(folder / "brain.ome.zarr"), str(folder / "out.ome.zarr")]
    return ["infer", *places, "--model", str(folder / "model"), *settings, *more]


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_a_run_reports_on_stdout_and_explains_on_stderr(folder: Path) -> None:
    result = invoke(*arguments(folder, "--seeds", "all", "--scheduler", "sync", "--json"))

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["visited"] == 8
    assert report["complete"] is True
    for word in ("versions", "brain", "model", "grid", "cluster", "walk"):
        assert f"\n{word} " in f"\n{result.stderr}"


def test_status_and_verify_speak_of_the_same_chunks(folder: Path) -> None:
    invoke(*arguments(folder, "--seeds", "all", "--scheduler", "sync"))
    output = str(folder / "out.ome.zarr")

    state = json.loads(invoke("status", output, "--json").stdout)
    found = json.loads(invoke("verify", output, "--json").stdout)

    assert state["complete"]
    assert state["chunks"]["neurite"] + state["chunks"]["empty"] == found["checked"] == 8
    assert found["sound"]
    assert "complete" in invoke("status", output).stdout
    assert "8 chunks are as they were written" in invoke("verify", output).stdout


def test_verify_finds_a_missing_chunk_and_the_same_command_fills_it(folder: Path) -> None:
    run = arguments(folder, "--seeds", "all", "--scheduler", "sync", "--json")
    invoke(*run)
    output = folder / "out.ome.zarr"
    (output / "0/c/1/1/1").unlink()

    found = invoke("verify", str(output))

    assert found.exit_code == 1
    assert "chunk (1, 1, 1): missing" in found.stdout
    assert invoke("verify", str(output), "--repair").exit_code == 0
    assert json.loads(invoke(*run).stdout)["inferred"] == 1
    assert invoke("verify", str(output)).exit_code == 0


def test_verify_reads_a_brain_back_too(folder: Path) -> None:
    brain = folder / "brain.ome.zarr"
    next(p for p in (brain / "0/c").rglob("*") if p.is_file()).write_bytes(b"")

    result = invoke("verify", str(brain), "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"]


def test_a_limit_on_chunks_is_exit_code_one(folder: Path) -> None:
    words = ["--seeds", "all", "--scheduler", "sync", "--set", "max_chunks=3"]

    result = invoke(*arguments(folder, *words))

    assert result.exit_code == 1
    assert "5 chunks known to be needed were not visited" in result.stderr


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))

    result = invoke(*arguments(folder, "--seed", "4", "4", "4", "--dry-run", "--scheduler", "sync"))

    assert result.exit_code == 0, result.output
    assert "1 chunks; 1 would start the walk" in result.stdout
    for word in (
        "grid",
        "work",
        "workers",
        "memory",
        "seeds",
        "visits",
        "time",
        "size",
        "measured",
    ):
        assert f"\n{word} " in f"\n{result.stdout}"
    assert result.stdout.endswith("Nothing was written.\n")
    assert "nothing of them is stored" in result.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_dry_run_is_one_json_object_too(folder: Path) -> None:
    words = ["--seeds", "auto", "--dry-run", "--no-measure", "--json", "--scheduler", "sync"]

    result = invoke(*arguments(folder, *words, "--box", "0", "0", "0", "16um", "16um", "32um"))

    assert result.exit_code == 0, result.output
    plain = json.loads(result.stdout)
    assert plain["tiling"]["grid"] == [2, 2, 2]
    assert plain["measured"] is None
    assert plain["visits"]["high"] <= 1
    assert "1 of 8 chunks" in plain["region"]


def test_a_region_keeps_the_walk_inside(folder: Path) -> None:
    np.save(folder / "mask.npy", np.eye(2, dtype=np.uint8)[:, :, None].repeat(2, axis=2))
    words = ["--seeds", "all", "--scheduler", "sync", "--json", "--mask", str(folder / "mask.npy")]

    report = json.loads(invoke(*arguments(folder, *words)).stdout)

    assert report["visited"] == 4
    assert report["chunks"]["masked"] == 4


@pytest.mark.parametrize(
    "words", [("--seed", "1", "1", "40um"), ("--seed", "1", "1", "40", "--seed-units", "um")]
)
def test_seeds_may_be_micrometres(folder: Path, words: tuple[str, ...]) -> None:
    result = invoke(*arguments(folder, *words, "--dry-run", "--scheduler", "sync"))

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "needs a seed"),
        (["--seed", "1", "1", "40"], 2, "outside the volume"),
        (["--seeds", "all", "--set", "hallo=3"], 2, "unknown key 'hallo'"),
        (["--seeds", "all", "--set", "halo=7"], 2, "pooling grid"),
        (["--seeds", "all", "--preset", "nothing"], 2, "no infer preset 'nothing'"),
        (["--seeds", "all", "--scheduler", "nothing"], 2, "no cluster site 'nothing'"),
        (["--seeds", "all", "--model", "nothing"], 4, "no model at nothing"),
        (["--seeds", "gone.swc"], 3, "gone.swc"),
    ],
)
def test_what_is_wrong_is_one_line_and_its_own_exit_code(
    folder: Path, words: list[str], code: int, said: str
) -> None:
    usual = [] if "--scheduler" in words else ["--scheduler", "sync"]

    result = invoke(*arguments(folder, *usual, *words))

    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert not (folder / "out.ome.zarr").exists()


def test_settings_of_another_run_are_refused(folder: Path) -> None:
    invoke(*arguments(folder, "--seeds", "all", "--scheduler", "sync"))

    result = invoke(
        *arguments(folder, "--seeds", "all", "--scheduler", "sync", "--set", "bridge=1")
    )

    assert result.exit_code == 2
    assert "bridge: 0, now 1" in result.stderr


@pytest.mark.parametrize("name", list_presets("infer")["infer"])
def test_every_preset_is_valid_and_holds_only_what_differs(name: str) -> None:
    text = find_preset("infer", name).read_text()

    settings = resolve(InferSettings, load_yaml(text))

    given = yaml.safe_load(text) or {}
    usual, chosen = InferSettings().model_dump(), settings.model_dump()
    assert all(usual[key] != chosen[key] for key in given)
    assert text.startswith("# ")


@pytest.mark.cluster
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_drains_and_the_same_command_resumes(
    folder: Path, number: signal.Signals, code: int
) -> None:
    words = arguments(folder, "--seeds", "all", "--scheduler", "sync", "--json")
    slow: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = (
        "import time\n"
        "from neuroconn.inference import task\n"
        "usual = task.write_region\n"
        "task.write_region = lambda *a: (time.sleep(0.5), usual(*a))\n"
        "from neuroconn.cli import main; main()"
    )
    command = [sys.executable, "-c", script, *words]
    with subprocess.Popen(command, env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        journal = folder / "out.ome.zarr/run/journal.jsonl"
        until = time.monotonic() + 200
        while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
        run.send_signal(number)
        _, errors = run.communicate(timeout=200)

    assert run.returncode == code, errors
    assert b"same command again" in errors
    done = journal.read_bytes().count(b"\n")
    assert done < 8
    assert json.loads(invoke(*words).stdout)["inferred"] == 8 - done
