import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from neuroconn.annotation import Forest, distance_map, read_swc, render, write_swc
from neuroconn.cli import main
from neuroconn.geometry import Box, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import create_image, write_region

NEURITE = Forest([[5, 5, 3], [20, 24, 30]], [-1, 0])
BOX = Box.of_shape((24, 30, 34))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encoding = Encoding("uint8", 10.0)
    distance = distance_map(render(NEURITE, BOX))
    for name, known in (("map", True), ("plain", False)):
        image = create_image(
            tmp_path / f"{name}.ome.zarr",
            levels=[Level(BOX.shape, (1, 1, 1), (1, 1, 1))],
            dtype="uint8",
            frame=Frame((2.0, 1.0, 1.0) if known else (1.0, 1.0, 1.0)),
            spacing_known=known,
            fill_value=255,
            kind="distance",
            array_attributes=encoding.attributes(),
        )
        write_region(image.array(), BOX, encoding.encode(distance))
    brain = create_image(
        tmp_path / "brain.ome.zarr",
        levels=[Level(BOX.shape, (1, 1, 1), (1, 1, 1))],
        dtype="uint16",
        frame=Frame((2.0, 1.0, 1.0)),
        kind="brain",
    )
    write_region(brain.array(), BOX, (100 + 900 * (distance < 2.5)).astype(np.uint16))
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    words = [
        str(folder / a) if a.endswith((".zarr", ".swc", ".marker", "trees")) else a
        for a in arguments
    ]
    return CliRunner().invoke(main, ["trace", *words])


def test_a_neurite_is_written_in_um(folder: Path) -> None:
    result = run(folder, "map.ome.zarr", "out.swc")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split()[:2] == ["trees", "1"]
    forest = read_swc(folder / "out.swc")
    degrees = np.bincount(forest.edges.ravel())
    truth = NEURITE.transform((2, 1, 1)).positions
    gaps = np.linalg.norm(forest.positions[degrees == 1][:, None] - truth, axis=2)
    assert gaps.min(axis=0).max() < 4


def test_json_is_one_object(folder: Path) -> None:
    result = run(folder, "map.ome.zarr", "out.swc", "--units", "voxel", "--json")

    report = json.loads(result.stdout)
    assert (report["trees"], report["branches"], report["ends"]) == (1, 0, 2)
    assert report["length"] == pytest.approx(NEURITE.length, abs=4)
    assert (report["units"], report["length_mm"]) == ("voxel", None)
    assert {"loops", "spurs", "bridges", "short", "nodes"} <= set(report)


def test_every_option_is_taken(folder: Path) -> None:
    write_swc(folder / "somas.swc", NEURITE)
    result = run(
        folder, "map.ome.zarr", "trees", "--threshold", "2.5", "--core", "1", "--spur", "5",
        "--shortest", "5", "--bridge", "3", "--smooth", "1", "--tolerance", "0.2", "--type", "2",
        "--soma", "5", "5", "3", "--somas", "somas.swc", "--brain", "brain.ome.zarr",
        "--start", "0", "0", "0", "--shape", "24", "30", "34", "--block", "16", "--workers", "2",
        "--json",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["somas"], report["measured"]) == (1, True)
    forest = read_swc(folder / "trees" / "tree_0001.swc")
    assert forest.kinds.tolist() == [1] + [2] * (len(forest) - 1)
    assert 2.5 <= np.median(forest.radii) <= 5.0  # 2.5 voxels of 2 x 1 x 1 µm


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["map.ome.zarr", "out.swc", "--threshold", "11"], 2, "threshold"),
        (["map.ome.zarr", "out.swc", "--core", "7"], 2, "core"),
        (["map.ome.zarr", "out.swc", "--units", "inch"], 2, "inch"),
        (["plain.ome.zarr", "out.swc", "--units", "um"], 2, "--units voxel"),
        (["map.ome.zarr", "out.swc", "--start", "0", "0", "0"], 2, "--shape"),
        (["map.ome.zarr", "map.ome.zarr"], 2, "no tree of ours"),
        (["map.ome.zarr", "s3://bucket/out.swc"], 2, "no folder"),
        (["gone.zarr", "out.swc"], 3, "gone.zarr"),
        (["brain.ome.zarr", "out.swc"], 3, "a brain"),
        (["map.ome.zarr", "out.swc", "--brain", "map.ome.zarr"], 3, "not the brain"),
    ],
)
def test_failures_are_one_line(folder: Path, arguments: list[str], code: int, words: str) -> None:
    result = run(folder, *arguments)

    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (folder / "out.swc").exists()


def test_a_second_run_needs_force(folder: Path) -> None:
    codes = [
        run(folder, "map.ome.zarr", "out.swc", *more).exit_code for more in ([], [], ["--force"])
    ]
    assert codes == [0, 2, 0]


def test_help_waits_for_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from neuroconn.cli import main;"
        "r = CliRunner().invoke(main, ['trace', '--help']); assert r.exit_code == 0, r.output;"
        "print([m for m in ('torch','dask','zarr','numba','scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
