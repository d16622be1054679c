"""Zarr behind URLs, as a source."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from neuroconn.errors import InterruptedRunError, UsageError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import convert, create_image, open_image, open_source, write_region

SHAPE = (9, 11, 13)
VOXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype(np.uint16)
WHOLE = Box.of_shape(SHAPE)


def image(folder: Path, **options: Any) -> Path:
    levels = plan_levels(SHAPE, (2.0, 1.0, 1.0), smallest=16)
    made = create_image(
        folder, levels=levels, dtype="uint16", frame=Frame((2.0, 1.0, 1.0)), kind="brain",
        **{"chunk": 4, "shard": 8, **options},
    )  # fmt: skip
    write_region(made.array(0), WHOLE, VOXELS)
    return folder


def refuse(url: str, reason: str, error: type[Exception] = VolumeError, **choice: Any) -> None:
    with pytest.raises(error, match=reason) as caught:
        open_source(url, **choice)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_image_behind_a_url_is_read_without_listing(
    server: Any, base: str, zarr_format: int
) -> None:
    image(server.root / "bucket" / "a.ome.zarr", zarr_format=zarr_format)

    source = open_source(f"{base}/a.ome.zarr")

    assert source.spacing_um == (2.0, 1.0, 1.0)
    assert source.unit == (4, 4, 4)
    assert source.identity.name == "a.ome.zarr"
    assert any("absent behind a URL" in note for note in source.notes)
    for box in (WHOLE, Box((1, 2, 3), (9, 5, 4)), Box((8, 10, 12), SHAPE)):
        np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])
    assert not [r for r in server.requests if "list-type" in r[1] or r[1].endswith("/")]


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_an_array_of_tensorstore_behind_a_url_is_read(server: Any, base: str, driver: str) -> None:
    array = tensorstore.open(
        {"driver": driver, "kvstore": f"file://{server.root}/bucket/a/"},
        create=True, dtype=tensorstore.uint16, shape=SHAPE,
    ).result()  # fmt: skip
    array.write(VOXELS).result()

    np.testing.assert_array_equal(open_source(f"{base}/a/").read(WHOLE), VOXELS)


def test_a_source_survives_pickling_and_carries_no_connection(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    source.read(WHOLE)

    data = pickle.dumps(source)

    assert b"obstore" not in data
    np.testing.assert_array_equal(pickle.loads(data).read(WHOLE), VOXELS)


def test_threads_read_the_same(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    source, parts = open_source(f"{base}/a"), list(WHOLE.split((4, 4, 4)))

    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(source.read, parts))

    for box, voxels in zip(parts, read, strict=True):
        np.testing.assert_array_equal(voxels, VOXELS[box.slices])


def test_a_band_along_shards_is_one_request_a_shard(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    server.requests.clear()

    source.read(Box((0, 0, 0), (8, 8, 13)))
    source.read(Box((8, 8, 0), SHAPE))

    keys = ["0/0/0", "0/0/1", "1/1/0", "1/1/1"]
    assert sorted(server.requests) == [("GET", f"/bucket/a/0/c/{key}", None) for key in keys]


def test_a_brain_is_converted_from_a_url(server: Any, base: str, tmp_path: Path) -> None:
    image(server.root / "bucket" / "a")

    convert(f"{base}/a", tmp_path / "out", chunk=4, shard=8, smallest=16, threads=2)

    np.testing.assert_array_equal(open_image(tmp_path / "out").array(0)[:], VOXELS)


def test_series_of_a_container_are_found_without_listing(server: Any, base: str) -> None:
    group = zarr.create_group(server.root / "bucket" / "a", zarr_format=3)
    group.update_attributes({"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    image(server.root / "bucket" / "a" / "0")

    np.testing.assert_array_equal(open_source(f"{base}/a").read(WHOLE), VOXELS)
    image(server.root / "bucket" / "a" / "1")
    refuse(f"{base}/a", "holds 2 images")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_group_lists_itself_by_consolidated_metadata_only(
    server: Any, base: str, zarr_format: int
) -> None:
    path = server.root / "bucket" / "a"
    group = zarr.create_group(path, zarr_format=zarr_format)
    group.create_array("raw", data=VOXELS, chunks=(4, 4, 4))

    refuse(f"{base}/a", "cannot be listed; name the array: --dataset")
    np.testing.assert_array_equal(open_source(f"{base}/a", dataset="raw").read(WHOLE), VOXELS)
    zarr.consolidate_metadata(path)
    np.testing.assert_array_equal(open_source(f"{base}/a").read(WHOLE), VOXELS)
    refuse(f"{base}/a", "no dataset 'row': there is raw", UsageError, dataset="row")


def test_identity_is_what_the_server_says_of_documents_and_objects(server: Any, base: str) -> None:
    path = image(server.root / "bucket" / "a")
    before = open_source(f"{base}/a").identity
    assert open_source(f"{base}/a").identity == before

    file = path / "0" / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes() + b"x")
    assert open_source(f"{base}/a").identity.layout != before.layout


def test_a_token_goes_with_every_request_and_is_never_shown(server: Any) -> None:
    image(server.root / "bucket" / "a")

    source = open_source(f"{server.url}/bucket/a?token=secret")
    source.read(WHOLE)

    assert all(path.endswith("?token=secret") for _, path, _ in server.requests)
    shown = [source.description, *source.notes, str(source.identity), repr(source._place)]
    assert "secret" not in json.dumps(shown)
    server.status = 403
    with pytest.raises(InterruptedRunError) as caught:
        source.read(WHOLE)
    assert "secret" not in str(caught.value)
    with pytest.raises(VolumeError) as refused:
        open_source(f"{server.url}/bucket/a?token=secret")
    assert "secret" not in str(refused.value)


def test_requests_are_anonymous_without_credentials_and_signed_with_them(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(server.root / "bucket" / "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    open_source("s3://bucket/a")
    assert not any("authorization" in map(str.lower, h) for h in server.headers)

    server.headers.clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    source = open_source("s3://bucket/a")
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert all(h["authorization"].startswith("AWS4-HMAC-SHA256") for h in server.headers)
    assert b"mine" not in pickle.dumps(source)
