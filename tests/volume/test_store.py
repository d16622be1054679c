import importlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import yaozarrs
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn._version import __version__
from neuroconn.errors import OutputError, VolumeError
from neuroconn.geometry import Box, Frame, Level, plan_levels
from neuroconn.volume import Image, create_image, open_image, read_region, write_region
from neuroconn.volume.regions import stored_object

SHAPE = (20, 37, 33)
LEVELS = plan_levels(SHAPE, smallest=16)
FRAME = Frame((2.0, 0.5, 0.5), (10.0, 0.0, 1.0))


def small(path: Path, **changes: Any) -> Image:
    options: dict[str, Any] = {
        "levels": LEVELS, "dtype": "uint16", "frame": FRAME, "chunk": 8, "shard": 16,
        "kind": "brain",
    }  # fmt: skip
    return create_image(path, **{**options, **changes})


formats = pytest.mark.parametrize("zarr_format", [3, 2])


def group_attributes(image: Image) -> dict[str, Any]:
    """What is on disk, past every library."""
    if image.zarr_format == 2:
        return dict(json.loads((image.path / ".zattrs").read_text()))
    return dict(json.loads((image.path / "zarr.json").read_text())["attributes"])


def multiscale(image: Image) -> dict[str, Any]:
    attributes = group_attributes(image)
    (entry,) = attributes.get("ome", attributes)["multiscales"]
    return dict(entry)


@formats
def test_what_is_created_is_what_is_opened(tmp_path: Path, zarr_format: int) -> None:
    created = small(tmp_path / "a.ome.zarr", attributes={"note": [1, 2]}, zarr_format=zarr_format)

    opened = open_image(tmp_path / "a.ome.zarr")

    assert opened == created == pickle.loads(pickle.dumps(created))
    assert opened.levels == LEVELS
    assert opened.frame == FRAME
    assert opened.frames == [level.frame(FRAME) for level in LEVELS]
    assert opened.attributes == {"note": [1, 2]}
    assert (opened.kind, opened.downsample, opened.spacing_known) == ("brain", "max", True)
    assert (opened.ours, opened.zarr_format) == (True, zarr_format)
    assert opened.grid(0).counts == ((2, 3, 3) if zarr_format == 3 else (3, 5, 5))
    assert opened.array(1).shape == LEVELS[1].shape


def test_each_format_keeps_its_metadata_where_its_version_says(tmp_path: Path) -> None:
    new, old = (small(tmp_path / f"{n}", zarr_format=n) for n in (3, 2))
    for image in (new, old):
        image.set_window(1, 2, low=0, high=3)

    assert set(group_attributes(new)) == {"ome", "neuroconn"}
    assert group_attributes(new)["ome"]["version"] == "0.5"
    assert set(group_attributes(old)) == {"multiscales", "omero", "neuroconn"}
    assert multiscale(old) == {"version": "0.4", **multiscale(new), "name": "2"}
    assert new.ome == group_attributes(new)["ome"]
    assert set(old.ome) == {"multiscales", "omero"}
    assert not list(old.path.rglob("zarr.json"))
    assert not list(new.path.rglob(".z*"))


@formats
@pytest.mark.parametrize("method", ["max", "mean", "min", "mode"])
def test_the_metadata_say_how_levels_are_made(
    tmp_path: Path, zarr_format: int, method: str
) -> None:
    image = small(tmp_path / "a", zarr_format=zarr_format, downsample=method)

    entry = multiscale(image)

    assert open_image(image.path).downsample == entry["type"] == method
    assert entry["metadata"]["kwargs"] == {"method": method}
    assert method in entry["metadata"]["description"]
    module, _, function = entry["metadata"]["method"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), function))
    assert entry["metadata"]["version"] == __version__


@formats
def test_a_coarse_voxel_lies_in_the_middle_of_those_it_stands_for(
    tmp_path: Path, zarr_format: int
) -> None:
    levels = plan_levels((64, 64, 64), smallest=8)
    frame = Frame((1.0, 0.35, 0.35))
    image = small(tmp_path / "a", levels=levels, frame=frame, zarr_format=zarr_format)

    placed = [
        [step[step["type"]] for step in dataset["coordinateTransformations"]]
        for dataset in multiscale(image)["datasets"]
    ]

    expected = [
        [(1, 0.35, 0.35), (0, 0, 0)],
        [(2, 0.7, 0.7), (0.5, 0.175, 0.175)],
        [(4, 1.4, 1.4), (1.5, 0.525, 0.525)],
        [(8, 2.8, 2.8), (3.5, 1.225, 1.225)],
    ]
    np.testing.assert_allclose(np.array(placed), np.array(expected), rtol=0, atol=1e-12)


def test_an_axis_that_is_not_halved_does_not_move(tmp_path: Path) -> None:
    levels = plan_levels((8, 64, 64), (4.0, 1.0, 1.0), smallest=16)
    image = small(tmp_path / "a", levels=levels, frame=Frame((4.0, 1.0, 1.0), (7.0, 0.0, 0.0)))

    assert [frame.spacing_um[0] for frame in image.frames] == [4.0, 4.0, 4.0]
    assert [frame.origin_um[0] for frame in image.frames] == [7.0, 7.0, 7.0]
    assert [frame.origin_um[1] for frame in image.frames] == [0.0, 0.5, 1.5]


@formats
def test_attributes_are_updated_key_by_key(tmp_path: Path, zarr_format: int) -> None:
    image = small(tmp_path / "a.ome.zarr", attributes={"a": 1, "b": 2}, zarr_format=zarr_format)

    image.update_attributes({"b": 3})

    assert image.attributes == {"a": 1, "b": 3}
    assert open_image(image.path) == image


@formats
def test_the_window_is_what_viewers_show_and_changes_nothing_else(
    tmp_path: Path, zarr_format: int
) -> None:
    image = small(tmp_path / "a.ome.zarr", attributes={"a": 1}, zarr_format=zarr_format)

    image.set_window(10, 200, low=0, high=65535)

    (channel,) = image.ome["omero"]["channels"]
    assert channel["window"] == {"start": 10, "end": 200, "min": 0, "max": 65535}
    assert image.attributes == {"a": 1}
    assert open_image(image.path) == image


@formats
def test_an_unknown_spacing_leaves_the_axes_without_a_unit(
    tmp_path: Path, zarr_format: int
) -> None:
    image = small(
        tmp_path / "a.ome.zarr",
        spacing_known=False,
        frame=Frame((1.0, 1.0, 1.0)),
        zarr_format=zarr_format,
    )

    assert not open_image(image.path).spacing_known
    assert group_attributes(image)["neuroconn"]["spacing_known"] is False
    assert all("unit" not in axis for axis in multiscale(image)["axes"])
    yaozarrs.validate_zarr_store(str(image.path))


STORED = {
    "archive": ("zstd", 3, "shuffle"),
    "speed": ("zstd", 1, "shuffle"),
    "scratch": ("lz4", 5, "bitshuffle"),
}


@pytest.mark.parametrize("compression", STORED)
def test_chunks_of_zarr_3_are_little_endian_blosc_with_a_checksum(
    tmp_path: Path, compression: str
) -> None:
    image = small(tmp_path / "a.ome.zarr", compression=compression)
    (sharding,) = json.loads((image.path / "0" / "zarr.json").read_text())["codecs"]

    inner, index = (sharding["configuration"][k] for k in ("codecs", "index_codecs"))

    assert [codec["name"] for codec in inner] == ["bytes", "blosc", "crc32c"]
    assert [codec["name"] for codec in index] == ["bytes", "crc32c"]
    assert inner[0]["configuration"]["endian"] == "little"
    blosc = inner[1]["configuration"]
    assert (blosc["cname"], blosc["clevel"], blosc["shuffle"]) == STORED[compression]
    assert blosc["typesize"] == 2


@pytest.mark.parametrize("compression", STORED)
def test_chunks_of_zarr_2_are_little_endian_blosc_in_folders(
    tmp_path: Path, compression: str
) -> None:
    image = small(tmp_path / "a.ome.zarr", compression=compression, zarr_format=2)

    metadata = json.loads((image.path / "0" / ".zarray").read_text())

    blosc = metadata["compressor"]
    kind = ["none", "shuffle", "bitshuffle"][blosc["shuffle"]]
    assert (blosc["id"], blosc["cname"], blosc["clevel"], kind) == ("blosc", *STORED[compression])
    assert (metadata["dtype"], metadata["order"], metadata["filters"]) == ("<u2", "C", None)
    assert (metadata["chunks"], metadata["dimension_separator"]) == ([8, 8, 8], "/")
    assert json.loads((image.path / "0" / ".zattrs").read_text()) == {
        "_ARRAY_DIMENSIONS": ["z", "y", "x"]
    }


@formats
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", ">u2"])
def test_blosc_knows_how_long_a_voxel_is(tmp_path: Path, zarr_format: int, dtype: str) -> None:
    image = small(tmp_path / "a", dtype=dtype, shard=None, zarr_format=zarr_format)
    voxels = np.random.default_rng(0).integers(0, 200, SHAPE).astype(image.array(0).dtype)
    write_region(image.array(0), Box.of_shape(SHAPE), voxels)

    path = stored_object(image.array(0), (1, 2, 0))

    # The fourth byte of a blosc header; without it a shuffle would move the wrong bytes together.
    assert path is not None
    assert image.array(0).dtype == np.dtype(dtype).newbyteorder("<")
    assert path.read_bytes()[3] == np.dtype(dtype).itemsize
    assert path.relative_to(image.path).parts[-4:] == (("c",) if zarr_format == 3 else ("0",)) + (
        "1", "2", "0",
    )  # fmt: skip


@formats
def test_what_equals_the_fill_value_takes_no_space(tmp_path: Path, zarr_format: int) -> None:
    image = small(tmp_path / "a", fill_value=7, zarr_format=zarr_format)
    array, voxels = image.array(0), np.full(SHAPE, 7, np.uint16)
    voxels[0, 0, 0] = 8

    for _ in range(2):
        write_region(array, Box.of_shape(SHAPE), voxels)
        kept = [i for i in image.grid(0) if (p := stored_object(array, i)) and p.is_file()]
        assert kept == ([(0, 0, 0)] if voxels[0, 0, 0] == 8 else [])
        np.testing.assert_array_equal(read_region(array, Box.of_shape(SHAPE)), voxels)
        voxels[0, 0, 0] = 7


@formats
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_all_metadata_are_json_that_a_browser_reads(
    tmp_path: Path, zarr_format: int, dtype: str
) -> None:
    fill = 255 if dtype == "uint8" else float("nan")
    image = small(
        tmp_path / "a", dtype=dtype, fill_value=fill, kind="distance", zarr_format=zarr_format
    )

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    files = [*image.path.rglob("zarr.json"), *image.path.rglob(".z*")]
    assert len(files) == (4 if zarr_format == 3 else 8)
    for path in files:
        json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize("choice", [{"zarr_format": 1}, {"compression": "zip"}, {"shard": 12}])
def test_what_cannot_be_stored_is_refused_before_anything_is_made(
    tmp_path: Path, choice: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"is not known|whole chunks"):
        small(tmp_path / "a", **choice)

    assert not list(tmp_path.iterdir())


def test_a_taken_path_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "keep.tif").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for taken in ("mine", "file", "link"):
        with pytest.raises(OutputError, match="choose another output"):
            small(tmp_path / taken)

    assert (folder / "keep.tif").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link", "mine"]


def test_an_empty_folder_may_become_an_image_but_an_image_may_not_be_recreated(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.ome.zarr").mkdir()
    small(tmp_path / "a.ome.zarr")

    with pytest.raises(OutputError):
        small(tmp_path / "a.ome.zarr")


def test_a_crash_during_creation_leaves_nothing_at_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Path, "write_bytes", crash)

    with pytest.raises(MemoryError):
        small(tmp_path / "a.ome.zarr")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["w", '"w"'])
def test_no_module_opens_a_store_for_overwriting(mode: str) -> None:
    import neuroconn

    package = Path(neuroconn.__file__).parent / "volume"
    assert not [p for p in package.rglob("*.py") if f"mode={mode}" in p.read_text()]


sides = st.integers(1, 20)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(sides, sides, sides),
    chunk=st.tuples(*[st.sampled_from([2, 3, 5])] * 3),
    per_shard=st.tuples(*[st.integers(1, 3)] * 3),
    sharded=st.booleans(),
    zarr_format=st.sampled_from([3, 2]),
    compression=st.sampled_from(["archive", "speed", "scratch"]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    seed=st.integers(0, 2**16),
)
def test_what_is_written_is_read_back_by_us_and_by_tensorstore(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    chunk: tuple[int, int, int],
    per_shard: tuple[int, int, int],
    sharded: bool,
    zarr_format: Any,
    compression: Any,
    dtype: str,
    seed: int,
) -> None:
    shard = (chunk[0] * per_shard[0], chunk[1] * per_shard[1], chunk[2] * per_shard[2])
    image = create_image(
        tmp_path_factory.mktemp("store") / "a.ome.zarr",
        levels=[Level(shape, (1, 1, 1), (1, 1, 1))], dtype=dtype, frame=FRAME,
        chunk=chunk, shard=shard if sharded else None, kind="brain",
        zarr_format=zarr_format, compression=compression,
    )  # fmt: skip
    array, grid = image.array(0), image.grid(0)
    voxels = np.random.default_rng(seed).integers(0, 4, shape).astype(dtype)

    for index in grid:
        write_region(array, grid.core(index), voxels[grid.core(index).slices])

    np.testing.assert_array_equal(read_region(array, Box.of_shape(shape)), voxels)
    store = {"driver": "file", "path": str(image.path / "0")}
    driver = "zarr3" if zarr_format == 3 else "zarr"
    oracle = tensorstore.open({"driver": driver, "kvstore": store}).result()
    np.testing.assert_array_equal(oracle.read().result(), voxels)


def foreign(path: Path, version: str, order: str, **changes: Any) -> None:
    """An image as another program writes it."""
    shape = {"t": 1, "c": 1, "z": 4, "y": 6, "x": 8}
    entry: dict[str, Any] = {
        "axes": [
            {"name": a, "type": "space", "unit": "millimeter"} if a in "zyx" else {"name": a}
            for a in order
        ],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [{"z": 0.002}.get(a, 0.001) for a in order]}
                ],
            }
        ],
        **changes,
    }
    if version == "0.4":
        attributes: dict[str, Any] = {"multiscales": [{"version": "0.4", **entry}]}
    else:
        attributes = {"ome": {"version": version, "multiscales": [entry]}}
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    group.attrs.update(attributes)
    array = group.create_array(
        "s0", shape=[shape[a] for a in order], dtype="uint8", chunks=(2,) * len(order)
    )
    array[:] = np.arange(4 * 6 * 8, dtype=np.uint8).reshape([shape[a] for a in order])


@pytest.mark.parametrize("axes", ["zyx", "xyz", "czyx", "tczyx", "yzx"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_of_others_are_read_as_zyx_in_micrometres(
    tmp_path: Path, version: str, axes: str
) -> None:
    foreign(tmp_path / "a", version, axes)

    image = open_image(tmp_path / "a")

    sizes = [{"z": 4, "y": 6, "x": 8}.get(a, 1) for a in axes]
    stored = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(sizes)
    kept = [a for a in axes if a in "zyx"]
    expected = stored.reshape([{"z": 4, "y": 6, "x": 8}[a] for a in kept])
    expected = expected.transpose([kept.index(a) for a in "zyx"])
    box = Box((1, 2, 0), (4, 5, 7))
    np.testing.assert_array_equal(read_region(image.array(0), box), expected[box.slices])
    assert image.frame.spacing_um == pytest.approx((2.0, 1.0, 1.0))
    assert image.levels[0].shape == (4, 6, 8)
    assert (image.ours, image.spacing_known) == (False, True)
    assert image.zarr_format == (2 if version == "0.4" else 3)


def scaled(*scale: float, path: str = "s0", then: list[Any] | None = None) -> list[dict[str, Any]]:
    steps = [{"type": "scale", "scale": list(scale)}, *(then or [])]
    return [{"path": path, "coordinateTransformations": steps}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"datasets": scaled(1, 0, 1)}, "not positive"),
        ({"datasets": scaled(1, -1, 1)}, "not positive"),
        ({"datasets": scaled(1, float("nan"), 1)}, "not finite"),
        ({"datasets": scaled(1, 1)}, "one number for each"),
        ({"datasets": scaled(1, 1, 1, path="../../etc")}, "leaves the store"),
        ({"datasets": scaled(1, 1, 1, path="/etc/passwd")}, "leaves the store"),
        ({"datasets": scaled(1, 1, 1, path="s9")}, "not a readable OME-Zarr"),
        ({"datasets": []}, "no datasets"),
        ({"datasets": [*scaled(2, 2, 2), *scaled(1, 1, 1)]}, "fine to coarse"),
        ({"datasets": scaled(1, 1, 1, then=[{"type": "rotation"}])}, "at most one translation"),
        ({"axes": [{"name": a, "unit": "furlong"} for a in "zyx"]}, "furlong"),
        ({"axes": [{"name": a} for a in "yx"]}, "a brain has z, y and x"),
        ({"axes": [{"name": a} for a in "zzx"]}, "a brain has z, y and x"),
    ],
)
def test_metadata_that_cannot_be_followed_is_named(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    foreign(tmp_path / "a", "0.5", "zyx", **changes)

    with pytest.raises(VolumeError, match=reason):
        open_image(tmp_path / "a")


def test_a_multichannel_image_is_refused(tmp_path: Path) -> None:
    foreign(tmp_path / "a", "0.5", "czyx")
    group = zarr.open_group(tmp_path / "a", mode="r+")
    del group["s0"]
    group.create_array("s0", shape=(3, 4, 6, 8), dtype="uint8", chunks=(1, 2, 2, 2))

    with pytest.raises(VolumeError, match="channels or time points"):
        open_image(tmp_path / "a")


@pytest.mark.parametrize("text", ["", '{"zarr_fo', "[]", '{"zarr_format": 3}'])
@pytest.mark.parametrize("file", ["zarr.json", ".zgroup", ".zattrs", "0/zarr.json", "0/.zarray"])
def test_damaged_metadata_are_a_volume_error(tmp_path: Path, file: str, text: str) -> None:
    image = small(tmp_path / "a.ome.zarr", zarr_format=3 if file.endswith(".json") else 2)
    (image.path / file).write_text(text)

    with pytest.raises(VolumeError, match=str(image.path)):
        open_image(image.path)


def test_an_absurd_chunk_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    image = small(tmp_path / "a.ome.zarr", shard=None)
    path = image.path / "0" / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [100_000] * 3
    path.write_text(json.dumps(metadata))

    with pytest.raises(VolumeError, match="not a usable image"):
        open_image(image.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}], "fill_value": ""},
        {"dtype": "|O", "filters": [{"id": "pickle"}], "fill_value": None},
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"compressor": {"id": "no such codec"}},
        {"dtype": "<c8", "fill_value": 0},
        {"dtype": "<U4", "fill_value": ""},
    ],
)
def test_voxels_that_are_no_numbers_are_refused_before_any_is_decoded(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "code ran",)

    image = small(tmp_path / "a", zarr_format=2, chunk=64)
    (image.path / "0" / "0" / "0").mkdir(parents=True)
    (image.path / "0" / "0" / "0" / "0").write_bytes(pickle.dumps(Hostile()))
    path = image.path / "0" / ".zarray"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    with pytest.raises(VolumeError, match=str(image.path)):
        open_image(image.path)

    assert not (tmp_path / "code ran").exists()


def test_a_path_that_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no such folder"):
        open_image(tmp_path / "missing")
    with pytest.raises(VolumeError, match="not a readable OME-Zarr"):
        open_image(tmp_path)


def test_an_image_of_a_later_schema_is_not_guessed_at(tmp_path: Path) -> None:
    image = small(tmp_path / "a.ome.zarr")
    group = zarr.open_group(image.path, mode="r+")
    group.update_attributes({"neuroconn": {"schema": 99, "kind": "brain"}})

    with pytest.raises(VolumeError, match="another version"):
        open_image(image.path)
