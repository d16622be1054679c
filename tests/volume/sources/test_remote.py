"""Zarr behind URLs: a server of our own plays HTTP and path-style S3."""

import json
import pickle
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from neuroconn.errors import InterruptedRunError, UsageError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import convert, create_image, open_image, open_source, write_region
from neuroconn.volume.sources import remote
from neuroconn.volume.sources.damage import read_on

SHAPE = (9, 11, 13)
VOXELS = np.random.default_rng(0).integers(1, 60000, SHAPE).astype(np.uint16)
WHOLE = Box.of_shape(SHAPE)


class Server(ThreadingHTTPServer):
    """Files of a folder, by GET and HEAD, with ranges; it never lists."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.requests: list[tuple[str, str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.status = self.hiccups = 0
        self.delay = 0.0
        self.ranges = self.head = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that do not wait are part of the play."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(send=True)

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def _answer(self, *, send: bool) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.command, self.path, wanted))
        server.headers.append(dict(self.headers))
        time.sleep(server.delay)
        file = server.root / self.path.split("?")[0].lstrip("/")
        status = server.status
        if server.hiccups:
            server.hiccups, status = server.hiccups - 1, 503
        status = status or (0 if file.is_file() else 404)
        status = status or (0 if send or server.head else 405)
        data = b"" if status else file.read_bytes()
        extra = {"ETag": '"1"', "Last-Modified": "Tue, 01 Jan 2030 00:00:00 GMT"}
        if wanted and server.ranges and not status:
            first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()  # type: ignore[union-attr]
            start = int(first) if first else max(0, len(data) - int(last))
            stop = min(int(last) + 1, len(data)) if first and last else len(data)
            if start >= len(data):
                status, data = 416, b""
            else:
                extra["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                status, data = 206, data[start:stop]
        self.send_response(status or 200)
        for name, value in {**extra, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(data)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in (*remote._CREDENTIALS, *remote._ENDPOINTS, "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    hasty = remote.Patience(timeout=1, retries=1, retry_for=1)
    monkeypatch.setattr(remote, "READING", hasty)
    monkeypatch.setattr(remote, "OPENING", hasty)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "bucket").mkdir()
    server = Server(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=["http", "s3"])
def base(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the folder ``bucket``."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    return "s3://bucket" if request.param == "s3" else f"{server.url}/bucket"


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
    server: Server, base: str, zarr_format: int
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
def test_an_array_of_tensorstore_behind_a_url_is_read(
    server: Server, base: str, driver: str
) -> None:
    array = tensorstore.open(
        {"driver": driver, "kvstore": f"file://{server.root}/bucket/a/"},
        create=True, dtype=tensorstore.uint16, shape=SHAPE,
    ).result()  # fmt: skip
    array.write(VOXELS).result()

    np.testing.assert_array_equal(open_source(f"{base}/a/").read(WHOLE), VOXELS)


def test_a_source_survives_pickling_and_carries_no_connection(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    source.read(WHOLE)

    data = pickle.dumps(source)

    assert b"obstore" not in data
    np.testing.assert_array_equal(pickle.loads(data).read(WHOLE), VOXELS)


def test_threads_read_the_same(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    source, parts = open_source(f"{base}/a"), list(WHOLE.split((4, 4, 4)))

    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(source.read, parts))

    for box, voxels in zip(parts, read, strict=True):
        np.testing.assert_array_equal(voxels, VOXELS[box.slices])


def test_a_band_along_shards_is_one_request_a_shard(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    server.requests.clear()

    source.read(Box((0, 0, 0), (8, 8, 13)))
    source.read(Box((8, 8, 0), SHAPE))

    keys = ["0/0/0", "0/0/1", "1/1/0", "1/1/1"]
    assert sorted(server.requests) == [("GET", f"/bucket/a/0/c/{key}", None) for key in keys]


def test_a_brain_is_converted_from_a_url(server: Server, base: str, tmp_path: Path) -> None:
    image(server.root / "bucket" / "a")

    convert(f"{base}/a", tmp_path / "out", chunk=4, shard=8, smallest=16, threads=2)

    np.testing.assert_array_equal(open_image(tmp_path / "out").array(0)[:], VOXELS)


def test_series_of_a_container_are_found_without_listing(server: Server, base: str) -> None:
    group = zarr.create_group(server.root / "bucket" / "a", zarr_format=3)
    group.update_attributes({"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    image(server.root / "bucket" / "a" / "0")

    np.testing.assert_array_equal(open_source(f"{base}/a").read(WHOLE), VOXELS)
    image(server.root / "bucket" / "a" / "1")
    refuse(f"{base}/a", "holds 2 images")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_group_lists_itself_by_consolidated_metadata_only(
    server: Server, base: str, zarr_format: int
) -> None:
    path = server.root / "bucket" / "a"
    group = zarr.create_group(path, zarr_format=zarr_format)
    group.create_array("raw", data=VOXELS, chunks=(4, 4, 4))

    refuse(f"{base}/a", "cannot be listed; name the array: --dataset")
    np.testing.assert_array_equal(open_source(f"{base}/a", dataset="raw").read(WHOLE), VOXELS)
    zarr.consolidate_metadata(path)
    np.testing.assert_array_equal(open_source(f"{base}/a").read(WHOLE), VOXELS)
    refuse(f"{base}/a", "no dataset 'row': there is raw", UsageError, dataset="row")


def test_absent_chunks_are_the_fill_value_as_long_as_the_array_is_there(
    server: Server, base: str
) -> None:
    path = image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    (path / "0" / "c" / "0" / "0" / "0").unlink()
    wanted = VOXELS.copy()
    wanted[:8, :8, :8] = 0

    np.testing.assert_array_equal(source.read(WHOLE), wanted)
    shutil.rmtree(path)
    with pytest.raises(InterruptedRunError, match="disappeared"):
        source.read(WHOLE)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_cut_object_is_damage_and_not_a_failing_server(
    server: Server, base: str, kept: int
) -> None:
    path = image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    file = path / "0" / "c" / "1" / "0" / "0"
    file.write_bytes(file.read_bytes()[:kept])

    voxels, bad, _ = read_on(source, WHOLE)

    assert bad
    assert "0/c/1/0/0" in str(bad[0])
    np.testing.assert_array_equal(voxels[:8], VOXELS[:8])


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "denied"), (403, "denied"), (404, "is no Zarr"), (500, "answers 500"),
     (503, "answers 503"), (301, "points elsewhere")],
)  # fmt: skip
def test_what_a_server_refuses_is_one_line_at_once(
    server: Server, base: str, status: int, reason: str
) -> None:
    image(server.root / "bucket" / "a")
    server.status = status

    refuse(f"{base}/a", reason)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_server_that_fails_later_interrupts_and_leaves_no_hole(
    server: Server, base: str, status: int
) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    server.status = status

    with pytest.raises(InterruptedRunError) as caught:
        read_on(source, WHOLE)
    assert "\n" not in str(caught.value)
    server.status = 0
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_a_hiccup_is_waited_out(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    source, server.hiccups = open_source(f"{base}/a"), 1

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert server.hiccups == 0


def test_a_server_that_is_down_or_silent_is_given_up(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    server.delay = 3

    refuse(f"{base}/a", "does not answer in time")
    with pytest.raises(InterruptedRunError, match="does not answer in time"):
        source.read(WHOLE)
    server.shutdown()
    server.server_close()
    refuse(f"{base}/a", "cannot be reached")


def test_a_name_nobody_knows_is_one_line() -> None:
    refuse("http://nowhere.invalid/a.zarr", "nowhere.invalid/a.zarr/zarr.json: .*reached|answers")


def test_shards_need_ranges_and_chunks_do_not(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    image(server.root / "bucket" / "b", shard=None)
    server.ranges = False

    refuse(f"{base}/a", "HTTP Range")
    np.testing.assert_array_equal(open_source(f"{base}/b").read(WHOLE), VOXELS)


def test_a_server_without_head_is_read(server: Server, base: str) -> None:
    image(server.root / "bucket" / "a")
    server.head = False

    np.testing.assert_array_equal(open_source(f"{base}/a").read(WHOLE), VOXELS)


def test_identity_is_what_the_server_says_of_documents_and_objects(
    server: Server, base: str
) -> None:
    path = image(server.root / "bucket" / "a")
    before = open_source(f"{base}/a").identity
    assert open_source(f"{base}/a").identity == before

    file = path / "0" / "c" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes() + b"x")
    assert open_source(f"{base}/a").identity.layout != before.layout


def test_metadata_that_are_a_web_page_are_refused(server: Server, base: str) -> None:
    folder = server.root / "bucket" / "a"
    folder.mkdir()
    (folder / "zarr.json").write_text("<html>welcome</html>")

    refuse(f"{base}/a", "is no JSON")


def test_metadata_of_absurd_size_are_refused(
    server: Server, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(server.root / "bucket" / "a")
    monkeypatch.setattr(remote, "LARGEST_DOCUMENT", 100)

    refuse(f"{base}/a", "too large for metadata")


def test_a_token_goes_with_every_request_and_is_never_shown(server: Server) -> None:
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
    server: Server, monkeypatch: pytest.MonkeyPatch
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


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("gs://bucket/a", "gs:// addresses are not read"),
        ("file:///tmp/a", "folders by their path"),
        ("s3:///a", "needs a host or a bucket"),
        ("http://", "needs a host"),
        ("https://me:mine@host/a", "holds a password"),
        ("http://[::1/a", "no address"),
        ("http://host:port/a", "no address"),
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str, reason: str) -> None:
    refuse(url, reason, UsageError)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)

    refuse("s3://bucket/a", r"pip install 'neuroconn\[cloud\]'")
