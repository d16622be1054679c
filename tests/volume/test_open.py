from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.inference.encoding import Encoding
from neuroconn.volume import create_image, open_image, open_volume, read_region, write_region

SHAPE = (18, 27, 21)
LEVELS = plan_levels(SHAPE, smallest=8)
FRAME = Frame((1.0, 0.5, 0.5))
formats = pytest.mark.parametrize("zarr_format", [3, 2])


def filled(path: Path, values: NDArray[Any], **changes: Any) -> Any:
    """An image whose levels are every second voxel of the one below."""
    options: dict[str, Any] = {
        "levels": LEVELS, "dtype": values.dtype, "frame": FRAME, "chunk": 4, "shard": 8,
        "kind": "brain",
    }  # fmt: skip
    image = create_image(path, **{**options, **changes})
    for number, level in enumerate(image.levels):
        z, y, x = level.factor
        write_region(image.array(number), Box.of_shape(level.shape), values[::z, ::y, ::x])
    return image


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    """A brain with an empty corner."""
    values = np.random.default_rng(3).integers(0, 2000, SHAPE).astype(np.uint16)
    values[:16, :16, :16] = 0
    return values


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory, voxels: NDArray[np.uint16]) -> Path:
    return Path(filled(tmp_path_factory.mktemp("open") / "b", voxels).path)


def test_a_brain_opens_lazily_with_a_block_a_shard(brain: Path, voxels: NDArray[np.uint16]) -> None:
    volume = open_volume(brain)

    assert (volume.name, volume.dims, volume.dtype) == ("image", ("z", "y", "x"), np.uint16)
    assert volume.data.chunksize == (8, 8, 8)
    np.testing.assert_array_equal(volume.compute(scheduler="sync"), voxels)


def test_a_block_may_be_an_inner_chunk_for_looks_at_small_parts(
    brain: Path, voxels: NDArray[np.uint16]
) -> None:
    volume = open_volume(brain, chunks="inner")

    assert volume.data.chunksize == (4, 4, 4)
    assert volume.data[:4, 4:8, :4].npartitions == 1
    np.testing.assert_array_equal(volume.compute(scheduler="sync"), voxels)
    with pytest.raises(ValueError, match="shard or inner"):
        open_volume(brain, chunks="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("chunks", ["shard", "inner"])
def test_without_shards_a_block_is_a_chunk(
    tmp_path: Path, voxels: NDArray[np.uint16], chunks: Any
) -> None:
    image = filled(tmp_path / "b", voxels, zarr_format=2)

    volume = open_volume(image.path, chunks=chunks)

    assert volume.data.chunksize == (4, 4, 4)
    np.testing.assert_array_equal(volume.compute(scheduler="sync"), voxels)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_coordinates_are_voxel_centres_in_micrometres(brain: Path, level: int) -> None:
    volume, image = open_volume(brain, level), open_image(brain)

    frame = image.levels[level].frame(Frame((1.0, 0.5, 0.5)))
    assert all(volume[axis].dtype == np.float64 for axis in "zyx")
    for axis, start, step in zip("zyx", frame.origin_um, frame.spacing_um, strict=True):
        expected = start + step * np.arange(volume.sizes[axis])
        np.testing.assert_allclose(volume[axis], expected, rtol=1e-12)
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


def test_a_slab_of_a_coarse_level_is_cut_at_its_own_voxel_centres(tmp_path: Path) -> None:
    levels = plan_levels((64, 64, 64), smallest=32)
    image = create_image(
        tmp_path / "b", levels=levels, dtype="uint8", frame=Frame((1.0, 1.0, 1.0)), kind="brain",
        chunk=32, shard=32,
    )  # fmt: skip

    slab = open_volume(image.path, 1).sel(z=slice(10, 20))

    assert slab["z"].values.tolist() == [10.5, 12.5, 14.5, 16.5, 18.5]


@formats
def test_opening_reads_no_voxel_and_damage_is_an_error_when_read(
    tmp_path: Path, voxels: NDArray[np.uint16], zarr_format: int
) -> None:
    image = filled(tmp_path / "b", voxels, zarr_format=zarr_format)
    for path in (image.path / "0").rglob("*"):
        if path.is_file() and path.name != "zarr.json" and not path.name.startswith("."):
            path.write_bytes(b"")

    volume = open_volume(image.path)

    with pytest.raises(VolumeError, match="empty"):
        volume[12].compute(scheduler="sync")


def test_an_unknown_spacing_has_voxel_coordinates(tmp_path: Path) -> None:
    create_image(
        tmp_path / "b", levels=plan_levels((4, 4, 4)), dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)), chunk=4, shard=4, kind="brain", spacing_known=False,
    )  # fmt: skip

    assert open_volume(tmp_path / "b")["z"].attrs["units"] == "voxel"


def distance(path: Path, codes: NDArray[Any], fill: float, **changes: Any) -> Any:
    return filled(path, codes, kind="distance", fill_value=fill, **changes)


def codes_of(dtype: str, fill: int, top: int) -> NDArray[Any]:
    """All codes somewhere, and a corner where nobody looked."""
    codes = np.random.default_rng(5).integers(0, top + 1, SHAPE).astype(dtype)
    codes[:9, :9, :9] = fill
    return codes


def xarray_alone(path: Path, level: int, **options: Any) -> xr.DataArray:
    """A level as xarray opens it without us: the others would have other sizes."""
    others = [str(n) for n in range(len(LEVELS)) if n != level]
    opened = xr.open_zarr(path, consolidated=False, drop_variables=others, **options)
    return opened[str(level)]


@formats
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_distance_map_is_float32_with_nan_where_nobody_looked_at_every_level(
    tmp_path: Path, zarr_format: int, dtype: str
) -> None:
    encoding = Encoding(dtype, clip=10.0)
    if dtype == "float32":
        codes = (np.random.default_rng(5).random(SHAPE) * 10).astype(np.float32)
        codes[:9, :9, :9] = np.nan
    else:
        codes = codes_of(dtype, int(encoding.fill), 250 if dtype == "uint8" else 65_000)
    image = distance(
        tmp_path / "d", codes, encoding.fill, zarr_format=zarr_format,
        array_attributes=encoding.attributes(),
    )  # fmt: skip

    for number, level in enumerate(image.levels):
        volume = open_volume(image.path, number)
        read = volume.compute(scheduler="sync").values
        z, y, x = level.factor
        assert (volume.dtype, volume.name) == (np.float32, "distance")
        np.testing.assert_array_equal(read, encoding.decode(codes[::z, ::y, ::x]))
        assert np.isnan(read[0, 0, 0])
        decoded = xarray_alone(image.path, number)
        np.testing.assert_array_equal(decoded.values.astype(np.float32), read)
        assert decoded.dims == volume.dims
        assert decoded.attrs["units"] == volume.attrs["units"] == "voxel"


def test_xarray_alone_reads_a_brain_of_format_3_as_it_is_stored(
    brain: Path, voxels: NDArray[np.uint16]
) -> None:
    alone = xarray_alone(brain, 0)

    assert alone.dtype == np.uint16
    np.testing.assert_array_equal(alone, voxels)


def test_xarray_alone_must_not_decode_a_brain_of_format_2(
    tmp_path: Path, voxels: NDArray[np.uint16]
) -> None:
    """It takes the fill value of Zarr v2 for "missing", and black voxels become NaN."""
    image = filled(tmp_path / "b", voxels, zarr_format=2)

    assert np.isnan(xarray_alone(image.path, 0).values[0, 0, 0])
    stored = xarray_alone(image.path, 0, mask_and_scale=False)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, voxels)


@formats
def test_offset_and_other_fill_values_are_honoured(tmp_path: Path, zarr_format: int) -> None:
    codes = codes_of("uint16", 9, 8)
    image = distance(
        tmp_path / "d", codes, 9, zarr_format=zarr_format,
        array_attributes={"scale_factor": 0.5, "add_offset": -1.0},
    )  # fmt: skip

    read = open_volume(image.path).compute(scheduler="sync").values

    expected = np.where(codes == 9, np.nan, codes * 0.5 - 1)
    np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(xarray_alone(image.path, 0), expected)


def test_codes_stay_as_they_are_for_those_who_ask_for_them(tmp_path: Path) -> None:
    codes = codes_of("uint8", 255, 250)
    image = distance(tmp_path / "d", codes, 255, array_attributes={"scale_factor": 0.04})

    np.testing.assert_array_equal(read_region(image.array(0), Box.of_shape(SHAPE)), codes)
    undecoded = xarray_alone(image.path, 0, mask_and_scale=False)
    np.testing.assert_array_equal(undecoded, codes)


def test_a_packed_distance_map_without_a_scale_is_refused(tmp_path: Path) -> None:
    image = distance(tmp_path / "d", codes_of("uint8", 255, 250), 255)

    with pytest.raises(VolumeError, match="without scale_factor"):
        open_volume(image.path)


def test_a_level_that_does_not_exist_is_named(brain: Path) -> None:
    with pytest.raises(VolumeError, match="not 9"):
        open_volume(brain, 9)
