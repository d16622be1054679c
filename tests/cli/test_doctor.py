"""``neuroconn doctor``: what it says, and that it says it when something is broken."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import neuroconn.doctor as module
from neuroconn.cli import main
from neuroconn.doctor import Machine, doctor, known_trouble
from neuroconn.errors import ModelError
from neuroconn.geometry import Frame, plan_levels
from neuroconn.inference.engine.memory import Room
from neuroconn.network import ModelCard, Normalisation, UNet, save_model
from neuroconn.volume import create_image, write_region

SMALL = ["--set", "chunk=16", "--set", "inner_chunk=16", "--set", "halo=16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    torch.manual_seed(0)
    card = ModelCard(
        name="tiny",
        clip=10,
        normalisation=Normalisation(),
        spacing_um=(2, 1, 1),
        scores={"f1": 0.75},
    )
    save_model(folder / "model", UNet(levels=1, width=4), card)
    voxels = np.random.default_rng(0).integers(90, 120, (64, 64, 64)).astype(np.uint16)
    voxels[30, 30] += 500
    image = create_image(
        folder / "brain.ome.zarr",
        levels=plan_levels(voxels.shape)[:1],  # type: ignore[arg-type]
        dtype="uint16",
        frame=Frame((1.0, 1.0, 1.0)),
        shard=None,
        kind="brain",
        attributes={
            "intensity": {"min": 90, "max": 619, "mad": 7, "percentiles": {"50": 105, "99": 119}}
        },
    )
    write_region(image.array(), image.grid().bounds, voxels)
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


def test_it_reports_versions_machine_model_and_speed(folder: Path) -> None:
    result = run("--model", folder / "model", *SMALL, "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert found["machine"]["cpus"] >= 1
    assert found["model"]["name"] == "tiny"
    assert found["model"]["halo_exact"] == 8
    assert found["speed"]["tile"] == [48, 48, 48]
    assert found["speed"]["chunks_per_second"] > 0
    assert found["speed"]["half_error"] < 0.1
    assert found["speed"]["engine"] == "torch"
    assert 0 < found["speed"]["memory_gib"] < found["speed"]["available_gib"]
    assert found["radii"] == []
    assert found["seams"] == found["problems"] == []


def test_with_a_brain_it_measures_the_seam(folder: Path) -> None:
    result = run(
        "--model", folder / "model", *SMALL, "--brain", folder / "brain.ome.zarr",
        "--halo", "4", "--halo", "0",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "halo   0: max" in result.stdout
    assert "halo   4: max" in result.stdout
    assert "PROBLEM" not in result.stdout
    assert "exact halo 8" in result.stdout
    assert "f1 0.75" in result.stdout


def test_the_seam_of_the_settings_is_measured_and_marked(folder: Path) -> None:
    brain = ["--model", folder / "model", "--brain", folder / "brain.ome.zarr", "--halo", "0"]
    chunk = ["--set", "chunk=16", "--set", "inner_chunk=16", "--set", "evidence.reliable=2"]

    narrow = run(*brain, *chunk, "--set", "halo=4").stdout
    exact = run(*brain, *chunk, "--set", "halo=16").stdout

    assert re.search(r"halo   4: max .* <- the halo of these settings", narrow)
    assert len(re.findall("<- the halo", narrow)) == 1
    assert "halo  16: none, it is exact  <- the halo of these settings" in exact


def test_rf_says_how_far_the_weights_look(folder: Path) -> None:
    on_lines = run("--model", folder / "model", *SMALL, "--rf")
    on_brain = run(
        "--model", folder / "model", *SMALL, "--rf", "--brain", folder / "brain.ome.zarr", "--json"
    )

    assert re.search(r"90.0% within \d, 99.0% within \d, 99.9% within \d voxels", on_lines.stdout)
    radii = [r["radius"] for r in json.loads(on_brain.stdout)["radii"]]
    assert radii == sorted(radii)
    # The layers see 8 voxels around a core of 2: at most 9 around a voxel of it.
    assert 0 < radii[-1] <= 9


def test_a_tile_beyond_the_memory_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "room", lambda: Room("here", 1 << 20, None))

    result = run("--model", folder / "model", *SMALL)

    assert result.exit_code == 2
    assert "set a smaller chunk" in result.stdout


def test_a_broken_model_is_a_problem_and_the_rest_is_still_said(tmp_path: Path) -> None:
    result = run("--model", tmp_path / "none", *SMALL)

    assert result.exit_code == ModelError.exit_code
    assert "PROBLEM    no model at" in result.stdout
    assert "versions" in result.stdout
    assert "machine" in result.stdout


def test_a_halo_off_the_grid_is_a_problem(folder: Path) -> None:
    found = doctor(folder / "model", settings=_settings(halo=17, chunk=15, inner_chunk=15))

    assert found.exit_code == 2
    assert "multiple of 2" in found.problems[0]
    assert found.model is not None


def test_a_misspelt_setting_is_refused_before_torch_is_loaded() -> None:
    result = run("--set", "hola=3")

    assert result.exit_code == 2
    assert "hola" in result.stderr


@pytest.mark.parametrize(
    ("torch_version", "cudnn", "said"),
    [
        ("2.9.0", None, "four times slower"),
        ("2.9.1+cu128", None, "four times slower"),
        ("2.10.0", 91002, "wrongly"),
    ],
)
def test_bad_releases_are_named(torch_version: str, cudnn: int | None, said: str) -> None:
    (warning,) = known_trouble(torch_version, cudnn)

    assert said in warning


@pytest.mark.parametrize(("threads", "said"), [(1, "uses 1 of 8"), (16, "16 threads on 8")])
def test_threads_that_do_not_fit_the_cores_are_named(threads: int, said: str) -> None:
    here = Machine("linux", 8, threads, "AVX512", True, 4.0, [])

    assert any(said in w for w in module._thrift(here))


def test_a_driver_without_a_gpu_in_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}")
    here = Machine("linux", 8, 8, "AVX512", True, 4.0, [])

    assert any("sees no GPU" in w for w in module._thrift(here))
    assert not module._thrift(Machine("linux", 8, 8, "AVX512", True, None, ["H100, 80 GiB"]))


def _settings(**changes: object):  # type: ignore[no-untyped-def]
    from neuroconn.config.infer import InferSettings

    return InferSettings.model_validate(changes)
