"""What goes wrong between here and a server."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.errors import InterruptedRunError, UsageError, VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import create_image, open_source, write_region
from neuroconn.volume.sources.damage import salvage
from neuroconn.volume.sources.stores import remote

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


def test_absent_chunks_are_the_fill_value_as_long_as_the_array_is_there(
    server: Any, base: str
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
def test_a_cut_object_is_damage_and_not_a_failing_server(server: Any, base: str, kept: int) -> None:
    path = image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    file = path / "0" / "c" / "1" / "0" / "0"
    file.write_bytes(file.read_bytes()[:kept])

    voxels, bad = salvage(source, WHOLE)

    assert bad
    assert "0/c/1/0/0" in str(bad[0])
    np.testing.assert_array_equal(voxels[:8], VOXELS[:8])


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "denied"), (403, "denied"), (404, "is no Zarr"), (500, "answers 500"),
     (503, "answers 503"), (301, "points elsewhere")],
)  # fmt: skip
def test_what_a_server_refuses_is_one_line_at_once(
    server: Any, base: str, status: int, reason: str
) -> None:
    image(server.root / "bucket" / "a")
    server.status = status

    refuse(f"{base}/a", reason)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_server_that_fails_later_interrupts_and_leaves_no_hole(
    server: Any, base: str, status: int
) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    server.status = status

    with pytest.raises(InterruptedRunError) as caught:
        salvage(source, WHOLE)
    assert "\n" not in str(caught.value)
    server.status = 0
    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)


def test_a_hiccup_is_waited_out(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    source, server.hiccups = open_source(f"{base}/a"), 1

    np.testing.assert_array_equal(source.read(WHOLE), VOXELS)
    assert server.hiccups == 0


def test_a_server_that_is_down_or_silent_is_given_up(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    source = open_source(f"{base}/a")
    server.delay = 3

    refuse(f"{base}/a", "does not answer in time")
    with pytest.raises(InterruptedRunError, match="does not answer in time"):
        source.read(WHOLE)
    server.shutdown()
    server.server_close()
    refuse(f"{base}/a", "cannot be reached")


@pytest.mark.usefixtures("hasty")
def test_a_name_nobody_knows_is_one_line() -> None:
    refuse("http://nowhere.invalid/a.zarr", "nowhere.invalid/a.zarr/zarr.json: .*reached|answers")


def test_shards_need_ranges_and_chunks_do_not(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    image(server.root / "bucket" / "b", shard=None)
    server.ranges = False

    refuse(f"{base}/a", "HTTP Range")
    np.testing.assert_array_equal(open_source(f"{base}/b").read(WHOLE), VOXELS)


def test_a_server_without_head_is_read(server: Any, base: str) -> None:
    image(server.root / "bucket" / "a")
    server.head = False

    np.testing.assert_array_equal(open_source(f"{base}/a").read(WHOLE), VOXELS)


def test_metadata_that_are_a_web_page_are_refused(server: Any, base: str) -> None:
    folder = server.root / "bucket" / "a"
    folder.mkdir()
    (folder / "zarr.json").write_text("<html>welcome</html>")

    refuse(f"{base}/a", "is no JSON")


def test_metadata_of_absurd_size_are_refused(
    server: Any, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(server.root / "bucket" / "a")
    monkeypatch.setattr(remote, "LARGEST_DOCUMENT", 100)

    refuse(f"{base}/a", "too large for metadata")


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
