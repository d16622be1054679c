import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.geometry import Box
from neuroconn.volume import open_image, read_region


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
    assert "1 of 1 bands" in result.stdout
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
    assert (report["downsample"], report["bands_written"]) == ("mean", report["bands"])
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
        (["a.tif", "b", "--channel", "1"], 2, "channel 1 does not exist"),
        (["a.tif", "b", "--offset", "1", "--range", "0", "9"], 2, "not both"),
        (["a.tif", "b", "--dtype", "uint8"], 2, "--range LOW HIGH"),
        (["a.tif", "b", "--scheduler", "nowhere.json"], 2, "no scheduler file"),
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


def test_sides_may_be_three_and_the_version_0_4(stack: Path, tmp_path: Path) -> None:
    result = run(
        stack, tmp_path / "b", "--chunk", "4,8,16", "--shard", "4,16,32", "--zarr-format", 2,
        "--compression", "speed",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    image = open_image(tmp_path / "b")
    assert image.zarr_format == 2
    assert image.array(0).chunks == (4, 8, 16)


def test_two_sides_are_a_usage_error(stack: Path, tmp_path: Path) -> None:
    result = run(stack, tmp_path / "b", "--shard", "64,64")

    assert result.exit_code == 2
    assert "'64,64' is not one side or three: 256, or 64,256,256" in result.stderr


def test_types_are_mapped_as_stated_and_clipping_is_said(tmp_path: Path) -> None:
    voxels = np.linspace(-1, 1, 4 * 20 * 30).reshape(4, 20, 30).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", voxels, photometric="minisblack")

    refused = run(tmp_path / "a.tif", tmp_path / "b")
    assert refused.exit_code == 3
    assert "--range LOW HIGH" in refused.stderr

    result = run(tmp_path / "a.tif", tmp_path / "b", "--range", -0.5, 2, "--dtype", "uint8")
    assert result.exit_code == 0, result.output
    image = open_image(tmp_path / "b")
    stored = read_region(image.array(0), Box.of_shape((4, 20, 30)))
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(stored / 255 * 2.5 - 0.5, voxels.clip(-0.5), atol=0.006)
    assert f"{np.count_nonzero(voxels < -0.5)} voxels lay outside" in result.stdout


def test_damage_is_filled_on_request_with_exit_code_1(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 99, (20, 32, 40)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", voxels, compression="zlib", rowsperstrip=8, photometric="minisblack"
    )
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        at = tif.pages[3].dataoffsets[1]  # type: ignore[union-attr]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[at + 6 : at + 60] = bytes(54)
    (tmp_path / "a.tif").write_bytes(data)

    assert run(tmp_path / "a.tif", tmp_path / "b").exit_code == 3
    result = run(tmp_path / "a.tif", tmp_path / "b", "--on-bad", "fill")

    assert result.exit_code == 1
    assert "stored as zeros, since the source is damaged there: z 3:4, y 8:16" in result.stdout


@pytest.mark.cluster
def test_workers_convert_what_this_process_would(stack: Path, tmp_path: Path) -> None:
    result = run(
        stack, tmp_path / "b", "--scheduler", "local:1", "--chunk", 8, "--shard", 16, "--json"
    )

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["bands_written"] > 0
    verified = CliRunner().invoke(
        main, ["verify", str(tmp_path / "b"), "--against", str(stack), "--json"]
    )
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout) == {
        "output": str(tmp_path / "b"), "problems": [], "sound": True
    }  # fmt: skip


def test_a_changed_source_fails_the_comparison(stack: Path, tmp_path: Path) -> None:
    run(stack, tmp_path / "b")
    voxels = tifffile.imread(stack)
    voxels[3, 4, 5] += 1
    tifffile.imwrite(tmp_path / "other.tif", voxels, photometric="minisblack")

    result = CliRunner().invoke(
        main, ["verify", str(tmp_path / "b"), "--against", str(tmp_path / "other.tif")]
    )

    assert result.exit_code == 1
    assert "the first at 3, 4, 5" in result.stdout


def test_info_says_what_a_path_is(stack: Path, tmp_path: Path) -> None:
    source = CliRunner().invoke(main, ["info", str(stack)])
    assert source.exit_code == 0, source.output
    assert "20 x 30 x 40 uint16" in source.stdout
    assert "2 x 0.5 x 0.5 µm" in source.stdout

    run(stack, tmp_path / "b")
    brain = CliRunner().invoke(main, ["info", str(tmp_path / "b"), "--json"])
    assert json.loads(brain.stdout)["what"] == "brain"
    lines = CliRunner().invoke(main, ["info", str(tmp_path / "b")]).stdout
    assert "flicker" in lines
    assert "by max" in lines

    nothing = CliRunner().invoke(main, ["info", str(tmp_path / "none")])
    assert nothing.exit_code == 3
    assert nothing.stderr.startswith("Error: no source at")
