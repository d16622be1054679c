"""Crops for Vaa3D: one file, or a tree, of a part of a brain."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from neuroconn.cli import main
from neuroconn.geometry import Box, Frame, Level
from neuroconn.vaa3d.exported import frame_of_export
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.v3draw import open_v3draw
from neuroconn.volume import create_image, intensity_statistics, write_region
from neuroconn.volume.statistics import pack_histogram, voxel_histogram

SHAPE = (40, 50, 60)
FRAME = Frame((2.0, 1.0, 0.5), (100.0, 10.0, -3.0))
BOX = Box((5, 6, 7), (25, 27, 29))
TEXT = "5:25,6:27,7:29"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 900, SHAPE, dtype=np.uint16)
    codes = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    counts = voxel_histogram(raw)
    notes = {"intensity": {**intensity_statistics(counts), "histogram": pack_histogram(counts)}}
    kinds = {
        "brain": (raw, SHAPE),
        "distance": (codes, SHAPE),
        "smaller": (codes[1:], (39, 50, 60)),
        "float": (raw.astype(np.float32), SHAPE),
        "signed": (raw.astype(np.int16), SHAPE),
    }
    for name, (volume, shape) in kinds.items():
        is_map = name in ("distance", "smaller")
        image = create_image(
            folder / name,
            levels=[Level(shape, (1, 1, 1), (1, 1, 1))],
            dtype=volume.dtype,
            frame=FRAME,
            chunk=16,
            shard=None,
            kind="distance" if is_map else "brain",
            fill_value=255 if is_map else 0,
            attributes={"scale_factor": 0.04} if is_map else notes,
        )
        write_region(image.array(0), Box.of_shape(shape), np.ascontiguousarray(volume))
    return folder


def run(
    images: Path, output: object, *more: object, brain: str = "brain", distance: str = "distance"
) -> Result:
    words = ["export", images / brain, images / distance, output, *more]
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_one_file_of_a_box_reads_everywhere_as_a_part_of_the_whole(
    dtype: str, images: Path, tmp_path: Path
) -> None:
    run(images, tmp_path / "whole.tif", "--dtype", dtype)
    for name in ("a.v3draw", "a.tif"):
        result = run(images, tmp_path / name, "--box", TEXT, "--dtype", dtype)
        assert result.exit_code == 0, result.output

    part = tifffile.imread(tmp_path / "whole.tif")[BOX.slices]
    assert part.dtype == dtype
    assert part.max() <= (32767 if dtype == "uint16" else 255)
    assert (tmp_path / "a.v3draw").stat().st_size == 43 + part.nbytes
    np.testing.assert_array_equal(open_v3draw(tmp_path / "a.v3draw")[0], part)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), part)


def test_an_independent_reader_sees_the_same_voxels(images: Path, tmp_path: Path) -> None:
    loaders = pytest.importorskip("v3dpy.loaders")
    run(images, tmp_path / "a.v3draw", "--box", TEXT)

    found = loaders.Raw().load(str(tmp_path / "a.v3draw"))

    np.testing.assert_array_equal(found, open_v3draw(tmp_path / "a.v3draw"))
    loaders.PBD().save(str(tmp_path / "a.v3dpbd"), found)
    np.testing.assert_array_equal(loaders.PBD().load(str(tmp_path / "a.v3dpbd")), found)


@pytest.mark.parametrize("name", ["tree", "a.v3draw", "a.tif"])
def test_a_box_is_a_start_and_a_shape_and_says_where_it_lies(
    name: str, images: Path, tmp_path: Path
) -> None:
    old = ("--start", *BOX.start, "--shape", *BOX.shape)
    (tmp_path / "old").mkdir()

    assert run(images, tmp_path / name, "--box", TEXT).exit_code == 0
    assert run(images, tmp_path / "old" / name, *old).exit_code == 0

    files = [p for p in (tmp_path / name, *(tmp_path / name).rglob("*")) if p.is_file()]
    for file in files:
        if file.suffix != ".json":
            twin = tmp_path / "old" / file.relative_to(tmp_path)
            assert file.read_bytes() == twin.read_bytes()
    frame = frame_of_export(tmp_path / name)
    assert frame.spacing_um == FRAME.spacing_um
    assert frame.origin_um == tuple(FRAME.to_um([BOX.start])[0])


def test_a_tree_of_a_box_is_a_part_of_the_whole(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "whole")
    run(images, tmp_path / "part", "--box", TEXT)

    whole, part = (TeraflyVolume(tmp_path / name) for name in ("whole", "part"))
    np.testing.assert_array_equal(part.read(Box.of_shape(BOX.shape)), whole.read(BOX))


def test_a_box_is_another_export(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "a.tif", "--box", TEXT)
    before = (tmp_path / "a.tif").read_bytes()

    again = run(images, tmp_path / "a.tif", "--box", TEXT)
    other = run(images, tmp_path / "a.tif", "--box", "5:25,6:27,7:28")

    assert (again.exit_code, other.exit_code) == (0, 2)
    assert "nothing to do" in again.stdout
    assert "with other box" in other.stderr
    assert (tmp_path / "a.tif").read_bytes() == before


def test_colour_is_for_single_files(images: Path, tmp_path: Path) -> None:
    for name, code in (("a.v3draw", 0), ("a.tif", 0), ("tree", 2)):
        result = run(images, tmp_path / name, "--box", TEXT, "--preset", "rgb")
        assert result.exit_code == code, result.output
    assert "RGB tile crashes TeraFly" in result.stderr
    assert not (tmp_path / "tree").exists()
    channels = open_v3draw(tmp_path / "a.v3draw")
    assert (channels.shape, channels.dtype) == ((3, *BOX.shape), np.uint8)
    np.testing.assert_array_equal(np.moveaxis(channels, 0, -1), tifffile.imread(tmp_path / "a.tif"))


LONG = "/".join(["y" * 99] * 11)


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ({"more": ["--box", "0:41,0:50,0:60"]}, 2, "not inside (40, 50, 60)"),
        ({"more": ["--box", "0:4,0:5"]}, 2, "has 2 ranges"),
        ({"more": ["--box", "0:4,9:5,0:1"]}, 2, "'9:5' along y holds no voxel"),
        ({"more": ["--box", TEXT, "--start", "0", "0", "0"]}, 2, "leave out --start"),
        ({"more": ["--dtype", "int16"]}, 2, "int16"),
        ({"brain": "float"}, 3, "float32"),
        ({"brain": "signed"}, 3, "int16"),
        ({"distance": "smaller"}, 3, "which is no level of"),
        ({"brain": "distance", "distance": "brain"}, 3, "then its distance map"),
    ],
)
@pytest.mark.parametrize("name", ["a.v3draw", "a.tif", "tree"])
def test_what_cannot_be_exported_is_named_and_nothing_written(
    name: str, how: dict[str, Any], code: int, words: str, images: Path, tmp_path: Path
) -> None:
    inputs = {key: how[key] for key in ("brain", "distance") if key in how}

    result = run(images, tmp_path / name, *how.get("more", []), **inputs)

    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "format", "words"),
    [
        (f"{LONG}/a.tif", "tiff", "reads fewer than 1024"),
        (f"{LONG}/a", "terafly", "reads fewer than 1024"),
        ("x" * 250 + ".v3draw", "v3draw", "its name takes 257 bytes"),
        ("NULL.tif/a", "terafly", "NULL.tif"),
        ("a.png", "tiff", "call it *.tif"),
        ("a.tif", "v3draw", "call it *.v3draw"),
    ],
)
def test_names_that_vaa3d_could_not_open_are_refused(
    name: str, format: str, words: str, images: Path, tmp_path: Path
) -> None:
    result = run(images, tmp_path / name, "--format", format)

    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_record_of_a_crop_says_how_it_was_made(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "a.v3draw", "--box", TEXT)

    notes = json.loads((tmp_path / "a.v3draw.json").read_text())
    assert notes["box"] == [list(BOX.start), list(BOX.stop)]
    assert (notes["peak"], notes["settings"]["clip"]) == (32767, 6)
