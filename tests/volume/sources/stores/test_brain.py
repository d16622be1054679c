"""OME-Zarr images and what contains them, as sources."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ngff_zarr
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import create_image, open_source, write_region

SHAPE = (6, 8, 10)
VOXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype(np.uint16)
CHANNELS = np.stack([VOXELS, VOXELS[::-1], VOXELS[:, ::-1]])
WHOLE = Box.of_shape(SHAPE)


def ours(path: Path, **options: Any) -> Path:
    """An image with three levels, as neuroconn writes it."""
    levels = plan_levels(SHAPE, (2.0, 1.0, 1.0), smallest=2)
    image = create_image(
        path, levels=levels, dtype="uint16", frame=Frame((2.0, 1.0, 1.0), (3.0, 0.0, 0.0)),
        **{"chunk": 2, "shard": 4, "kind": "brain", **options},
    )  # fmt: skip
    for number in range(len(levels)):
        array = image.array(number)
        data = np.full(array.shape, number + 1, np.uint16) if number else VOXELS
        write_region(array, Box.of_shape(array.shape), data)
    return path


def foreign(path: Path, voxels: Any = VOXELS, axes: str = "zyx", version: str = "0.5") -> Path:
    """An image with two levels, as ngff-zarr writes it."""
    image = ngff_zarr.to_ngff_image(
        voxels,
        dims=tuple(axes),
        scale={"z": 2.0, "y": 0.5, "x": 400.0},
        translation={"z": 10.0, "y": 0.0, "x": 0.0},
        axes_units={"z": "micrometer", "y": "micrometer", "x": "nanometer"},
    )
    levels = ngff_zarr.to_multiscales(image, scale_factors=[2], chunks=4)
    ngff_zarr.to_ngff_zarr(str(path), levels, version=version)
    return path


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Change the metadata of a group of Zarr v3; ``edit`` gets its attributes."""
    document = json.loads((path / "zarr.json").read_text())
    edit(document["attributes"])
    (path / "zarr.json").write_text(json.dumps(document))
    return path


def refuse(path: Path, reason: str, error: type[Exception] = VolumeError, **choice: Any) -> None:
    with pytest.raises(error, match=reason) as caught:
        open_source(path, **choice)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_of_another_writer_is_read_with_its_voxel_size(
    tmp_path: Path, version: str
) -> None:
    source = open_source(foreign(tmp_path / "a.ome.zarr", version=version))

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.format == "OME-Zarr"
    assert source.spacing_um == pytest.approx((2.0, 0.5, 0.4))
    assert source.origin_um == (10.0, 0.0, 0.0)
    assert source.unit == (4, 4, 4)
    assert source.notes == ()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_image_of_ours_is_read_in_either_version(tmp_path: Path, zarr_format: int) -> None:
    source = open_source(ours(tmp_path / "a", zarr_format=zarr_format))

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.spacing_um == (2.0, 1.0, 1.0)
    assert source.origin_um == (3.0, 0.0, 0.0)
    assert source.unit == (2, 2, 2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_another_level_is_named_by_its_path(tmp_path: Path, version: str) -> None:
    path = foreign(tmp_path / "a", version=version)

    source = open_source(path, dataset="scale1/image")

    assert source.shape == (3, 4, 5)
    assert source.spacing_um == pytest.approx((4.0, 1.0, 0.8))
    assert source.origin_um == pytest.approx((11.0, 0.25, 0.2))
    assert "level 1 of 2" in source.description
    refuse(path, "no dataset 'scale7'.*scale0/image, scale1/image", UsageError, dataset="scale7")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["czyx", "tczyx"])
def test_one_channel_of_several_is_read(tmp_path: Path, version: str, axes: str) -> None:
    voxels = CHANNELS if axes == "czyx" else CHANNELS[np.newaxis]
    path = foreign(tmp_path / "a", voxels, axes, version)

    for channel, wanted in enumerate(CHANNELS):
        source = open_source(path, channel=channel)
        assert source.channels == 3
        np.testing.assert_array_equal(source.read(WHOLE), wanted)
    refuse(path, "3 channels.*--channel 0 to 2")
    refuse(path, "channel 3 does not exist", UsageError, channel=3)


@pytest.mark.parametrize("axes", ["zyx", "xyz", "yzx", "cxyz", "zyxc"])
def test_axes_are_taken_by_name(tmp_path: Path, axes: str) -> None:
    order = [("czyx").index(a) for a in axes]
    stored = CHANNELS.transpose(order) if "c" in axes else VOXELS.transpose([k - 1 for k in order])
    group = zarr.create_group(tmp_path / "a")
    group.create_array("0", data=stored, chunks=(2,) * stored.ndim, dimension_names=tuple(axes))
    types = {"c": {"type": "channel"}}
    image = {
        "axes": [
            {"name": a, **types.get(a, {"type": "space", "unit": "micrometer"})} for a in axes
        ],
        "datasets": [{"path": "0", "coordinateTransformations": [
            {"type": "scale", "scale": [{"z": 3.0, "y": 2.0, "x": 1.0}.get(a, 1.0) for a in axes]}
        ]}],
    }  # fmt: skip
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [image]}})

    source = open_source(tmp_path / "a", channel=1 if "c" in axes else None)

    wanted = CHANNELS[1] if "c" in axes else VOXELS
    np.testing.assert_array_equal(source.read(WHOLE), wanted)
    assert source.spacing_um == (3.0, 2.0, 1.0)
    box = Box((1, 3, 2), (4, 8, 3))
    np.testing.assert_array_equal(source.read(box), wanted[box.slices])


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ours(tmp_path_factory.mktemp("brain") / "a")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_window_is_a_crop_of_the_whole(sharded: Path, data: st.DataObject) -> None:
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(open_source(sharded).read(box), VOXELS[box.slices])


def test_a_time_series_is_refused_with_its_length(tmp_path: Path) -> None:
    refuse(foreign(tmp_path / "a", CHANNELS, "tzyx"), "time series of 3")


def test_a_distance_map_is_refused(tmp_path: Path) -> None:
    refuse(ours(tmp_path / "a", kind="distance"), "distance map, not a brain")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_unfinished_conversion_is_refused_and_a_finished_one_read(
    tmp_path: Path, zarr_format: int
) -> None:
    unfinished = ours(tmp_path / "a", attributes={"conversion": {}}, zarr_format=zarr_format)
    refuse(unfinished, "unfinished conversion")
    refuse(unfinished, "unfinished conversion", dataset="1")

    finished = {"conversion": {}, "intensity": {"max": 3}}
    path = ours(tmp_path / "b", attributes=finished, zarr_format=zarr_format)
    np.testing.assert_array_equal(open_source(path).read(WHOLE), VOXELS)


def test_an_image_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = edited(ours(tmp_path / "a"), lambda at: at["neuroconn"].update(schema=99))

    refuse(path, "another version of neuroconn.*99")


def series(folder: Path, names: list[str]) -> Path:
    """A container as bioformats2raw makes it."""
    group = zarr.create_group(folder, zarr_format=2)
    group.update_attributes({"bioformats2raw.layout": 3})
    for name in names:
        foreign(folder / name, version="0.4")
    return folder


def test_the_only_image_of_a_bioformats2raw_container_is_taken(tmp_path: Path) -> None:
    source = open_source(series(tmp_path / "a", ["0"]))

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.identity.name == "a"


def test_several_series_are_listed_and_chosen_by_name(tmp_path: Path) -> None:
    path = series(tmp_path / "a", ["0", "1"])

    refuse(path, "holds 2 images; choose one with --dataset: there is 0, 1")
    assert open_source(path, dataset="1").shape == SHAPE
    assert open_source(path, dataset="1/scale1/image").spacing_um == pytest.approx((4.0, 1.0, 0.8))
    refuse(path, "no dataset '2': there is 0, 1", UsageError, dataset="2")


def test_series_may_be_listed_by_the_ome_group(tmp_path: Path) -> None:
    path = series(tmp_path / "a", ["first", "second"])
    ome = zarr.create_group(path / "OME", zarr_format=2)
    ome.update_attributes({"series": ["second"]})

    np.testing.assert_array_equal(open_source(path).read(WHOLE), VOXELS)

    ome.update_attributes({"series": ["third"]})
    refuse(path, "lists the series 'third', which is missing")
    ome.update_attributes({"series": ["../elsewhere"]})
    refuse(path, "no path inside")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_group_with_one_image_in_it_is_that_image(tmp_path: Path, version: str) -> None:
    group = zarr.create_group(tmp_path / "a", zarr_format=2 if version == "0.4" else 3)
    foreign(tmp_path / "a" / "image", version=version)
    group.create_array("table", shape=(4, 4, 4), dtype="uint8", chunks=(4, 4, 4))

    source = open_source(tmp_path / "a")

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert source.spacing_um is not None


def test_a_plate_is_refused_by_name_unless_a_field_is_named(tmp_path: Path) -> None:
    plate = zarr.create_group(tmp_path / "a", zarr_format=2)
    plate.update_attributes({"plate": {"wells": []}, "bioformats2raw.layout": 3})
    well = plate.create_group("A").create_group("1")
    well.update_attributes({"well": {"images": [{"path": "0"}]}})
    foreign(tmp_path / "a" / "A" / "1" / "0", version="0.4")

    refuse(tmp_path / "a", "plate of a screen")
    refuse(tmp_path / "a", "well of a screen", dataset="A/1")
    np.testing.assert_array_equal(open_source(tmp_path / "a", dataset="A/1/0").read(WHOLE), VOXELS)


Image = dict[str, Any]


def image_of(attributes: dict[str, Any]) -> Image:
    image: Image = attributes["ome"]["multiscales"][0]
    return image


def scale_of(attributes: dict[str, Any]) -> dict[str, Any]:
    transform: dict[str, Any] = image_of(attributes)["datasets"][0]["coordinateTransformations"][0]
    return transform


@pytest.mark.parametrize(
    ("edit", "note"),
    [
        (lambda at: image_of(at)["axes"][1].update(unit="parsec"), "'parsec' is not a known"),
        (lambda at: image_of(at)["axes"][1].pop("unit"), "carry no usable unit"),
        (lambda at: scale_of(at).update(scale=[1, 0, 1]), r"scale \[1, 0, 1\] gives voxels no"),
        (lambda at: scale_of(at).update(scale=[1, -2, 1]), "gives voxels no size"),
        (lambda at: scale_of(at).update(scale=[1, float("nan"), 1]), "gives voxels no size"),
    ],
    ids=["unknown unit", "no unit", "zero", "negative", "nan"],
)
def test_a_voxel_size_without_sense_is_unknown_and_noted(
    tmp_path: Path, edit: Callable[[dict[str, Any]], None], note: str
) -> None:
    source = open_source(edited(ours(tmp_path / "a"), edit))

    assert source.spacing_um is None
    assert source.origin_um == (0.0, 0.0, 0.0)
    assert any(re.search(note, line) for line in source.notes)
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_units_are_understood_as_some_writers_spell_them(tmp_path: Path) -> None:
    def abbreviate(attributes: dict[str, Any]) -> None:
        for axis in image_of(attributes)["axes"]:
            axis["unit"] = "um"

    assert open_source(edited(ours(tmp_path / "a"), abbreviate)).spacing_um == (2.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda at: image_of(at)["datasets"][0].update(path="../b/0"), "leaves the store"),
        (lambda at: image_of(at)["datasets"][0].update(path="/etc"), "leaves the store"),
        (lambda at: image_of(at)["datasets"][0].update(path="9"), "array '9', which is missing"),
        (lambda at: image_of(at)["datasets"][0].update(path=7), "leaves the store"),
        (lambda at: image_of(at).update(datasets=[]), "no datasets"),
        (lambda at: image_of(at).update(datasets=[3]), "damaged"),
        (lambda at: image_of(at).update(axes=None), "no axes"),
        (lambda at: image_of(at).update(axes=[{"name": "y"}, {"name": "x"}]), "axes are y, x"),
        (lambda at: image_of(at)["axes"].insert(0, {"name": "c"}), "does not give one number"),
        (lambda at: image_of(at)["axes"].reverse(), "has axes z, y, x and its image says x, y, z"),
        (lambda at: scale_of(at).update(scale="big"), "does not give one number"),
        (lambda at: at["ome"].update(version="0.3"), "version '0.3'"),
        (lambda at: at["ome"].update(multiscales="x"), "no multiscales"),
        (lambda at: at["ome"].update(multiscales=[]), "no multiscales"),
        (lambda at: at.pop("ome"), "holds 4 arrays; choose one with --dataset"),
        (lambda at: at.update(ome=[]), "holds 4 arrays; choose one with --dataset"),
    ],
)
def test_metadata_that_cannot_be_followed_are_refused(
    tmp_path: Path, edit: Callable[[dict[str, Any]], None], reason: str
) -> None:
    refuse(edited(ours(tmp_path / "a"), edit), reason)


def test_a_level_that_is_a_group_is_refused(tmp_path: Path) -> None:
    path = ours(tmp_path / "a")
    shutil.rmtree(path / "0")
    zarr.create_group(path / "0")

    refuse(path, "array '0', which is a group")


@pytest.mark.parametrize("dataset", ["../b", "a/../../b", "", "/", "a//b", "..", "a\\b"])
def test_a_dataset_outside_is_refused(tmp_path: Path, dataset: str) -> None:
    ours(tmp_path / "b")

    refuse(ours(tmp_path / "a"), "no path inside", UsageError, dataset=dataset)


def test_converting_to_the_other_version_and_back_keeps_every_voxel(tmp_path: Path) -> None:
    first = open_source(ours(tmp_path / "a", zarr_format=3))
    copied = create_image(
        tmp_path / "b", levels=plan_levels(SHAPE, (2.0, 1.0, 1.0), smallest=8), dtype="uint16",
        frame=Frame((2.0, 1.0, 1.0)), chunk=8, kind="brain", zarr_format=2,
    )  # fmt: skip
    write_region(copied.array(0), WHOLE, first.read(WHOLE))

    np.testing.assert_array_equal(open_source(tmp_path / "b").read(WHOLE), VOXELS)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_array_of_a_level_is_opened_as_part_of_its_image(tmp_path: Path, version: str) -> None:
    level = foreign(tmp_path / "a", version=version) / "scale1" / "image"

    assert open_source(level).spacing_um == pytest.approx((4.0, 1.0, 0.8))
    refuse(ours(tmp_path / "d", kind="distance") / "0", "distance map")
    refuse(ours(tmp_path / "u", attributes={"conversion": {}}) / "1", "unfinished conversion")
    refuse(level, "no dataset", UsageError, dataset="0")


def test_an_array_in_the_folder_of_an_image_but_not_of_it_is_a_plain_one(tmp_path: Path) -> None:
    path = ours(tmp_path / "a")
    zarr.create_array(path / "mask", data=VOXELS, chunks=(4, 4, 4))

    source = open_source(path / "mask")

    assert source.format == "Zarr"
    assert source.spacing_um is None
