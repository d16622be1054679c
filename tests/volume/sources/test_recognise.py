"""What is at a path follows from its content."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box, Frame, Level
from neuroconn.volume import create_image, open_source, write_region

SHAPE = (5, 33, 29)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)


def stack(path: Path) -> Path:
    tifffile.imwrite(path, VOXELS, photometric="minisblack")
    return path


def refuse(path: Path, reason: str) -> None:
    with pytest.raises(VolumeError, match=reason) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_content_decides_before_the_extension(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif").rename(tmp_path / "a.dat")

    assert open_source(path).shape == SHAPE


def test_a_folder_with_one_stack_is_that_stack(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    stack(tmp_path / "s" / "a.tif")

    assert open_source(tmp_path / "s").shape == SHAPE


def test_an_image_is_a_source_too(tmp_path: Path) -> None:
    image = create_image(
        tmp_path / "a", levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))], dtype="uint16",
        frame=Frame((2.0, 1.0, 1.0)), chunk=8, shard=16, kind="brain",
    )  # fmt: skip
    write_region(image.array(0), Box.of_shape(SHAPE), VOXELS)

    source = open_source(tmp_path / "a")

    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), VOXELS)
    assert source.spacing_um == (2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none", None, "no source at"),
        ("a.tif", b"", "is empty"),
        ("a.tif", b"\x89PNG" + bytes(50), "PNG"),
        ("b.tif", b"hello, world", "no known format"),
        ("b.tif", b"II*\x00", "is truncated or damaged"),
        ("b.tif", b"II*\x00" + bytes(4), "no image"),
        ("b.tif", b"II+\x00\x04\x00\x00\x00" + bytes(20), "not a TIFF file"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    refuse(tmp_path / name, reason)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "holds no files"),
        ({"notes.txt": b"x"}, "no TIFF slice"),
        ({"notes.txt": b"x", "a.tif": b""}, "a.tif is empty"),
        ({"a.tiff": b"II*\x00", "b.tif": b"hello"}, "b.tif is not a TIFF"),
    ],
)
def test_a_folder_without_slices_is_refused_by_name(
    tmp_path: Path, files: dict[str, Any], reason: str
) -> None:
    (tmp_path / "s").mkdir()
    for name, content in files.items():
        (tmp_path / "s" / name).write_bytes(content)

    refuse(tmp_path / "s", reason)
