import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from neuroconn import evaluation
from neuroconn.annotation import Forest, distance_map, render, write_swc
from neuroconn.cli import main
from neuroconn.cli.evaluate import METRICS
from neuroconn.geometry import Box, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import create_image, write_region

NEURITE = Forest([[5, 5, 3], [20, 24, 30]], [-1, 0])
BOX = Box.of_shape((24, 30, 34))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encoding = Encoding("uint8", 10.0)
    image = create_image(
        tmp_path / "map.ome.zarr",
        levels=[Level(BOX.shape, (1, 1, 1), (1, 1, 1))],
        dtype="uint8",
        frame=Frame((2.0, 1.0, 1.0)),
        fill_value=255,
        kind="distance",
        array_attributes=encoding.attributes(),
    )
    write_region(image.array(), BOX, encoding.encode(distance_map(render(NEURITE, BOX))))
    write_swc(tmp_path / "voxel.swc", NEURITE)
    write_swc(tmp_path / "um.swc", NEURITE.transform((2, 1, 1)))
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    words = [str(folder / a) if a.endswith((".zarr", ".swc")) else a for a in arguments]
    return CliRunner().invoke(main, ["evaluate", *words])


def test_the_scores_are_printed_as_a_table(folder: Path) -> None:
    result = run(folder, "map.ome.zarr", "voxel.swc", "--units", "voxel")

    assert result.exit_code == 0, result.output
    rows = [row.split()[:2] for row in result.stdout.splitlines()[1:]]
    assert rows[:5] == [
        ["lines"],
        ["correctness", "1.000"],
        ["completeness", "1.000"],
        ["quality", "1.000"],
        ["clDice", "1.000"],
    ]
    assert [row[0] for row in rows if len(row) == 1] == [
        "lines", "voxels", "topology", "connectivity",
    ]  # fmt: skip
    assert ["AP", "1.000"] in rows
    assert ["TLTS", "1.000"] in rows


def test_json_is_one_object(folder: Path) -> None:
    result = run(folder, "map.ome.zarr", "um.swc", "--units", "um", "--slack", "2", "--json")

    scores = json.loads(result.stdout)
    assert (scores["quality"], scores["slack"], scores["planes"]) == (1.0, 2.0, None)
    assert scores["truth_voxels"] == int(np.count_nonzero(render(NEURITE, BOX)))


def test_the_groups_of_metrics_are_in_the_json(folder: Path) -> None:
    result = run(folder, "map.ome.zarr", "um.swc", "--units", "um", "--chunk", "16", "--json")

    scores = json.loads(result.stdout)
    assert scores["voxel"]["average_precision"] == 1.0
    assert scores["lines"]["cldice"] == 1.0
    assert scores["topology"]["betti_errors"] == {"pieces": 0, "loops": 0, "cavities": 0}
    found = scores["connectivity"]
    assert (found["splits"], found["merges"], found["omitted_edges"]) == (0, 0, 0)
    assert found["face_crossings"] > 0
    assert found["face_ratio"] is None
    assert found["tlts"]["correct"] == 1.0
    assert found["apls_forward"] > 0.95  # a tube is thinned to less than its line


def test_only_what_is_asked_for_is_measured(folder: Path) -> None:
    words = ["map.ome.zarr", "voxel.swc", "--units", "voxel", "--metrics", "ccq"]

    result = run(folder, *words, "--metrics", "erl", "--json")

    scores = json.loads(result.stdout)
    assert (scores["voxel"], scores["topology"], list(scores["lines"])) == (
        None, None, ["correctness", "completeness", "quality"],
    )  # fmt: skip
    assert "splits" in scores["connectivity"]
    assert "tlts" not in scores["connectivity"]


def test_two_tracings_are_compared_as_lines(folder: Path) -> None:
    words = ["voxel.swc", "voxel.swc", "--units", "voxel"]

    assert json.loads(run(folder, *words, "--json").stdout)["connectivity"]["apls"] == 1.0
    assert run(folder, *words).stdout.startswith("tracing against tracing, slack 3 voxels")


def test_the_metrics_of_the_command_are_those_of_the_library() -> None:
    assert METRICS == evaluation.METRICS


def test_units_may_be_a_number_of_um(folder: Path) -> None:
    write_swc(folder / "half.swc", NEURITE.transform((4, 2, 2)))

    result = run(folder, "map.ome.zarr", "half.swc", "--units", "0.5", "--mask", "--json")

    assert json.loads(result.stdout)["completeness"] == 1.0


def test_two_tracings_are_one_truth(folder: Path) -> None:
    result = run(folder, "map.ome.zarr", "voxel.swc", "voxel.swc", "--units", "voxel", "--json")
    assert json.loads(result.stdout)["quality"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["map.ome.zarr", "voxel.swc"], 2, "--units"),
        (["map.ome.zarr", "voxel.swc", "--units", "inch"], 2, "inch"),
        (["map.ome.zarr", "voxel.swc", "--units", "-3"], 2, "units"),
        (["map.ome.zarr", "gone.swc", "--units", "um"], 3, "gone.swc"),
        (["gone.zarr", "voxel.swc", "--units", "um"], 3, "gone.zarr"),
        (["map.ome.zarr"], 2, "TRUTH"),
        (["map.ome.zarr", "voxel.swc", "--units", "um", "--metrics", "dice"], 2, "dice"),
        (["voxel.swc", "voxel.swc", "--units", "um", "--metrics", "betti"], 2, "betti"),
        (["voxel.swc", "voxel.swc"], 2, "--units"),
    ],
)
def test_a_known_failure_is_one_line_and_its_exit_code(
    folder: Path, arguments: list[str], code: int, words: str
) -> None:
    result = run(folder, *arguments)

    assert result.exit_code == code
    assert words in result.stderr
    assert result.stdout == ""
