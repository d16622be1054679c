"""Commands that are given addresses on an object store in place of paths."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.network import ModelCard, Normalisation, UNet, save_model
from neuroconn.volume import create_image, write_region
from neuroconn.volume.address import ObjectPath
from neuroconn.volume.objects import Objects
from neuroconn.volume.statistics import intensity_statistics, pack_histogram, voxel_histogram

SETTINGS = ["chunk=16", "inner_chunk=8", "halo=8", "evidence.reliable=2", "precision=float32"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(90, 110, (32, 32, 32)).astype(np.uint16)
    voxels[16, 16] = 900
    image = create_image(
        tmp_path / "brain.ome.zarr", levels=plan_levels((32, 32, 32)), dtype="uint16",
        frame=Frame((1.0, 1.0, 2.0)), chunk=16, shard=32, kind="brain",
    )  # fmt: skip
    write_region(image.array(0), Box.of_shape((32, 32, 32)), voxels)
    counts = voxel_histogram(voxels)
    intensity = {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
    image.update_attributes({"intensity": intensity})
    torch.manual_seed(0)
    card = ModelCard(name="tiny", clip=10, normalisation=Normalisation(), spacing_um=(1, 1, 1))
    save_model(tmp_path / "model", UNet(levels=1, width=2), card)
    return tmp_path


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def infer(folder: Path, brain: str, output: str, *more: str) -> Result:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return invoke(
        "infer", brain, output, "--model", str(folder / "model"), "--seeds", "all",
        "--scheduler", "sync", *settings, *more,
    )  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_a_brain_that_was_copied_to_s3_is_inferred_there(folder: Path, bucket: str) -> None:
    at = Objects(ObjectPath(f"{bucket}/mouse/brain.ome.zarr"))
    for key, data in files_of(folder / "brain.ome.zarr").items():
        at.put(key, data)
    brain, output = f"{bucket}/mouse/brain.ome.zarr", f"{bucket}/maps/out.ome.zarr"
    local = infer(folder, str(folder / "brain.ome.zarr"), str(folder / "out.ome.zarr"))
    assert local.exit_code == 0, local.output

    done = infer(folder, brain, output)

    assert done.exit_code == 0, done.output
    assert f"Wrote {output}" in done.stdout
    assert f"brain     {brain}" in done.stderr
    stored = Objects(ObjectPath(output))
    found = {key: stored.get(key) for key, _ in stored.list() if not key.startswith("run/")}
    expected = files_of(folder / "out.ome.zarr")
    assert found == {key: d for key, d in expected.items() if not key.startswith("run/")}
    assert "8 chunks are as they were written" in invoke("verify", output).stdout
    assert json.loads(invoke("status", output, "--json").stdout)["complete"]
    again = infer(folder, brain, output, "--json")
    assert json.loads(again.stdout)["inferred"] == 0


def test_what_is_not_there_is_one_line_with_the_exit_code_of_its_kind(
    folder: Path, bucket: str
) -> None:
    brain = str(folder / "brain.ome.zarr")

    for result, code, said in (
        (infer(folder, f"{bucket}/none.zarr", f"{bucket}/out"), 3, "no OME-Zarr image at s3://"),
        (infer(folder, "s3://no-such-bucket/a", f"{bucket}/out"), 3, "no such bucket"),
        (infer(folder, brain, "s3://no-such-bucket/out"), 74, "no such bucket"),
        (infer(folder, brain, "https://host/out"), 2, "can only be read"),
        (infer(folder, brain, "gs://bucket/out"), 2, "gs:// addresses are not read"),
        (invoke("status", f"{bucket}/none.zarr"), 2, "not an output of"),
        (invoke("verify", f"{bucket}/none.zarr"), 3, "no OME-Zarr image"),
    ):
        assert result.exit_code == code, result.output
        assert said in result.stderr
        assert len([line for line in result.stderr.splitlines() if "Error" in line]) == 1
    assert not list(Objects(ObjectPath(bucket)).list())
