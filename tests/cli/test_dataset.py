"""``neuroconn dataset``."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result

from neuroconn.annotation import Forest, distance_map, render, write_swc
from neuroconn.cli import main
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import create_image, write_region
from neuroconn.volume.statistics import intensity_statistics, voxel_histogram

SHAPE = (24, 24, 96)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brain with a neurite from end to end along x, and its annotation in µm."""
    path = tmp_path_factory.mktemp("lab")
    x = np.arange(0, 96, 3.0)
    nodes = np.stack([12 + 4 * np.sin(x / 9), 8 + 3 * np.cos(x / 7), x], axis=1)
    neurite = Forest(nodes, np.arange(-1, len(x) - 1))
    distance = distance_map(render(neurite, Box.of_shape(SHAPE)))
    noise = np.random.default_rng(0).normal(100, 8, SHAPE)
    voxels = (noise + 500 * (distance < 1.5)).astype(np.uint16)
    image = create_image(
        path / "brain.ome.zarr",
        levels=plan_levels(SHAPE),
        dtype="uint16",
        frame=Frame((2.0, 1.0, 1.0)),
        chunk=16,
        shard=None,
        kind="brain",
        attributes={"intensity": dict(intensity_statistics(voxel_histogram(voxels)))},
    )
    write_region(image.array(), Box.of_shape(SHAPE), voxels)
    write_swc(path / "um.swc", neurite.transform((2, 1, 1)))
    return path


def run(lab: Path, output: Path, *arguments: str) -> Result:
    words = ("brain.ome.zarr", "um.swc")
    paths = [str(lab / word) for word in words] if "--config" not in arguments else []
    return CliRunner().invoke(main, ["dataset", *paths, str(output), *arguments])


OPTIONS = ("--units", "um", "--size", "16", "--minimum", "10", "--clip", "5")


def test_a_table_says_what_was_kept(lab: Path, tmp_path: Path) -> None:
    result = run(lab, tmp_path / "crops.zarr", *OPTIONS, "--split", "0.6", "0.2", "0.2")

    assert result.exit_code == 0, result.output
    head, row, total = result.stdout.splitlines()
    assert head.split() == [
        "brain", "cubes", "neurite", "kept", "background", "train", "validation", "test",
        "neurite", "voxels",
    ]  # fmt: skip
    group = zarr.open_group(str(tmp_path / "crops.zarr"), mode="r")
    crops = group["image"].shape[0]
    assert total == f"{crops} crops"
    assert sum(map(int, row.split()[5:8])) == crops >= 3
    assert (tmp_path / "crops.zarr" / "figures" / "0-brain-voxels.png").is_file()


def test_json_is_one_object_and_again_is_the_same(lab: Path, tmp_path: Path) -> None:
    first = run(lab, tmp_path / "crops.zarr", *OPTIONS, "--json")
    again = run(lab, tmp_path / "crops.zarr", *OPTIONS, "--json")

    report = json.loads(first.stdout)
    assert report == json.loads(again.stdout)
    assert report["minimum_voxels"] == 10
    assert [brain["name"] for brain in report["brains"]] == ["brain.ome.zarr"]


def test_several_brains_come_from_a_file(lab: Path, tmp_path: Path) -> None:
    config = tmp_path / "crops.yaml"
    brain = f"{{brain: {lab}/brain.ome.zarr, swc: [{lab}/um.swc], units: um"
    config.write_text(
        f"size: 16\nminimum_voxels: 10\nclip: 5\nbrains:\n  - {brain}, split: train}}\n"
        f"  - {brain}, split: test}}\n"
    )

    result = run(lab, tmp_path / "crops.zarr", "--config", str(config), "--json")

    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)["brains"]
    assert first["crops"]["train"] == second["crops"]["test"] > 0
    assert first["crops"]["test"] == second["crops"]["train"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--size", "16"), 2, "give --units um, voxel"),
        (("--units", "miles"), 2, "neither um, voxel nor a number"),
        (("--units", "um"), 2, "crops of 128 voxels do not fit"),
        ((*OPTIONS, "--set", "sise=3"), 2, "unknown key 'sise'"),
        ((*OPTIONS, "--flip", "q"), 2, "flip"),
        ((*OPTIONS[:-4], "--minimum", "900"), 3, "no cube of 16 voxels holds 900"),
        ((*OPTIONS, "--flip", "z"), 3, "Set alignment: warn (--no-alignment-check)"),
    ],
)
def test_what_cannot_be_is_one_line(
    lab: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = run(lab, tmp_path / "crops.zarr", *arguments)

    assert result.exit_code == code, result.output
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "crops.zarr").exists()


def test_who_is_sure_may_go_on(lab: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops.zarr"

    result = run(lab, out, *OPTIONS, "--flip", "z", "--no-alignment-check")

    assert result.exit_code == 0, result.output


def test_an_annotation_and_an_output_are_needed(lab: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["dataset", str(lab / "brain.ome.zarr"), "x.zarr"])

    assert result.exit_code == 2
    assert "at least one SWC and OUTPUT" in result.stderr


def test_options_of_one_brain_do_not_go_with_a_file(lab: Path, tmp_path: Path) -> None:
    config = tmp_path / "crops.yaml"
    config.write_text("{}\n")

    result = run(lab, tmp_path / "crops.zarr", "--config", str(config), "--units", "um")

    assert result.exit_code == 2
    assert "write it beside the brain" in " ".join(result.stderr.split())
