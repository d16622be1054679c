import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.volume import open_image


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).integers(0, 99, (20, 30, 40)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", voxels, imagej=True, resolution=(2, 2),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"},
    )  # fmt: skip
    return tmp_path / "a.tif"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_a_conversion_reports_on_stdout_and_progresses_on_stderr(
    stack: Path, tmp_path: Path
) -> None:
    result = run(stack, tmp_path / "b.ome.zarr")

    assert result.exit_code == 0, result.output
    assert "spacing 2.0 x 0.5 x 0.5 µm" in result.stdout
    assert "1 of 1 rows" in result.stdout
    assert "GiB" in result.stderr
    assert open_image(tmp_path / "b.ome.zarr").shape == (20, 30, 40)

    again = run(stack, tmp_path / "b.ome.zarr")
    assert again.exit_code == 0
    assert "nothing to do" in again.stdout
    assert not again.stderr


def test_json_is_one_object_on_stdout(stack: Path, tmp_path: Path) -> None:
    result = run(
        stack, tmp_path / "b", "--json", "--spacing", 3, 1, 1, "--chunk", 8, "--shard", 16,
        "--downsample", "mean", "--set", "smallest=20",
    )  # fmt: skip

    report = json.loads(result.stdout)
    assert report["shape"] == [20, 30, 40]
    assert report["spacing_um"] == [3.0, 1.0, 1.0]
    assert (report["chunk"], report["shard"]) == ([8, 8, 8], [16, 16, 16])
    assert (report["downsample"], report["rows_written"]) == ("mean", 4)
    assert len(report["levels"]) == 2
    assert report["intensity"]["percentiles"]["50"] > 0


def test_presets_give_the_layout_and_options_override_them(stack: Path, tmp_path: Path) -> None:
    assert run(stack, tmp_path / "a", "--preset", "anisotropic").exit_code == 0
    assert open_image(tmp_path / "a").array(0).chunks == (32, 64, 64)

    result = run(stack, tmp_path / "b", "--preset", "anisotropic", "--chunk", 16, "--shard", 32)
    assert result.exit_code == 0
    assert open_image(tmp_path / "b").array(0).chunks == (16, 16, 16)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["none.tif", "b"], 3, "no source at"),
        (["a.tif", "mine"], 2, "nothing is ever overwritten"),
        (["a.tif", "b", "--chunk", "7"], 2, "chunk"),
        (["a.tif", "b", "--set", "chunks=8"], 2, "unknown key 'chunks'"),
        (["a.tif", "b", "--preset", "nope"], 2, "known: anisotropic, default"),
        (["a.tif", "b", "--memory", "0.01"], 2, "GiB of memory"),
    ],
)
def test_a_known_failure_is_one_line_with_its_own_exit_code(
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep").touch()

    result = run(*arguments)

    assert result.exit_code == code
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert not result.stdout
    assert not (tmp_path / "b").exists()


def test_an_interrupted_conversion_says_how_to_go_on(
    stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuroconn.volume import converter

    summarise = converter._summarise

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(converter, "_summarise", interrupt)
    result = run(stack, tmp_path / "b")
    assert result.exit_code == 75
    assert "run the same command again" in result.stderr

    refused = run(stack, tmp_path / "b", "--no-resume")
    assert refused.exit_code == 2
    assert "unfinished" in refused.stderr

    monkeypatch.setattr(converter, "_summarise", summarise)
    assert run(stack, tmp_path / "b").exit_code == 0
