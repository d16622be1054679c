"""The export command, as a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.geometry import Box, Frame, Level
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.volume import create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

SHAPE = (40, 50, 60)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    raw = np.random.default_rng(0).integers(0, 900, SHAPE, dtype=np.uint16)
    codes = np.full(SHAPE, 255, np.uint8)
    codes[:, :, 32:] = 100
    only = [Level(SHAPE, (1, 1, 1), (1, 1, 1))]
    counts = voxel_histogram(raw)
    notes = {"intensity": {**intensity_statistics(counts), "histogram": pack_histogram(counts)}}
    for name, volume in (("brain", raw), ("distance", codes)):
        image = create_image(
            tmp_path / name,
            levels=only,
            dtype=volume.dtype,
            frame=Frame((1.0, 1.0, 1.0)),
            chunk=16,
            shard=64,
            kind="brain" if name == "brain" else "distance",
            fill_value=0 if name == "brain" else 255,
            attributes=notes if name == "brain" else {"scale_factor": 0.04},
        )
        write_region(image.array(0), Box.of_shape(SHAPE), volume)
    return [str(tmp_path / "brain"), str(tmp_path / "distance")]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_a_tree_is_written_and_its_levels_are_listed(images: list[str], tmp_path: Path) -> None:
    result = run(*images, tmp_path / "out", "--tile", 16, "--unexplored", "null")

    assert result.exit_code == 0, result.output
    assert "RES(50x60x40)" in result.stdout
    assert "RES(25x30x20)" in result.stdout
    assert "threshold of 85" in result.stdout
    assert TeraflyVolume(tmp_path / "out").shape == SHAPE


def test_json_is_one_object_on_stdout(images: list[str], tmp_path: Path) -> None:
    result = run(*images, tmp_path / "out", "--json", "--set", "factor=4", "--dtype", "uint8")

    report = json.loads(result.stdout)
    assert report["settings"]["factor"] == 4
    assert (report["dtype"], report["peak"], report["threshold"]) == ("uint8", 255, 51)
    assert [level["folder"] for level in report["levels"]] == ["RES(50x60x40)", "RES(25x30x20)"]


def test_running_again_says_that_nothing_is_left(images: list[str], tmp_path: Path) -> None:
    run(*images, tmp_path / "out")

    result = run(*images, tmp_path / "out")

    assert result.exit_code == 0
    assert "nothing to do" in result.stdout


@pytest.mark.parametrize("preset", ["plain", "clip-10", "clip-6", "clip-6-power-2", "rgb"])
def test_every_preset_exports_a_single_file(preset: str, images: list[str], tmp_path: Path) -> None:
    result = run(*images, tmp_path / "a.tif", "--format", "tiff", "--preset", preset)

    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.tif").is_file()


def test_a_crop_is_given_by_start_and_shape(images: list[str], tmp_path: Path) -> None:
    crop = ("--start", 5, 6, 7, "--shape", 20, 21, 22)

    result = run(*images, tmp_path / "a.v3draw", "--format", "v3draw", *crop)

    assert result.exit_code == 0, result.output
    assert (tmp_path / "a.v3draw").stat().st_size == 43 + 20 * 21 * 22 * 2
    notes = json.loads((tmp_path / "a.v3draw.json").read_text())
    assert notes["origin_um"] == [5, 6, 7]
    assert run(*images, tmp_path / "b", "--start", 1, 2, 3).exit_code == 2


def test_failures_are_one_line_with_their_own_exit_code(images: list[str], tmp_path: Path) -> None:
    cases = [
        (run(*images, tmp_path / "out", "--preset", "rgb"), 2, "RGB"),
        (run(*images, tmp_path / "out", "--preset", "clip-7"), 2, "clip-6-power-2"),
        (run(*images, tmp_path / "out", "--set", "clop=3"), 2, "clop"),
        (run(*images, tmp_path / "NULL.tif" / "out"), 2, "NULL.tif"),
        (run(images[1], images[0], tmp_path / "out"), 3, "then its distance map"),
        (run(images[0], tmp_path / "none", tmp_path / "out"), 3, "none"),
    ]

    for result, code, word in cases:
        assert result.exit_code == code
        assert result.stdout == ""
        assert word in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_interrupt_says_how_to_go_on(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("neuroconn.exporter.export", interrupted)

    result = run(*images, tmp_path / "out")

    assert result.exit_code == 75
    assert "run the same command again" in result.stderr
