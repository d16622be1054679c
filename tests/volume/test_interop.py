"""Other programs read what we write: same voxels, same places, in both versions of OME-Zarr."""

import json
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import ome_zarr_models.v04.image
import ome_zarr_models.v05.image
import pytest
import tensorstore
import yaozarrs
import zarr
from numpy.typing import NDArray

from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import Image, create_image, open_volume, write_region
from neuroconn.volume.pyramid_tree import open_pyramid

FRAME = Frame((1.0, 0.35, 0.35), (12.5, -3.0, 100.25))
SHAPE = (25, 70, 61)
LEVELS = plan_levels(SHAPE, FRAME.spacing_um, smallest=16)
POINT_UM = (31.3, 7.77, 114.9)
KINDS = ["brain", "distance"]
FORMATS = [3, 2]


def level_voxels(kind: str) -> list[NDArray[Any]]:
    """Level by level, the brightest (nearest) of the voxels below; one point stands out."""
    fine = np.random.default_rng(7).integers(30, 90, SHAPE).astype(np.uint16)
    z, y, x = np.rint(FRAME.to_voxels([POINT_UM])[0]).astype(int)
    fine[z, y, x] = 220
    if kind == "distance":
        fine = (250 - fine).astype(np.uint8)
    levels = [fine]
    for level in LEVELS[1:]:
        below, pick = levels[-1], np.maximum if kind == "brain" else np.minimum
        for axis, step in enumerate(level.step):
            if step == 2:
                below = pick.reduceat(below, np.arange(0, below.shape[axis], 2), axis=axis)
        levels.append(below)
    return levels


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Image]:
    folder, made = tmp_path_factory.mktemp("interop"), {}
    for kind in KINDS:
        for zarr_format in FORMATS:
            made[kind, zarr_format] = write(folder / f"{kind}{zarr_format}.ome.zarr", kind)
    return made


def write(path: Path, kind: Any) -> Image:
    distance: dict[str, Any] = {"fill_value": 255, "array_attributes": {"scale_factor": 0.04}}
    voxels = level_voxels(kind)
    image = create_image(
        path, levels=LEVELS, dtype=voxels[0].dtype, frame=FRAME, chunk=16, shard=32, kind=kind,
        zarr_format=3 if "3" in path.name else 2, **(distance if kind == "distance" else {}),
    )  # fmt: skip
    image.set_window(20, 230, low=0, high=float(np.iinfo(voxels[0].dtype).max))
    for level, data in enumerate(voxels):
        write_region(image.array(level), Box.of_shape(data.shape), data)
    return image


@pytest.fixture(params=[(k, f) for k in KINDS for f in FORMATS], ids=lambda p: f"{p[0]}-{p[1]}")
def image(request: pytest.FixtureRequest, images: dict[tuple[str, int], Image]) -> Image:
    return images[request.param]


def attributes(image: Image) -> dict[str, Any]:
    return dict(zarr.open_group(image.path, mode="r").attrs)


def test_yaozarrs_accepts_the_store(image: Image) -> None:
    yaozarrs.validate_zarr_store(str(image.path))


def test_ome_zarr_models_accepts_the_metadata_and_reads_the_same_places(image: Image) -> None:
    found = attributes(image)
    if image.zarr_format == 3:
        model = ome_zarr_models.v05.image.ImageAttrs.model_validate(found["ome"])
        assert model.version == "0.5"
    else:
        model = ome_zarr_models.v04.image.ImageAttrs.model_validate(found)
        assert model.multiscales[0].version == "0.4"

    (multiscale,) = model.multiscales
    assert [str(axis.name) for axis in multiscale.axes] == ["z", "y", "x"]
    for dataset, frame in zip(multiscale.datasets, image.frames, strict=True):
        scale, translation = dataset.coordinateTransformations
        np.testing.assert_allclose(scale.scale, frame.spacing_um, rtol=1e-12)
        np.testing.assert_allclose(translation.translation, frame.origin_um, rtol=1e-12)


def test_ome_zarr_models_opens_the_arrays_as_well(images: dict[tuple[str, int], Image]) -> None:
    group = zarr.open_group(images["brain", 3].path, mode="r")

    opened = ome_zarr_models.open_ome_zarr(group)

    assert isinstance(opened, ome_zarr_models.v05.image.Image)


def test_ngff_zarr_reads_the_same_voxels_at_the_same_places(image: Image) -> None:
    read = ngff_zarr.from_ngff_zarr(str(image.path))

    assert len(read.images) == len(image.levels)
    for level, other in enumerate(read.images):
        frame = image.frames[level]
        assert tuple(other.dims) == ("z", "y", "x")
        assert set(other.axes_units.values()) == {"micrometer"}
        for axis, spacing, origin in zip("zyx", frame.spacing_um, frame.origin_um, strict=True):
            assert other.scale[axis] == pytest.approx(spacing, rel=1e-12)
            assert other.translation[axis] == pytest.approx(origin, rel=1e-12)
        stored = other.data.compute(scheduler="sync")
        np.testing.assert_array_equal(stored, level_voxels(image.kind)[level])


def test_ngff_zarr_finds_the_metadata_valid_by_the_schema(image: Image) -> None:
    ngff_zarr.from_ngff_zarr(str(image.path), validate=True)


def test_tensorstore_recognises_every_level_and_reads_the_same_voxels(image: Image) -> None:
    for level, voxels in enumerate(level_voxels(image.kind)):
        opened = tensorstore.open(f"file://{image.path}/{level}/").result()

        np.testing.assert_array_equal(opened.read().result(), voxels)
        if image.zarr_format == 3:
            assert opened.domain.labels == ("z", "y", "x")


def test_plain_zarr_reads_the_same_voxels_by_the_dataset_paths(image: Image) -> None:
    group, found = zarr.open_group(image.path, mode="r"), attributes(image)
    datasets = found.get("ome", found)["multiscales"][0]["datasets"]

    for dataset, voxels in zip(datasets, level_voxels(image.kind), strict=True):
        np.testing.assert_array_equal(group[dataset["path"]][:], voxels)


def half_a_voxel(frame: Frame) -> NDArray[np.float64]:
    return np.array(frame.spacing_um) / 2 + 1e-9


def test_a_point_is_found_where_it_is_at_every_level_through_xarray(image: Image) -> None:
    tree = open_pyramid(image.path)
    for level, frame in enumerate(image.frames):
        volume = tree[f"scale{level}"]["image" if image.kind == "brain" else "distance"]
        volume = volume.compute(scheduler="sync")
        extreme = volume.argmax(...) if image.kind == "brain" else volume.argmin(...)
        found = [float(volume[axis][int(extreme[axis])]) for axis in "zyx"]

        assert (np.abs(np.subtract(found, POINT_UM)) <= half_a_voxel(frame)).all()
        z, y, x = POINT_UM
        near = open_volume(image.path, level).sel(z=z, y=y, x=x, method="nearest")
        assert float(near.compute(scheduler="sync")) == float(volume[extreme])


def test_a_point_is_found_where_it_is_at_every_level_through_ngff_zarr(image: Image) -> None:
    for other, frame in zip(
        ngff_zarr.from_ngff_zarr(str(image.path)).images, image.frames, strict=True
    ):
        data = other.data.compute(scheduler="sync")
        flat = data.argmax() if image.kind == "brain" else data.argmin()
        voxel = np.array(np.unravel_index(flat, data.shape))
        place = [
            other.translation[a] + other.scale[a] * v for a, v in zip("zyx", voxel, strict=True)
        ]

        assert (np.abs(np.subtract(place, POINT_UM)) <= half_a_voxel(frame)).all()


def test_the_two_versions_say_the_same(images: dict[tuple[str, int], Image]) -> None:
    new, old = attributes(images["brain", 3])["ome"], attributes(images["brain", 2])

    assert old["omero"]["channels"] == new["omero"]["channels"]
    for key in ("axes", "datasets", "type", "metadata"):
        assert json.dumps(old["multiscales"][0][key]) == json.dumps(new["multiscales"][0][key])


def test_ome_zarr_py_reads_the_same_voxels_at_the_same_places(image: Image) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    (node,) = Reader(parse_url(str(image.path)))()

    for steps, frame in zip(node.metadata["coordinateTransformations"], image.frames, strict=True):
        np.testing.assert_allclose(steps[0]["scale"], frame.spacing_um, rtol=1e-12)
        np.testing.assert_allclose(steps[1]["translation"], frame.origin_um, rtol=1e-12)
    assert node.metadata["contrast_limits"] == [[20, 230]]
    for data, voxels in zip(node.data, level_voxels(image.kind), strict=True):
        np.testing.assert_array_equal(data.compute(scheduler="sync"), voxels)


@pytest.mark.viewer
@pytest.mark.filterwarnings("ignore")
def test_napari_shows_one_layer_with_levels_scale_unit_and_contrast(image: Image) -> None:
    from napari_ome_zarr import napari_get_reader

    ((levels, layer, kind),) = napari_get_reader(str(image.path))(str(image.path))

    assert kind == "image"
    assert tuple(layer["scale"]) == pytest.approx(image.frame.spacing_um)
    assert (layer["axis_labels"], layer["units"]) == (("z", "y", "x"), ("micrometer",) * 3)
    assert layer["contrast_limits"] == [20, 230]
    for data, voxels in zip(levels, level_voxels(image.kind), strict=True):
        np.testing.assert_array_equal(data.compute(scheduler="sync"), voxels)
