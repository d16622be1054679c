"""TeraFly's annotations through every command that takes or makes a tracing."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from neuroconn.annotation import (
    Forest,
    Landmark,
    distance_map,
    read_ano,
    read_eswc,
    read_swc,
    render,
    write_ano,
    write_eswc,
    write_swc,
)
from neuroconn.cli import main
from neuroconn.exporter import export
from neuroconn.geometry import Box, Frame, Level
from neuroconn.inference.encoding import Encoding
from neuroconn.training.annotated import open_annotated
from neuroconn.volume import create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

SHAPE = (24, 40, 96)
FRAME = Frame((2.0, 1.0, 1.0), (100.0, 10.0, 0.0))
CROP = Box((2, 10, 16), (22, 38, 96))


def neurite() -> Forest:
    x = np.arange(20, 92, 3.0)
    nodes = np.stack([12 + 4 * np.sin(x / 9), 24 + 5 * np.cos(x / 7), x], axis=1).round(3)
    return Forest(nodes, np.arange(-1, len(x) - 1), kinds=np.full(len(x), 2))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brain, its map, the whole and a part of it as Vaa3D shows them, and a proofread set."""
    folder = tmp_path_factory.mktemp("lab")
    distance = distance_map(render(neurite(), Box.of_shape(SHAPE)))
    noise = np.random.default_rng(0).normal(100, 8, SHAPE)
    voxels = (noise + 500 * (distance < 1.5)).astype(np.uint16)
    counts = voxel_histogram(voxels)
    notes = {**intensity_statistics(counts), "histogram": pack_histogram(counts)}
    encoding = Encoding("uint8", 10.0)
    for name, values in (("brain", voxels), ("distance", encoding.encode(distance))):
        is_map = name == "distance"
        image = create_image(
            folder / f"{name}.zarr",
            levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))],
            dtype=values.dtype,
            frame=FRAME,
            chunk=16,
            shard=None,
            kind="distance" if is_map else "brain",
            fill_value=255 if is_map else 0,
            array_attributes=encoding.attributes() if is_map else None,
            attributes={} if is_map else {"intensity": notes},
        )
        write_region(image.array(), Box.of_shape(SHAPE), values)
    images = folder / "brain.zarr", folder / "distance.zarr"
    export(*images, folder / "crop", box=CROP)
    export(*images, folder / "crop.v3draw", box=CROP, format="v3draw")
    moved = neurite().transform(1.0, [-v for v in CROP.start])
    write_ano(folder / "whole.ano", [Landmark((12, 24, 21)), Landmark((12, 24, 90))], neurite())
    write_ano(folder / "part.ano", [Landmark((10, 14, 5)), Landmark((10, 14, 74))], moved)
    write_eswc(folder / "whole.eswc", neurite())
    write_swc(folder / "whole.swc", neurite())
    return folder


def run(lab: Path, command: str, *words: object) -> Result:
    named = [str(lab / w) if isinstance(w, str) and (lab / w).exists() else str(w) for w in words]
    return CliRunner().invoke(main, [command, *named])


def dry_run(lab: Path, tmp_path: Path, *words: object) -> Result:
    output = tmp_path / "out.zarr"
    return run(
        lab, "infer", "brain.zarr", output, "--dry-run", "--no-measure", "--scheduler", "sync",
        "--json", *words,
    )  # fmt: skip


def test_the_walk_starts_at_a_proofread_set(lab: Path, tmp_path: Path) -> None:
    fine = [word for s in ("chunk=32", "inner_chunk=16", "halo=16") for word in ("--set", s)]

    whole = dry_run(lab, tmp_path, "--seeds", "whole.ano", *fine)
    part = dry_run(lab, tmp_path, "--seeds", "part.ano", "--seeds-in", "crop", *fine)

    assert whole.exit_code == part.exit_code == 0, whole.output + part.output
    seeds = [json.loads(result.stdout)["seeds"] for result in (whole, part)]
    assert seeds[0] == seeds[1] > 1


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["--seeds", "part.ano", "--seeds-in", "brain.json"], 2, "no export"),
        (["--seeds", "whole.ano", "--seeds-in", "crop"], 2, "were read as voxels of"),
        (["--seeds", "crop.v3draw"], 3, "points are read from"),
        (["--seeds", "gone.ano"], 3, "cannot read gone.ano"),
        (["--seeds", "whole.ano", "--apo-base", "2"], 2, "--apo-base"),
    ],
)
def test_seeds_that_cannot_be_are_named_before_the_first_chunk(
    lab: Path, tmp_path: Path, words: list[str], code: int, what: str
) -> None:
    # The tracing may leave the brain; a point that was marked may not.
    result = dry_run(lab, tmp_path, *words)

    assert result.exit_code == code, result.output
    assert what in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [("whole.ano", "--units", "voxel"), ("part.ano", "--traced-in", "crop")]
)
def test_crops_are_cut_along_a_proofread_set(
    lab: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    options = ("--size", "16", "--minimum", "10", "--clip", "5", "--json")

    plain = run(lab, "dataset", "brain.zarr", "whole.swc", tmp_path / "a", *options,
                "--units", "voxel")  # fmt: skip
    found = run(lab, "dataset", "brain.zarr", words[0], tmp_path / "b", *options, *words[1:])

    assert found.exit_code == plain.exit_code == 0, found.output
    a, b = (json.loads(result.stdout) for result in (plain, found))
    assert a["brains"][0]["kept"] == b["brains"][0]["kept"] > 0


def test_what_was_traced_in_a_crop_is_learnt_from_in_the_brain(lab: Path) -> None:
    from neuroconn.config.crops import BrainSource

    source = BrainSource(
        brain=str(lab / "brain.zarr"),
        swc=(str(lab / "part.ano"),),
        traced_in=str(lab / "crop"),
    )

    forest = open_annotated(source).forest

    np.testing.assert_allclose(forest.positions, neurite().positions, atol=1e-6)
    assert "traced_in" not in source.model_copy(update={"traced_in": None}).model_dump()
    assert source.model_dump()["traced_in"] == str(lab / "crop")
    with pytest.raises(ValueError, match="units must be voxel"):
        BrainSource(brain="b", swc=("s",), traced_in="crop", y_flip=True)


@pytest.mark.parametrize("name", ["whole.ano", "whole.eswc"])
def test_a_proofread_set_is_a_truth(lab: Path, name: str) -> None:
    words = ("--units", "voxel", "--json", "--metrics", "ccq")
    plain = run(lab, "evaluate", "distance.zarr", "whole.swc", *words)

    found = run(lab, "evaluate", "distance.zarr", name, *words)
    lines = run(lab, "evaluate", name, "whole.swc", *words)

    assert found.exit_code == lines.exit_code == 0, found.output + lines.output
    assert found.stdout == plain.stdout
    assert json.loads(lines.stdout)["correctness"] == 1


def test_a_traced_set_opens_in_terafly(lab: Path, tmp_path: Path) -> None:
    soma = ("--soma", 12, 24, 21)

    for name in ("a.ano", "a.eswc", "a.swc"):
        result = run(lab, "trace", "distance.zarr", tmp_path / name, *soma)
        assert result.exit_code == 0, result.output

    found, in_um = read_ano(tmp_path / "a.ano"), read_swc(tmp_path / "a.swc")
    assert found.landmarks == (Landmark((12, 24, 21), "soma 1"),)
    np.testing.assert_allclose(found.forest.to_um(Frame(FRAME.spacing_um, FRAME.origin_um))
                               .positions, in_um.positions, atol=2e-3)  # fmt: skip
    assert read_eswc(tmp_path / "a.eswc")[0] == in_um
    assert "teraflyindex" in (tmp_path / "a.eswc").read_text()


def test_no_part_of_a_set_is_replaced_without_force(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "a.ano.apo").write_text("mine")

    refused = run(lab, "trace", "distance.zarr", tmp_path / "a.ano")
    in_um = run(lab, "trace", "distance.zarr", tmp_path / "b.ano", "--units", "um")

    assert (refused.exit_code, in_um.exit_code) == (2, 2)
    assert "a.ano.apo is there already" in refused.stderr
    assert "would be misplaced" in in_um.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a.ano.apo"]
    assert (tmp_path / "a.ano.apo").read_text() == "mine"
    assert run(lab, "trace", "distance.zarr", tmp_path / "a.ano", "--force").exit_code == 0


def test_a_part_is_traced_where_it_lies(lab: Path, tmp_path: Path) -> None:
    result = run(lab, "trace", "distance.zarr", tmp_path / "a.ano", "--box", "0:24,0:40,48:96")

    assert result.exit_code == 0, result.output
    nodes = read_ano(tmp_path / "a.ano").forest.positions
    assert nodes[:, 2].min() >= 47
