import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources.base import Choice
from neuroconn.volume.sources.raster import source as raster
from neuroconn.volume.sources.raster.placement import Placement
from neuroconn.volume.sources.raster.source import Layout, Plain, RasterSource, Stored
from neuroconn.volume.sources.raster.unpack import Packed

GREY = Layout((4, 5, 6), np.dtype("<u2"))
VOXELS = np.random.default_rng(0).integers(0, 60000, GREY.shape).astype(GREY.dtype)


class Grey(RasterSource):
    format = "test"


def opened(path: Path, layout: Layout, stored: Stored, channel: int | None = None) -> Grey:
    return Grey(path, layout, stored, Choice(channel), Placement())


def gzipped(path: Path, voxels: Any = VOXELS) -> Path:
    import gzip

    path.write_bytes(gzip.compress(voxels.tobytes()))
    return path


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window_of_any_layout_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * 3))
    axis = data.draw(st.sampled_from([None, 0, 1, 2, 3]))
    channels = data.draw(st.integers(1, 3))
    stored = shape if axis is None else (*shape[:axis], channels, *shape[axis:])
    dtype = np.dtype(data.draw(st.sampled_from(["u1", "<u2", ">u2", ">i4", "<f8"])))
    whole = np.random.default_rng(1).integers(0, 100, stored).astype(dtype)
    count = data.draw(st.sampled_from([n for n in range(1, stored[0] + 1) if not stored[0] % n]))
    offset = data.draw(st.sampled_from([0, 3, None]))
    folder = tmp_path_factory.mktemp("raster")
    files = tuple(folder / f"{k}.raw" for k in range(count))
    for file, part in zip(files, np.split(whole, count), strict=True):
        file.write_bytes(b"abc" * (offset != 0) + part.tobytes())
    a = [data.draw(st.integers(0, n - 1)) for n in shape]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, shape, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    for channel in range(1 if axis is None else channels):
        source = opened(files[0], Layout(stored, dtype, axis), Plain(files, offset), channel)
        truth = whole if axis is None else np.take(whole, channel, axis)
        np.testing.assert_array_equal(source.read(box), truth[box.slices])
        assert source.read(box).dtype.isnative
        assert source.shape == shape


@pytest.mark.parametrize("span", [1, 7, 40, 10**6])
def test_the_size_of_a_request_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, span: int
) -> None:
    monkeypatch.setattr(raster, "_SPAN", span)
    monkeypatch.setattr(raster, "_GAP", span % 8)
    (tmp_path / "a").write_bytes(VOXELS.tobytes())
    source = opened(tmp_path / "a", GREY, Plain((tmp_path / "a",)))

    for box in (Box.of_shape(GREY.shape), Box((1, 0, 2), (3, 5, 3)), Box((0, 1, 0), (4, 4, 6))):
        np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])


def test_a_request_may_return_less_than_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(VOXELS.tobytes())
    source = opened(tmp_path / "a", GREY, Plain((tmp_path / "a",)))
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: preadv(fd, [views[0][:7]], at))

    np.testing.assert_array_equal(source.read(Box.of_shape(GREY.shape)), VOXELS)


def test_few_bytes_are_read_for_a_narrow_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.zeros((2, 50, 40000), np.uint16)
    (tmp_path / "a").write_bytes(wide.tobytes())
    source = opened(tmp_path / "a", Layout(wide.shape, wide.dtype), Plain((tmp_path / "a",)))
    sizes: list[int] = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        sizes.append(sum(buffer.nbytes for buffer in buffers))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    source.read(Box((0, 0, 100), (1, 50, 164)))
    assert sum(sizes) == 50 * 64 * 2
    sizes.clear()
    source.read(Box((0, 0, 0), (2, 50, 40000)))
    assert len(sizes) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_threads_read_what_one_reads(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a"
    stored: Stored = Packed(path, "gzip") if packed else Plain((path,))
    path.write_bytes(VOXELS.tobytes())
    if packed:
        gzipped(path)
    source = opened(path, GREY, stored)
    boxes = list(Box.of_shape(GREY.shape).split((1, 2, 3))) * 8
    gate = threading.Barrier(2)

    def read(box: Box) -> Any:
        if box is boxes[0] or box is boxes[1]:
            gate.wait(10)  # both threads ask for the first voxels at once
        return source.read(box)

    with ThreadPoolExecutor(2) as pool:
        for box, part in zip(boxes, pool.map(read, boxes), strict=True):
            np.testing.assert_array_equal(part, VOXELS[box.slices])


@pytest.mark.parametrize("packed", [False, True])
def test_a_source_travels_to_another_process(tmp_path: Path, packed: bool) -> None:
    path = gzipped(tmp_path / "a") if packed else tmp_path / "a"
    if not packed:
        path.write_bytes(VOXELS.tobytes())
    source = opened(path, GREY, Packed(path, "gzip") if packed else Plain((path,)))

    copy = pickle.loads(pickle.dumps(source))

    np.testing.assert_array_equal(copy.read(Box.of_shape(GREY.shape)), VOXELS)
    assert copy.identity == source.identity


@pytest.mark.parametrize(
    ("size", "said"), [(239, "truncated"), (241, "goes on for 1 bytes"), (0, "truncated")]
)
def test_a_file_of_another_size_is_refused(tmp_path: Path, size: int, said: str) -> None:
    (tmp_path / "a").write_bytes(bytes(size))

    with pytest.raises(VolumeError, match=said):
        opened(tmp_path / "a", GREY, Plain((tmp_path / "a",)))


def test_the_last_bytes_of_a_file_that_is_too_short_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(239))

    with pytest.raises(VolumeError, match=r"end at byte 240, the file has 239"):
        opened(tmp_path / "a", GREY, Plain((tmp_path / "a",), None))


def test_a_file_that_is_cut_after_it_was_opened_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(VOXELS.tobytes())
    source = opened(path, GREY, Plain((path,)))
    os.truncate(path, 130)

    np.testing.assert_array_equal(source.read(Box((0, 0, 0), (2, 5, 6))), VOXELS[:2])
    with pytest.raises(VolumeError, match=r"a ended at byte 130: it has changed"):
        source.read(Box.of_shape(GREY.shape))
    path.unlink()
    with pytest.raises(VolumeError, match="cannot be opened"):
        source.read(Box.of_shape(GREY.shape))


@pytest.mark.parametrize("shape", [(4, 0, 6), (-1, -1, 240), (10**9, 10**9, 10**9)])
def test_absurd_shapes_are_refused_before_any_memory_is_taken(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    (tmp_path / "a").write_bytes(bytes(240))
    layout = Layout(shape, np.dtype("<u2"))

    for stored in (Plain((tmp_path / "a",)), Packed(tmp_path / "a", "gzip")):
        with pytest.raises(VolumeError):
            opened(tmp_path / "a", layout, stored)


def test_files_that_cannot_share_the_planes_are_refused(tmp_path: Path) -> None:
    files = tuple(tmp_path / name for name in "abc")
    for file in files:
        file.write_bytes(bytes(80))

    with pytest.raises(VolumeError, match=r"3 files .* cannot share 4 planes"):
        opened(files[0], GREY, Plain(files))


def test_one_of_several_channels_is_chosen_and_part_of_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(VOXELS.tobytes())
    layout = Layout((2, 2, 5, 6), GREY.dtype, 0)

    with pytest.raises(VolumeError, match=r"2 channels .*--channel 0 to 1"):
        opened(path, layout, Plain((path,)))
    with pytest.raises(UsageError, match="channel 2 does not exist"):
        opened(path, layout, Plain((path,)), 2)
    first, second = (opened(path, layout, Plain((path,)), k) for k in range(2))
    assert first.channels == 2
    assert first.identity != second.identity


def test_another_file_of_the_same_size_has_another_identity(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    identities = []
    for folder, voxels in (("a", VOXELS), ("b", VOXELS + np.uint16(1))):
        file = tmp_path / folder / "brain.raw"
        file.write_bytes(voxels.tobytes())
        identities.append(opened(file, GREY, Plain((file,))).identity)

    assert identities[0].layout == identities[1].layout
    assert identities[0].sample != identities[1].sample


def test_voxels_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(960))

    with pytest.raises(VolumeError, match="complex64"):
        opened(tmp_path / "a", Layout((4, 5, 6), np.dtype("c8")), Plain((tmp_path / "a",)))


def test_an_empty_window_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(VOXELS.tobytes())
    source = opened(tmp_path / "a", GREY, Plain((tmp_path / "a",)))

    assert source.read(Box((1, 2, 3), (1, 2, 3))).shape == (0, 0, 0)
