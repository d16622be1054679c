"""v3draw and v3dpbd stacks against the library of Vaa3D's own group."""

import pickle
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d.v3draw import write_v3draw
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.vaa3d import raw as vaa3d_raw

SHAPE = (6, 7, 9)
WHOLE = Box.of_shape(SHAPE)
NOISE = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
PBD = b"v3d_volume_pkbitdf_encod"
RAW = b"raw_image_stack_by_hpeng"


def smooth(dtype: Any, seed: int = 0) -> NDArray[Any]:
    """Voxels that make runs of every kind: equal ones, small steps, larger steps, noise."""
    rng = np.random.default_rng(seed)
    reach = np.repeat([0, 1, 3, 6, 14, 200], 63)
    steps = [rng.integers(-k, k + 1) for k in reach]
    return (np.cumsum(steps) % 4000 + 100).astype(dtype).reshape(SHAPE)


def stack(path: Path, *channels: NDArray[Any]) -> Path:
    loaders = pytest.importorskip("v3dpy.loaders")
    loader = loaders.PBD() if path.suffix == ".v3dpbd" else loaders.Raw()
    loader.save(str(path), np.stack(channels))
    return path


def head(magic: bytes, kind: int, x: int, y: int, z: int, c: int, order: str = "<") -> bytes:
    mark = {"<": b"L", ">": b"B"}[order]
    return magic + mark + struct.pack(f"{order}h4i", kind, x, y, z, c)


@pytest.mark.parametrize("suffix", [".v3draw", ".v3dpbd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_another_writer_saved_is_read(tmp_path: Path, suffix: str, dtype: Any) -> None:
    for name, voxels in (("noise", NOISE.astype(dtype)), ("smooth", smooth(dtype))):
        source = open_source(stack(tmp_path / (name + suffix), voxels))

        assert (source.shape, source.dtype, source.format) == (SHAPE, dtype, suffix[1:])
        assert (source.unit, source.spacing_um) == ((1, 1, 9), None)
        np.testing.assert_array_equal(source.read(WHOLE), voxels)


@pytest.mark.parametrize("suffix", [".v3draw", ".v3dpbd"])
def test_one_of_several_channels_is_chosen(tmp_path: Path, suffix: str) -> None:
    path = stack(tmp_path / f"a{suffix}", NOISE, NOISE // 2, smooth(np.uint16))

    with pytest.raises(VolumeError, match="3 channels"):
        open_source(path)
    with pytest.raises(UsageError, match="channel 3"):
        open_source(path, channel=3)
    source = open_source(path, channel=1)
    assert source.channels == 3
    np.testing.assert_array_equal(source.read(WHOLE), NOISE // 2)
    np.testing.assert_array_equal(open_source(path, channel=2).read(WHOLE), smooth(np.uint16))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_both_byte_orders_and_floats_of_v3draw(tmp_path: Path, dtype: str) -> None:
    voxels = NOISE.astype(dtype)
    write_v3draw(tmp_path / "a.v3draw", [voxels[None]], (1, *SHAPE), dtype)
    data = head(RAW, voxels.itemsize, 9, 7, 6, 1, ">") + voxels.astype(f">{dtype}").tobytes()
    (tmp_path / "b.raw").write_bytes(data)

    for name in ("a.v3draw", "b.raw"):
        found = open_source(tmp_path / name).read(WHOLE)
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, voxels)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".v3draw", ".v3dpbd"]))
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str
) -> None:
    source = open_source(stack(tmp_path_factory.mktemp("w") / f"a{suffix}", NOISE))
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(source.read(box), NOISE[box.slices])


@pytest.mark.parametrize("suffix", [".v3draw", ".v3dpbd"])
def test_threads_and_pickles_read_the_same(tmp_path: Path, suffix: str) -> None:
    path = stack(tmp_path / f"a{suffix}", NOISE)
    before = path.read_bytes()
    source = pickle.loads(pickle.dumps(open_source(path)))
    boxes = list(WHOLE.split((1, 4, 9)))

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(source.read, boxes))

    for box, part in zip(boxes, parts, strict=True):
        np.testing.assert_array_equal(part, NOISE[box.slices])
    assert path.read_bytes() == before


def test_opening_decodes_nothing_and_reading_decodes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stack(tmp_path / "a.v3dpbd", NOISE)
    decoded, decode = [], vaa3d_raw._decode

    def counted(*arguments: Any) -> None:
        decoded.append(arguments[0])
        decode(*arguments)

    monkeypatch.setattr(vaa3d_raw, "_decode", counted)
    source = open_source(path)
    assert not decoded
    assert "decoded as a whole" in source.notes[0]

    for box in WHOLE.split((2, 7, 9)):
        source.read(box)
    assert decoded == [path]


def test_the_old_v3draw_kind_is_refused_by_name(tmp_path: Path) -> None:
    old = RAW + b"L" + struct.pack("<h4h", 2, 9, 7, 6, 1) + NOISE.tobytes()
    (tmp_path / "a.v3draw").write_bytes(old)

    with pytest.raises(VolumeError, match="16-bit sizes"):
        open_source(tmp_path / "a.v3draw")


def _refused() -> Iterator[Any]:
    voxels = NOISE.tobytes()
    yield pytest.param(head(RAW, 2, 9, 7, 6, 1) + voxels[:-1], "cut off", id="cut")
    yield pytest.param(head(RAW, 2, 9, 7, 6, 1) + voxels + b"x", "cut off", id="long")
    yield pytest.param(head(RAW, 3, 9, 7, 6, 1) + voxels, "3 bytes a voxel", id="3 bytes")
    yield pytest.param(head(RAW, 2, -9, -7, 6, 1) + voxels, "shape of", id="negative")
    yield pytest.param(head(RAW, 2, 0, 7, 6, 1), "shape of", id="empty")
    yield pytest.param(head(RAW, 2, 9, 7, 6, 1)[:40], "does not begin", id="short header")
    yield pytest.param(
        head(RAW, 2, 9, 7, 6, 1).replace(b"L", b"X") + voxels, "does not begin", id="order"
    )
    yield pytest.param(head(PBD, 33, 9, 7, 6, 1) + voxels, "kind 33", id="pbd3")
    yield pytest.param(head(PBD, 2, 9, 7, 6, 1, ">") + voxels, "big-endian", id="big pbd")
    yield pytest.param(head(PBD, 1, 2**31 - 1, 2**31 - 1, 9, 1) + voxels, "however", id="absurd")
    yield pytest.param(head(PBD, 1, 9, 7, 6, 1), "however", id="nothing in it")
    yield pytest.param(head(PBD, 1, 9, 7, 6, -1) + voxels, "shape of", id="channels")


@pytest.mark.parametrize(("data", "message"), list(_refused()))
def test_impossible_headers_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.v3draw").write_bytes(data)

    with pytest.raises(VolumeError, match=message):
        open_source(tmp_path / "a.v3draw")


@pytest.mark.parametrize(
    ("kind", "runs", "message"),
    [
        (1, b"\x01ab" + b"\xffz" * 3, "holds 386 voxels and announces 378"),
        (1, b"\x01ab\xf6z" + b"\xffz" * 2, "holds 377 voxels"),
        (1, b"\x50" + b"z" * 400, "the run at byte 43"),  # a difference before the first voxel
        (2, b"\x50" + b"z" * 400, "the run at byte 43"),
        (2, b"\xffab" * 11 + b"\x0e" + b"ab" * 13, "the run at byte 76"),  # 33 x 11, 15 cut short
        (2, b"\xffab" * 12, "holds 396 voxels"),
    ],
)
def test_runs_that_do_not_fill_the_volume_never_reach_the_library(
    tmp_path: Path, kind: int, runs: bytes, message: str
) -> None:
    pytest.importorskip("v3dpy.loaders")
    path = tmp_path / "a.v3dpbd"
    path.write_bytes(head(PBD, kind, 9, 7, 6, 1) + runs)
    source = open_source(path)

    for _ in range(2):
        with pytest.raises(VolumeError, match=rf"a\.v3dpbd.*{message}"):
            source.read(WHOLE)


@pytest.mark.parametrize("kind", [1, 2])
def test_runs_that_fill_the_volume_are_decoded(tmp_path: Path, kind: int) -> None:
    pytest.importorskip("v3dpy.loaders")
    value = b"\x07\x01"[:kind]
    count, first = (126, 127 + 126) if kind == 1 else (18, 222 + 18)
    runs = (bytes([first]) + value) * (378 // count)
    path = tmp_path / "a.v3dpbd"
    path.write_bytes(head(PBD, kind, 9, 7, 6, 1) + runs)

    found = open_source(path).read(WHOLE)

    assert set(found.ravel().tolist()) == {int.from_bytes(value, "little")}


def test_a_cut_v3dpbd_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        data = stack(tmp_path / "a.v3dpbd", smooth(dtype)).read_bytes()
        for cut in range(len(data) - 1, 30, -7):
            (tmp_path / "b.v3dpbd").write_bytes(data[:cut])
            with pytest.raises(VolumeError, match=r"b\.v3dpbd"):
                open_source(tmp_path / "b.v3dpbd").read(WHOLE)


def test_without_the_library_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.v3dpbd").write_bytes(head(PBD, 1, 9, 7, 6, 1) + NOISE.tobytes())
    monkeypatch.setitem(__import__("sys").modules, "v3dpy.loaders", None)

    with pytest.raises(VolumeError, match=r"v3d-py-helper.*save it as \.v3draw"):
        open_source(tmp_path / "a.v3dpbd")


def test_a_stack_beyond_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stack(tmp_path / "a.v3dpbd", NOISE)
    monkeypatch.setattr(vaa3d_raw.os, "sysconf", lambda name: 10)

    with pytest.raises(VolumeError, match="of memory to decode"):
        open_source(path)


@pytest.mark.parametrize("suffix", [".v3draw", ".v3dpbd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_damaged_files_never_end_in_another_error(tmp_path: Path, suffix: str, dtype: Any) -> None:
    good = stack(tmp_path / f"a{suffix}", smooth(dtype)).read_bytes()
    bad = tmp_path / f"bad{suffix}"
    for seed in range(40):
        rng = np.random.default_rng(seed)
        data = bytearray(good)
        for _ in range(int(rng.integers(1, 4))):
            data[int(rng.integers(0, 60 if seed % 2 else len(data)))] ^= 1 << int(rng.integers(8))
        if seed % 5 == 0:
            data = data[: int(rng.integers(1, len(data)))]
        bad.write_bytes(data)
        try:
            source = open_source(bad)
            found = source.read(Box.of_shape(source.shape))
        except (VolumeError, UsageError):
            continue
        assert found.shape == source.shape
        assert bad.read_bytes() == data
