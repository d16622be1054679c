from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box, Frame, Level, plan_levels
from neuroconn.volume import (
    convert,
    create_image,
    open_image,
    open_volume,
    read_region,
    write_region,
)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory, stack: Path, small: dict[str, Any]) -> Path:
    path = tmp_path_factory.mktemp("open") / "b"
    convert(stack, path, **small)
    return path


def test_a_brain_opens_lazily_with_a_block_a_shard(brain: Path, voxels: NDArray[np.uint16]) -> None:
    volume = open_volume(brain)

    assert volume.dims == ("z", "y", "x")
    assert volume.dtype == np.uint16
    assert volume.data.chunksize == (8, 8, 8)
    np.testing.assert_array_equal(volume.compute(scheduler="sync"), voxels)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_coordinates_are_voxel_centres_in_micrometres(brain: Path, level: int) -> None:
    volume, image = open_volume(brain, level), open_image(brain)

    frame = image.levels[level].frame(Frame((1.0, 0.5, 0.5)))
    for axis, start, step in zip("zyx", frame.origin_um, frame.spacing_um, strict=True):
        expected = start + step * np.arange(volume.sizes[axis])
        np.testing.assert_allclose(volume[axis], expected)
        assert volume[axis].attrs["units"] == "micrometer"


@pytest.mark.parametrize(
    "key",
    [
        (3, slice(None), slice(2, 30, 3)),
        (slice(20, 1, -2), 5, 6),
        (slice(4, 4), slice(None), slice(None)),
        (slice(None), [3, 1, 26], slice(0, 9)),
        (-1, -1, -1),
    ],
)
def test_indexing_is_that_of_the_whole_array(
    brain: Path, voxels: NDArray[np.uint16], key: Any
) -> None:
    read = open_volume(brain).data[key].compute(scheduler="sync")

    np.testing.assert_array_equal(read, voxels[key])


def test_a_point_is_found_by_its_position(brain: Path, voxels: NDArray[np.uint16]) -> None:
    found = open_volume(brain).sel(z=7.2, y=10.1, x=3.4, method="nearest")

    assert int(found.compute(scheduler="sync")) == voxels[7, 20, 7]


def test_opening_reads_no_voxel_and_damage_is_an_error_when_read(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    convert(stack, tmp_path / "b", **small)
    for path in (tmp_path / "b" / "0" / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")

    volume = open_volume(tmp_path / "b")

    with pytest.raises(VolumeError, match="empty"):
        volume[12].compute(scheduler="sync")


def test_an_unknown_spacing_has_voxel_coordinates(tmp_path: Path) -> None:
    create_image(
        tmp_path / "b", levels=plan_levels((4, 4, 4)), dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)), chunk=4, shard=4, kind="brain", spacing_known=False,
    )  # fmt: skip

    assert open_volume(tmp_path / "b")["z"].attrs["units"] == "voxel"


def distance(path: Path, dtype: str, fill: float, **attributes: float) -> Any:
    return create_image(
        path, levels=[Level((4, 4, 4), (1, 1, 1), (1, 1, 1))], dtype=dtype,
        frame=Frame((1.0, 1.0, 1.0)), chunk=4, shard=4, fill_value=fill, kind="distance",
        array_attributes=attributes,
    )  # fmt: skip


def test_a_distance_map_is_decoded_with_nan_where_nobody_looked(tmp_path: Path) -> None:
    image = distance(tmp_path / "d", "uint8", 255, scale_factor=10 / 250)
    codes = np.full((4, 4, 4), 255, np.uint8)
    codes[0, 0] = 0, 25, 200, 250
    write_region(image.array(0), Box.of_shape(codes.shape), codes)

    volume = open_volume(tmp_path / "d")
    read = volume.compute(scheduler="sync")

    assert (volume.dtype, volume.name) == (np.float32, "distance")
    np.testing.assert_allclose(read[0, 0], [0, 1, 8, 10])
    assert np.isnan(read[1:]).all()
    np.testing.assert_array_equal(read_region(image.array(0), Box.of_shape((4, 4, 4))), codes)


def test_a_float_distance_map_needs_no_decoding(tmp_path: Path) -> None:
    image = distance(tmp_path / "d", "float32", np.nan)
    values = np.full((4, 4, 4), 2.5, np.float32)
    write_region(image.array(0), Box.of_shape(values.shape), values)

    np.testing.assert_array_equal(open_volume(tmp_path / "d").compute(scheduler="sync"), values)


def test_offset_and_other_fill_values_are_honoured(tmp_path: Path) -> None:
    image = distance(tmp_path / "d", "uint16", 65535, scale_factor=0.5, add_offset=-1.0)
    codes = np.full((4, 4, 4), 4, np.uint16)
    codes[0] = 65535
    write_region(image.array(0), Box.of_shape(codes.shape), codes)

    read = open_volume(tmp_path / "d").compute(scheduler="sync")

    assert (read[1:] == 1.0).all()
    assert np.isnan(read[0]).all()


def test_a_packed_distance_map_without_a_scale_is_refused(tmp_path: Path) -> None:
    distance(tmp_path / "d", "uint8", 255)

    with pytest.raises(VolumeError, match="without scale_factor"):
        open_volume(tmp_path / "d")


def test_a_level_that_does_not_exist_is_named(brain: Path) -> None:
    with pytest.raises(VolumeError, match="not 9"):
        open_volume(brain, 9)
