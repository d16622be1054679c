import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from numpy.typing import NDArray

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import Image, create_image, open_volume, write_region
from neuroconn.volume.pyramid_tree import open_pyramid

SHAPE = (18, 27, 21)
LEVELS = plan_levels(SHAPE, smallest=8)
formats = pytest.mark.parametrize("zarr_format", [3, 2])


def values(level: int, dtype: str) -> NDArray[Any]:
    random = np.random.default_rng(level).integers(0, 250, LEVELS[level].shape)
    return random.astype(dtype)


def stored(path: Path, kind: Any, zarr_format: Any) -> Image:
    packed: dict[str, Any] = {"fill_value": 255, "array_attributes": {"scale_factor": 0.04}}
    dtype = "uint16" if kind == "brain" else "uint8"
    image = create_image(
        path, levels=LEVELS, dtype=dtype, frame=Frame((1.0, 0.5, 0.5), (3.0, 0.0, -2.0)),
        chunk=4, shard=8, kind=kind, zarr_format=zarr_format,
        **(packed if kind == "distance" else {}),
    )  # fmt: skip
    image.set_window(1, 200, low=0, high=255)
    for number, level in enumerate(LEVELS):
        write_region(image.array(number), Box.of_shape(level.shape), values(number, dtype))
    return image


@formats
@pytest.mark.parametrize("kind", ["brain", "distance"])
def test_the_tree_is_all_levels_as_open_volume_gives_them(
    tmp_path: Path, kind: str, zarr_format: int
) -> None:
    image = stored(tmp_path / "a.ome.zarr", kind, zarr_format)

    tree = open_pyramid(image.path)

    name = "image" if kind == "brain" else "distance"
    assert list(tree.children) == [f"scale{n}" for n in range(len(LEVELS))]
    assert tree.name == "a.ome.zarr"
    assert not tree.ds.variables
    for level in range(len(LEVELS)):
        assert list(tree[f"scale{level}"].data_vars) == [name]
        expected = open_volume(image.path, level)
        xr.testing.assert_identical(
            tree[f"scale{level}/{name}"].compute(scheduler="sync"),
            expected.compute(scheduler="sync"),
        )


@formats
def test_the_root_keeps_the_metadata_as_they_are_stored(tmp_path: Path, zarr_format: int) -> None:
    image = stored(tmp_path / "a", "brain", zarr_format)

    attributes = open_pyramid(image.path).attrs

    raw = json.loads((image.path / (".zattrs" if zarr_format == 2 else "zarr.json")).read_text())
    raw = raw if zarr_format == 2 else raw["attributes"]["ome"]
    assert attributes["ome"] == {key: value for key, value in raw.items() if key != "neuroconn"}
    assert attributes["ome"]["omero"]["channels"][0]["window"]["end"] == 200
    assert (attributes["kind"], attributes["source"]) == ("brain", str(image.path))


def test_blocks_are_shards_or_inner_chunks(tmp_path: Path) -> None:
    image = stored(tmp_path / "a", "brain", 3)

    shards, inner = (open_pyramid(image.path, chunks=c) for c in ("shard", "inner"))

    assert shards["scale0/image"].data.chunksize == (8, 8, 8)
    assert inner["scale0/image"].data.chunksize == (4, 4, 4)


def test_opening_a_tree_reads_no_voxel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = stored(tmp_path / "a", "distance", 3)

    def refuse(*_: object) -> None:
        raise AssertionError("a voxel was read")

    monkeypatch.setattr("neuroconn.volume.open.read_region", refuse)

    tree = open_pyramid(image.path)

    assert "scale2" in repr(tree)
    with pytest.raises(AssertionError, match="was read"):
        tree["scale0/distance"].compute(scheduler="sync")


@formats
def test_a_slab_cut_from_every_level_holds_the_same_place(tmp_path: Path, zarr_format: int) -> None:
    tree = open_pyramid(stored(tmp_path / "a", "brain", zarr_format).path)

    slab = tree.sel(z=slice(6.0, 14.0))

    for node in slab.children.values():
        z = node["z"].values
        assert 6.0 <= z[0] < z[-1] <= 14.0
        assert 2 * len(z) * (z[1] - z[0]) > 8.0


def test_a_slab_of_the_tree_is_saved_and_read_back_by_xarray_alone(tmp_path: Path) -> None:
    tree = open_pyramid(stored(tmp_path / "a", "distance", 3).path)
    slab = tree.sel(z=slice(6.0, 14.0)).chunk({"z": 8, "y": 8, "x": 8})

    slab.to_zarr(tmp_path / "slab.zarr", consolidated=False)

    read = xr.open_datatree(tmp_path / "slab.zarr", engine="zarr", consolidated=False)
    xr.testing.assert_equal(read.compute(), slab.compute())
    assert read.attrs["kind"] == "distance"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_others_open_as_zyx_in_micrometres(tmp_path: Path, version: str) -> None:
    entry = {
        "axes": [{"name": a, "type": "space", "unit": "millimeter"} for a in "xyz"],
        "datasets": [
            {
                "path": f"s{n}",
                "coordinateTransformations": [{"type": "scale", "scale": [s, s, 2 * s]}],
            }
            for n, s in ((0, 0.001), (1, 0.002))
        ],
    }
    new = version == "0.5"
    block = {"version": version, "multiscales": [entry]}
    group = zarr.create_group(
        tmp_path / "a",
        zarr_format=3 if new else 2,
        attributes={"ome": block} if new else {"multiscales": [{"version": version, **entry}]},
    )
    fine = np.arange(4 * 6 * 2, dtype=np.uint8).reshape(4, 6, 2)
    for name, data in (("s0", fine), ("s1", fine[::2, ::2, ::2])):
        group.create_array(name, data=np.ascontiguousarray(data), chunks=(2, 2, 1))

    tree = open_pyramid(tmp_path / "a")

    np.testing.assert_array_equal(tree["scale0/image"], fine.transpose())
    assert tree["scale1/image"]["x"].values.tolist() == [0.0, 2.0]
    assert tree["scale1/image"].sizes == {"z": 1, "y": 3, "x": 2}
    assert [axis["name"] for axis in tree.attrs["ome"]["multiscales"][0]["axes"]] == list("xyz")


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no such folder"):
        open_pyramid(tmp_path / "missing")
