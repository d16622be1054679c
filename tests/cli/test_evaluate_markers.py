"""The command that clicks, as a user types it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from neuroconn.annotation import write_swc
from neuroconn.cli import main
from neuroconn.geometry import Level
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import create_image, write_region

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from brains import brain_voxels, save_brain
from neurite import BOX, FRAME, NEURITE, true_distance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clicks")
    save_brain(root / "brain.zarr", brain_voxels())
    encoding = Encoding("uint8", 10.0)
    image = create_image(
        root / "map.zarr",
        levels=[Level(BOX.shape, (1, 1, 1), (1, 1, 1))],
        dtype="uint8",
        frame=FRAME,
        fill_value=255,
        kind="distance",
        array_attributes=encoding.attributes(),
    )
    write_region(image.array(), BOX, encoding.encode(true_distance()))
    write_swc(root / "truth.swc", NEURITE)
    return root


def run(folder: Path, *arguments: object, brain: bool = True) -> Result:
    files = ["map.zarr", "truth.swc", *(["brain.zarr"] if brain else [])]
    map_, truth, *rest = (str(folder / name) for name in files)
    words = [map_, truth, "--units", "voxel", *(["--brain", *rest] if brain else [])]
    return CliRunner().invoke(main, ["evaluate", *words, *map(str, arguments)])


def test_the_table_has_a_row_for_each_preset(folder: Path) -> None:
    result = run(folder, "--markers", "--rays", 60)

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("60 clicks from random sides into 1 view of 40 x 60 x 70 voxels")
    assert [line.split()[0] for line in lines[3:]] == [
        "raw", "clip-10", "clip-6", "clip-6-power-2", "plain", "replace",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 120


def test_json_is_one_object_with_all_numbers(folder: Path) -> None:
    words = ["--preset", "replace", "--seed", 4, "--rays", 50, "--view", 32, "--views", 3]

    result = run(folder, "--markers", "--json", *words)

    scores = json.loads(result.stdout)
    assert (scores["clicks"], scores["seed"], len(scores["views"])) == (50, 4, 3)
    rows = {(row["name"], row["opening"]): row for row in scores["displays"]}
    assert list(rows) == [
        ("raw", "terafly-16"),
        ("raw", "file-16"),
        ("replace", "terafly-16"),
        ("replace", "terafly-8"),
        ("replace", "file-16"),
    ]
    best = rows["replace", "terafly-16"]
    low, high = best["within_2_interval"]
    assert low <= best["within_2"] <= high
    assert best["gain"] == pytest.approx(best["within_2"] - rows["raw", "terafly-16"]["within_2"])


def test_a_figure_is_drawn(folder: Path, tmp_path: Path) -> None:
    figure = tmp_path / "clicks.png"

    result = run(folder, "--markers", "--rays", 40, "--preset", "plain", "--figure", figure)

    assert result.exit_code == 0, result.output
    with Image.open(figure) as picture:
        assert picture.size[0] > 1000
        assert np.asarray(picture).std() > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--markers", "--metrics", "ccq"], "--metrics does not concern clicks"),
        (["--markers", "--threshold", "2"], "--threshold does not concern clicks"),
        (["--rays", "5"], "is about clicks: add --markers"),
        (["--markers", "--rays", "0"], "rays"),
        (["--markers", "--preset", "rgb"], "colour"),
        (["--markers", "--preset", "clip-7"], "clip-7"),
        (["--markers", "--figure", "no/where/a.png"], "does not exist"),
    ],
)
def test_a_known_failure_is_one_line(folder: Path, words: list[str], message: str) -> None:
    result = run(folder, *words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_without_a_brain_there_is_nothing_to_click_into(folder: Path) -> None:
    result = run(folder, "--markers", brain=False)

    assert result.exit_code == 2
    assert "--brain" in result.stderr
    alone = run(folder, "--metrics", "ccq", brain=False)
    assert alone.exit_code == 0, alone.output
