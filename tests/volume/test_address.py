"""Images on an object store are the same as in a folder."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.errors import OutputError, StorageError, UsageError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import create_image, open_image, open_volume, read_region, write_region
from neuroconn.volume.address import ObjectPath, address_of
from neuroconn.volume.checked_reads import ONE_BY_ONE
from neuroconn.volume.object_store import ZarrObjects, _WordyStore
from neuroconn.volume.objects import Objects
from neuroconn.volume.store import Image
from neuroconn.volume.stored import remove_stored, stored_indices, stored_name, stored_size

SHAPE = (9, 11, 13)
WHOLE = Box.of_shape(SHAPE)
VOXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype(np.uint16)


def made(path: Any, **options: Any) -> Image:
    usual: dict[str, Any] = {
        "levels": plan_levels(SHAPE, (2.0, 1.0, 1.0), smallest=8),
        "dtype": "uint16",
        "frame": Frame((2.0, 1.0, 1.0)),
        "kind": "brain",
        "chunk": 4,
        "shard": 8,
    }
    return create_image(path, **{**usual, **options})


def objects_of(at: ObjectPath) -> dict[str, bytes]:
    found = Objects(at)
    return {key: found.get(key) or b"" for key, _ in found.list()}


def files_of(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["brain", "distance"])
def test_the_same_objects_are_stored_as_files(
    tmp_path: Path, bucket: str, zarr_format: Any, kind: Any
) -> None:
    images = [made(p, zarr_format=zarr_format, kind=kind)
              for p in (tmp_path / "a.ome.zarr", f"{bucket}/a.ome.zarr")]  # fmt: skip
    for image in images:
        write_region(image.array(0), WHOLE, VOXELS)
        image.update_attributes({"note": 1})
        image.set_window(0, 5, low=0, high=9)

    assert objects_of(ObjectPath(f"{bucket}/a.ome.zarr")) == files_of(tmp_path / "a.ome.zarr")
    local, there = (open_image(image.path) for image in images)
    assert (there.levels, there.frames, there.kind) == (local.levels, local.frames, kind)
    assert there.attributes == {"note": 1}
    np.testing.assert_array_equal(read_region(there.array(0), WHOLE), VOXELS)
    edge = Box((-2, 5, 9), (7, 12, 15))
    np.testing.assert_array_equal(
        read_region(there.array(0), edge, pad="reflect"),
        read_region(local.array(0), edge, pad="reflect"),
    )


def test_an_image_and_its_array_travel_without_a_connection(bucket: str) -> None:
    image = made(f"{bucket}/a")
    write_region(image.array(0), WHOLE, VOXELS)

    data = pickle.dumps((image, image.array(0)))
    assert b"obstore" not in data
    assert b"AKIA" not in data
    again, array = pickle.loads(data)

    assert again == image
    np.testing.assert_array_equal(array[:], VOXELS)
    write_region(again.array(0), WHOLE, VOXELS + 1)
    np.testing.assert_array_equal(read_region(array, WHOLE), VOXELS + 1)


def test_a_volume_is_lazy_and_the_same_as_from_a_folder(tmp_path: Path, bucket: str) -> None:
    for path in (tmp_path / "a", f"{bucket}/a"):
        write_region(made(path).array(0), WHOLE, VOXELS)

    there, here = open_volume(f"{bucket}/a"), open_volume(tmp_path / "a")

    assert there.attrs["source"] == f"{bucket}/a"
    assert there.chunks == here.chunks
    np.testing.assert_array_equal(there[2:7, :, 5].values, here[2:7, :, 5].values)


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_damage_is_an_error_that_names_the_object(bucket: str, damage: bytes | None) -> None:
    image = made(f"{bucket}/a")
    write_region(image.array(0), WHOLE, VOXELS)
    at = Objects(ObjectPath(f"{bucket}/a"))
    whole = at.get("0/c/1/0/1") or b""
    at.put("0/c/1/0/1", whole[:-5] if damage is None else damage)

    with pytest.raises(VolumeError, match=f"{bucket}/a/0/c/1/0/1"):
        read_region(image.array(0), WHOLE)


@pytest.mark.parametrize("place", ["folder", "store"])
def test_stored_objects_are_named_measured_listed_and_removed(
    tmp_path: Path, bucket: str, place: str
) -> None:
    root = str(tmp_path / "a") if place == "folder" else f"{bucket}/a"
    image = made(root)
    array, grid = image.array(0), image.grid(0)
    write_region(array, grid.core((1, 0, 1)), VOXELS[grid.core((1, 0, 1)).slices])
    write_region(array, grid.core((0, 1, 1)), VOXELS[grid.core((0, 1, 1)).slices])

    assert set(stored_indices(array, grid)) == {(1, 0, 1), (0, 1, 1)}
    assert stored_name(array, (1, 0, 1)) == f"{root}/0/c/1/0/1"
    assert (stored_size(array, (1, 0, 1)) or 0) > 0
    assert stored_size(array, (0, 0, 0)) is None
    remove_stored(array, (1, 0, 1), (0, 0, 0))
    assert set(stored_indices(array, grid)) == {(0, 1, 1)}


def test_an_address_that_holds_anything_is_refused(bucket: str) -> None:
    Objects(ObjectPath(f"{bucket}/a")).put("deep/down.txt", b"mine")

    with pytest.raises(OutputError, match=r"already holds something \(deep/down.txt\)"):
        made(f"{bucket}/a")
    with pytest.raises(OutputError, match="can only be read"):
        made("https://host/a")
    made(f"{bucket}/a2")


def test_a_creation_that_dies_leaves_no_image_and_can_be_finished(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, wrote = Objects._write, []

    def dies(objects: Objects, key: str, *rest: Any) -> None:
        if len(wrote) == 1:
            raise StorageError("gone")
        wrote.append(key)
        put(objects, key, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "_write", dies)
        with pytest.raises(StorageError):
            made(f"{bucket}/a")

    assert wrote == ["0/zarr.json"]
    with pytest.raises(VolumeError, match="no OME-Zarr image"):
        open_image(f"{bucket}/a")
    with pytest.raises(OutputError, match="already holds"):
        made(f"{bucket}/a")
    assert made(f"{bucket}/a", resume=True) == open_image(f"{bucket}/a")
    with pytest.raises(OutputError, match="another image appeared"):
        made(f"{bucket}/a", resume=True, attributes={"other": 1})


def test_what_is_no_image_is_one_line(bucket: str) -> None:
    Objects(ObjectPath(f"{bucket}/a")).put("zarr.json", b"<html>")

    for path, reason in ((f"{bucket}/a", "not a readable"), (f"{bucket}/b", "no OME-Zarr image")):
        with pytest.raises(VolumeError, match=reason) as caught:
            open_image(path)
        assert path in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_needs_a_folder_says_so(bucket: str) -> None:
    with pytest.raises(VolumeError, match="is not on this machine"):
        made(f"{bucket}/a").folder  # noqa: B018


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("gs://bucket/a", "gs:// addresses are not read"),
        ("s3:///a", "needs a host or a bucket"),
        ("https://me:mine@host/a", "holds a password"),
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        address_of(url)


def test_a_token_is_part_of_every_request_and_of_no_message() -> None:
    address = address_of("https://host/a.zarr?token=secret")

    assert "secret" not in str(address)
    assert "secret" not in repr(address)
    assert "secret" in (address / "0").url  # type: ignore[union-attr]
    assert address.name == "a.zarr"


@pytest.mark.parametrize("holes", [False, True])
def test_parts_of_a_shard_are_asked_for_at_once(
    bucket: str, monkeypatch: pytest.MonkeyPatch, holes: bool
) -> None:
    shape = (8, 16, 24)
    voxels = np.random.default_rng(1).integers(1, 9, shape).astype(np.uint16)
    if holes:
        voxels[:4, :8, :8] = 0  # chunks that are not stored in a shard that is
    image = made(f"{bucket}/a", levels=plan_levels(shape, smallest=64), chunk=(2, 4, 2))
    write_region(image.array(0), Box.of_shape(shape), voxels)
    array, asked, spans = image.array(0), list[str](), list[int]()
    get, get_spans = _WordyStore.get, ZarrObjects.get_spans

    async def counted(store: Any, key: str, *rest: Any) -> Any:
        asked.append(key)
        return await get(store, key, *rest)

    async def counted_spans(store: Any, key: str, wanted: Any) -> Any:
        spans.append(len(wanted))
        return await get_spans(store, key, wanted)

    monkeypatch.setattr(_WordyStore, "get", counted)
    monkeypatch.setattr(ZarrObjects, "get_spans", counted_spans)
    face = read_region(array, Box((0, 0, 7), (8, 8, 9)))

    np.testing.assert_array_equal(face, voxels[:, :8, 7:9])
    if ONE_BY_ONE:  # the index of each shard, and all of its parts
        assert sorted(asked) == ["0/c/0/0/0", "0/c/0/0/1"]
        assert sum(spans) == (4 + 8 if holes else 16)
    for start in np.ndindex(2, 3, 4):
        box = Box(start, tuple(min(n, 4 * s + 2) for s, n in zip(start, shape, strict=True)))  # type: ignore[arg-type]
        np.testing.assert_array_equal(read_region(array, box), voxels[box.slices])
