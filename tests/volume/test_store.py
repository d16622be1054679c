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

from neuroconn.errors import OutputError, VolumeError
from neuroconn.geometry import Box, Frame, Level, plan_levels
from neuroconn.volume import Image, create_image, open_image, read_region, write_region

SHAPE = (20, 37, 33)
LEVELS = plan_levels(SHAPE, smallest=16)
FRAME = Frame((2.0, 0.5, 0.5), (10.0, 0.0, 1.0))


def small(path: Path, **changes: Any) -> Image:
    options: dict[str, Any] = {
        "levels": LEVELS, "dtype": "uint16", "frame": FRAME, "chunk": 8, "shard": 16,
        "kind": "brain",
    }  # fmt: skip
    return create_image(path, **{**options, **changes})


def test_what_is_created_is_what_is_opened(tmp_path: Path) -> None:
    created = small(tmp_path / "a.ome.zarr", attributes={"note": [1, 2]})

    opened = open_image(tmp_path / "a.ome.zarr")

    assert opened == created == pickle.loads(pickle.dumps(created))
    assert opened.levels == LEVELS
    assert opened.frame == FRAME
    assert opened.frames == [level.frame(FRAME) for level in LEVELS]
    assert opened.attributes == {"note": [1, 2]}
    assert (opened.kind, opened.downsample, opened.spacing_known) == ("brain", "max", True)
    assert opened.grid(0).counts == (2, 3, 3)
    assert opened.array(1).shape == LEVELS[1].shape


def test_attributes_are_updated_key_by_key(tmp_path: Path) -> None:
    image = small(tmp_path / "a.ome.zarr", attributes={"a": 1, "b": 2})

    image.update_attributes({"b": 3})

    assert image.attributes == {"a": 1, "b": 3}
    assert open_image(image.path) == image


def test_a_validator_accepts_the_metadata(tmp_path: Path) -> None:
    image = small(tmp_path / "a.ome.zarr")
    image.set_window(10, 200, low=0, high=65535)

    yaozarrs.validate_zarr_store(str(image.path))


def test_an_unknown_spacing_leaves_the_axes_without_a_unit(tmp_path: Path) -> None:
    image = small(tmp_path / "a.ome.zarr", spacing_known=False, frame=Frame((1.0, 1.0, 1.0)))
    metadata = json.loads((image.path / "zarr.json").read_text())["attributes"]

    assert not open_image(image.path).spacing_known
    assert metadata["neuroconn"]["spacing_known"] is False
    assert all("unit" not in axis for axis in metadata["ome"]["multiscales"][0]["axes"])
    yaozarrs.validate_zarr_store(str(image.path))


def test_chunks_carry_a_checksum_and_are_little_endian_blosc_zstd(tmp_path: Path) -> None:
    image = small(tmp_path / "a.ome.zarr")
    (sharding,) = json.loads((image.path / "0" / "zarr.json").read_text())["codecs"]

    inner, index = (sharding["configuration"][k] for k in ("codecs", "index_codecs"))

    assert [codec["name"] for codec in inner] == ["bytes", "blosc", "crc32c"]
    assert [codec["name"] for codec in index] == ["bytes", "crc32c"]
    assert inner[0]["configuration"]["endian"] == "little"
    blosc = inner[1]["configuration"]
    assert (blosc["cname"], blosc["clevel"], blosc["shuffle"]) == ("zstd", 3, "shuffle")
    assert blosc["typesize"] == 2


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

    monkeypatch.setattr("neuroconn.volume.store.create_array", crash)

    with pytest.raises(MemoryError):
        small(tmp_path / "a.ome.zarr")

    assert not list(tmp_path.iterdir())


def test_a_shard_must_hold_whole_chunks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whole chunks"):
        small(tmp_path / "a", chunk=8, shard=12)


@pytest.mark.parametrize("mode", ["w", '"w"'])
def test_no_module_opens_a_store_for_overwriting(mode: str) -> None:
    import neuroconn

    package = Path(neuroconn.__file__).parent / "volume"
    assert not [p for p in package.rglob("*.py") if f"mode={mode}" in p.read_text()]


sides = st.integers(1, 20)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(sides, sides, sides),
    chunk=st.tuples(*[st.sampled_from([2, 3, 5])] * 3),
    per_shard=st.tuples(*[st.integers(1, 3)] * 3),
    sharded=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_what_is_written_is_read_back_by_us_and_by_tensorstore(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    chunk: tuple[int, int, int],
    per_shard: tuple[int, int, int],
    sharded: bool,
    seed: int,
) -> None:
    shard = (chunk[0] * per_shard[0], chunk[1] * per_shard[1], chunk[2] * per_shard[2])
    image = create_image(
        tmp_path_factory.mktemp("store") / "a.ome.zarr",
        levels=[Level(shape, (1, 1, 1), (1, 1, 1))], dtype="uint16", frame=FRAME,
        chunk=chunk, shard=shard if sharded else None, kind="brain",
    )  # fmt: skip
    array, grid = image.array(0), image.grid(0)
    voxels = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint16)

    for index in grid:
        write_region(array, grid.core(index), voxels[grid.core(index).slices])

    np.testing.assert_array_equal(read_region(array, Box.of_shape(shape)), voxels)
    store = {"driver": "file", "path": str(image.path / "0")}
    oracle = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
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
def test_damaged_group_metadata_is_a_volume_error(tmp_path: Path, text: str) -> None:
    image = small(tmp_path / "a.ome.zarr")
    (image.path / "zarr.json").write_text(text)

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
