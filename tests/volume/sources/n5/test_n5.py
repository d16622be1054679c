"""Containers written by TensorStore, with the attributes that the tools around N5 add."""

import hashlib
import json
import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.damage import salvage

SHAPE = (9, 14, 19)
BLOCK = (4, 5, 8)  # z y x
CODECS: dict[str, dict[str, Any]] = {
    "raw": {},
    "gzip": {"level": 1},
    "bzip2": {"blockSize": 3},
    "xz": {"preset": 1},
    "blosc": {"cname": "zstd", "clevel": 3, "shuffle": 2},
    "zstd": {"level": 5},
}


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    return np.random.default_rng(10).integers(1, 3000, SHAPE).astype(np.uint16)


def write(
    root: Path,
    name: str,
    data: NDArray[Any],
    *,
    codec: str = "gzip",
    attributes: dict[str, Any] | None = None,
    block: tuple[int, ...] | None = None,
) -> None:
    """Write one array; ``data`` is in C order, N5's order is the reverse."""
    root.mkdir(exist_ok=True, parents=True)
    if not (root / "attributes.json").exists():
        (root / "attributes.json").write_text('{"n5": "2.5.1"}')
    folder = root / name
    metadata = {
        "dimensions": list(data.T.shape),
        "blockSize": list((block or BLOCK)[::-1]),
        "dataType": data.dtype.name,
        "compression": {"type": codec, **CODECS[codec]},
    }
    spec = {
        "driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/"}, "metadata": metadata,
    }  # fmt: skip
    store = tensorstore.open(spec, create=True, context=tensorstore.Context()).result()
    store.T[...] = data
    edit(folder, **(attributes or {}))


def edit(folder: Path, **attributes: Any) -> None:
    """Change attributes; None removes one."""
    path = folder / "attributes.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    merged = {k: v for k, v in {**known, **attributes}.items() if v is not None}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(merged))


@pytest.fixture
def root(tmp_path: Path, voxels: NDArray[np.uint16]) -> Path:
    write(tmp_path / "brain.n5", "raw", voxels)
    return tmp_path / "brain.n5"


def whole(path: Path, **choice: Any) -> NDArray[Any]:
    source = open_source(path, **choice)
    return source.read(Box.of_shape(source.shape))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
def test_voxels_come_back(
    tmp_path: Path, voxels: NDArray[np.uint16], codec: str, dtype: str
) -> None:
    data = voxels.astype(dtype)
    write(tmp_path / "brain.n5", "raw", data, codec=codec)
    source = open_source(tmp_path / "brain.n5")

    read = source.read(Box.of_shape(source.shape))

    assert (source.format, source.shape, source.unit) == ("N5", SHAPE, BLOCK)
    assert read.dtype == source.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, data)


def test_any_window_is_a_crop_of_the_whole(root: Path, voxels: NDArray[np.uint16]) -> None:
    source = open_source(root)

    @settings(max_examples=40)
    @given(st.tuples(*(st.tuples(st.integers(0, n), st.integers(0, n)) for n in SHAPE)))
    def law(ends: tuple[tuple[int, int], ...]) -> None:
        start, stop = (tuple(f(a) for a in ends) for f in (min, max))
        box = Box(start, stop)  # type: ignore[arg-type]
        np.testing.assert_array_equal(source.read(box), voxels[box.slices])

    law()
    with pytest.raises(ValueError, match="leaves the volume"):
        source.read(Box((0, 0, 0), (1, 1, 20)))


def test_a_block_is_stored_as_the_specification_says(
    tmp_path: Path, voxels: NDArray[np.uint16]
) -> None:
    """Written by hand: big endian, x fastest, and the size of the block in front."""
    root = tmp_path / "brain.n5"
    (root / "0/0").mkdir(parents=True)
    data = voxels[:2, :3, :4]
    edit(root, n5="2.0.0", dimensions=[4, 3, 2], blockSize=[8, 8, 8], dataType="uint16",
         compressionType="raw")  # fmt: skip
    header = struct.pack(">HHIII", 0, 3, 4, 3, 2)
    (root / "0/0/0").write_bytes(header + data.astype(">u2").tobytes())
    np.testing.assert_array_equal(whole(root), data)


NM = ["nm"] * 3


@pytest.mark.parametrize(
    ("attributes", "spacing", "origin", "note"),
    [
        ({}, None, None, None),
        ({"resolution": [4, 5, 40], "units": NM}, (0.04, 0.005, 0.004), None, None),
        ({"resolution": [0.4, 0.5, 2], "units": ["um", "um", "um"]}, (2, 0.5, 0.4), None, None),
        ({"resolution": [1, 2, 3], "units": ["um", "mm", "nm"]}, (0.003, 2000, 1), None, None),
        ({"resolution": [1, 2, 3], "unit": "micrometer"}, (3, 2, 1), None, None),
        ({"resolution": [4, 4, 40]}, None, None, "without a unit"),
        ({"resolution": [0, 4, 40], "units": NM}, None, None, "no length"),
        ({"resolution": [1e400, 4, 40], "units": NM}, None, None, "no length"),
        ({"resolution": "coarse", "units": NM}, None, None, "no length"),
        ({"resolution": [1, 1], "units": ["um"]}, None, None, "no length"),
        (
            {"pixelResolution": {"unit": "um", "dimensions": [0.1, 0.2, 0.3]}},
            (0.3, 0.2, 0.1), None, None,
        ),
        (
            {"pixelResolution": {"unit": "um", "dimensions": [0.1, 0.2, 0.3]},
             "downsamplingFactors": [4, 2, 1]},
            (0.3, 0.4, 0.4), (0, 0.1, 0.15), None,
        ),
        ({"pixelResolution": [0.1, 0.2, 0.3]}, None, None, "without a unit"),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [3.24, 4, 4],
                           "translate": [100, 0, 8], "units": NM}},
            (0.00324, 0.004, 0.004), (0.1, 0, 0.008), None,
        ),
        (
            {"transform": {"ordering": "F", "scale": [1, 2, 3], "translate": [0, 5, 0],
                           "units": ["um"] * 3}},
            (3, 2, 1), (0, 5, 0), None,
        ),
        ({"transform": {"scale": [1, 2], "units": NM}}, None, None, "not understood"),
        ({"transform": {"scale": [1, 2, 0], "units": NM}}, None, None, "no length"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["array", "group", "root"])
def test_spacing_is_what_the_attributes_say_or_unknown(
    tmp_path: Path,
    voxels: NDArray[np.uint16],
    attributes: dict[str, Any],
    spacing: tuple[float, float, float] | None,
    origin: tuple[float, float, float] | None,
    note: str | None,
    place: str,
) -> None:
    root = tmp_path / "brain.n5"
    write(root, "group/raw", voxels)
    edit({"array": root / "group/raw", "group": root / "group", "root": root}[place], **attributes)

    source = open_source(root)

    assert source.spacing_um == (None if spacing is None else pytest.approx(spacing))
    assert source.origin_um == pytest.approx(origin or (0, 0, 0))
    assert len(source.notes) == (note is not None)
    assert note is None or note in source.notes[0]
    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), voxels)


def test_the_attributes_nearest_to_the_array_are_believed(root: Path) -> None:
    edit(root, resolution=[9, 9, 9], units=["um"] * 3)
    edit(root / "raw", resolution=[1, 2, 3], units=["um"] * 3)
    assert open_source(root).spacing_um == (3, 2, 1)


def test_s0_stands_for_a_pyramid_and_lower_levels_are_larger(
    tmp_path: Path, voxels: NDArray[np.uint16]
) -> None:
    root = tmp_path / "brain.n5"
    write(root, "s0", voxels)
    write(root, "s1", voxels[:, ::2, ::2])
    edit(root, pixelResolution={"unit": "um", "dimensions": [0.5, 0.5, 2]},
         scales=[[1, 1, 1], [2, 2, 1]])  # fmt: skip

    np.testing.assert_array_equal(whole(root), voxels)
    assert open_source(root).spacing_um == (2, 0.5, 0.5)
    lower = open_source(root, dataset="s1")
    np.testing.assert_array_equal(whole(root, dataset="s1"), voxels[:, ::2, ::2])
    assert lower.spacing_um == (2, 1, 1)
    assert lower.origin_um == (0, 0.25, 0.25)


@pytest.mark.parametrize("name", ["setup{}/timepoint0/s{}", "setup0{}/timepoint00000/s{}",
                                  "c{}/s{}", "data/c{}/s{}"])  # fmt: skip
def test_setups_and_channels_want_one_chosen(
    tmp_path: Path, voxels: NDArray[np.uint16], name: str
) -> None:
    root = tmp_path / "brain.n5"
    for channel in range(3):
        for level in range(2):
            write(root, name.format(channel, level), (voxels >> channel)[:, :: 1 + level])

    with pytest.raises(VolumeError, match="3 channels"):
        open_source(root)
    with pytest.raises(UsageError, match="channel 3 does not exist"):
        open_source(root, channel=3)
    for channel in range(3):
        assert open_source(root, channel=channel).channels == 3
        np.testing.assert_array_equal(whole(root, channel=channel), voxels >> channel)


def test_several_time_points_are_refused_unless_an_array_is_named(
    tmp_path: Path, voxels: NDArray[np.uint16]
) -> None:
    root = tmp_path / "brain.n5"
    for time in range(2):
        write(root, f"setup0/timepoint{time}/s0", voxels + time)
    with pytest.raises(VolumeError, match="2 time points"):
        open_source(root)
    np.testing.assert_array_equal(whole(root, dataset="setup0/timepoint1/s0"), voxels + 1)


def test_several_arrays_are_listed(tmp_path: Path, voxels: NDArray[np.uint16]) -> None:
    root = tmp_path / "brain.n5"
    write(root, "raw", voxels)
    write(root, "deep/er/labels", voxels // 2)
    with pytest.raises(VolumeError, match=r"2 volumes.*deep/er/labels, raw"):
        open_source(root)
    np.testing.assert_array_equal(whole(root, dataset="/deep/er/labels/"), voxels // 2)
    np.testing.assert_array_equal(whole(root / "raw"), voxels)
    with pytest.raises(UsageError, match="no array nothing; it has deep/er/labels, raw"):
        open_source(root, dataset="nothing")


@pytest.mark.parametrize("name", ["../other.n5/raw", "raw/../../other.n5/raw", "a\0b"])
def test_a_name_that_leaves_the_container_is_refused(
    root: Path, voxels: NDArray[np.uint16], name: str
) -> None:
    write(root.parent / "other.n5", "raw", voxels)
    with pytest.raises(UsageError, match="no path of an array inside"):
        open_source(root, dataset=name)


def test_a_symbolic_link_out_of_the_container_is_refused(
    root: Path, voxels: NDArray[np.uint16]
) -> None:
    write(root.parent / "other.n5", "raw", voxels)
    (root / "linked").symlink_to(root.parent / "other.n5/raw")
    with pytest.raises(VolumeError, match="leads out of"):
        open_source(root, dataset="linked")
    np.testing.assert_array_equal(whole(root), voxels)  # and it is no candidate

    block = root / "raw/1/0/0"
    block.rename(root.parent / "block")
    block.symlink_to(root.parent / "block")
    with pytest.raises(VolumeError, match="no block of its own"):
        open_source(root)


@pytest.mark.parametrize("axes", ["xyz", "zyx", "yxz", "xyzc", "cxyz", "xyczt"])
def test_named_axes_are_put_in_order(tmp_path: Path, voxels: NDArray[np.uint16], axes: str) -> None:
    both = np.stack([voxels[None], voxels[None] // 2])  # c, t, z, y, x
    kept = both[tuple(slice(None) if a in axes else 0 for a in "ctzyx")]
    names = [a for a in "ctzyx" if a in axes]
    stored = kept.transpose([names.index(a) for a in axes[::-1]])
    root = tmp_path / "brain.n5"
    blocks = tuple(min(4, n) for n in stored.shape)
    write(root, "raw", stored, block=blocks, attributes={"axes": list(axes)})

    if "c" in axes:
        with pytest.raises(VolumeError, match="2 channels"):
            open_source(root)
        np.testing.assert_array_equal(whole(root, channel=1), voxels // 2)
        assert open_source(root, channel=0).channels == 2
    else:
        np.testing.assert_array_equal(whole(root), voxels)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dimensions": [19, 14]}, "dimensions"),
        ({"dimensions": [19, 14, 0]}, "dimensions"),
        ({"dimensions": [19, 14, -9]}, "dimensions"),
        ({"dimensions": [19, 14, True]}, "dimensions"),
        ({"dimensions": "19 14 9"}, "dimensions"),
        ({"dimensions": [10**3] * 3}, "holds 27 of 6250000"),
        ({"dimensions": [10**5] * 3}, "more blocks than"),
        ({"dimensions": [10**12] * 3}, "more than any disk"),
        ({"blockSize": [8, 5]}, "blocks"),
        ({"blockSize": [8.5, 5, 4]}, "blockSize"),
        ({"blockSize": [2**20] * 3}, "4 GiB"),
        ({"blockSize": None}, "blockSize"),
        ({"dataType": "complex64"}, "complex64"),
        ({"dataType": "string"}, "integers or real numbers"),
        ({"dataType": None}, "integers or real numbers"),
        ({"compression": {"type": "lz4"}}, "compressed with 'lz4'"),
        ({"compression": 7}, "compressed with 7"),
        ({"compression": None}, "compressed with None"),
        ({"axes": ["t", "x", "y"]}, None),
    ],
)
def test_impossible_attributes_are_refused_at_once(
    root: Path, voxels: NDArray[np.uint16], change: dict[str, Any], reason: str | None
) -> None:
    edit(root / "raw", **change)
    if reason is None:  # names that are no volume are passed over
        np.testing.assert_array_equal(whole(root), voxels)
        return
    with pytest.raises(VolumeError, match=reason):
        open_source(root)


def test_four_axes_without_names_are_not_guessed(tmp_path: Path) -> None:
    write(tmp_path / "brain.n5", "raw", np.ones((2, 3, 4, 5), "u2"), block=(2, 3, 4, 5))
    with pytest.raises(VolumeError, match="no axis is guessed"):
        open_source(tmp_path / "brain.n5")


def test_a_time_axis_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "brain.n5", "raw", np.ones((2, 3, 4, 5), "u2"), block=(2, 3, 4, 5),
          attributes={"axes": ["x", "y", "z", "t"]})  # fmt: skip
    with pytest.raises(VolumeError, match="time series of 2 frames"):
        open_source(tmp_path / "brain.n5")


def test_an_empty_container_is_refused(tmp_path: Path) -> None:
    edit(tmp_path / "brain.n5", n5="2.0.0")
    with pytest.raises(VolumeError, match="holds no array"):
        open_source(tmp_path / "brain.n5")
    edit(tmp_path / "brain.n5/raw", dimensions=[9, 9, 9], blockSize=[9, 9, 9], dataType="uint8",
         compression={"type": "raw"})  # fmt: skip
    with pytest.raises(VolumeError, match="0 of 1 blocks"):
        open_source(tmp_path / "brain.n5")


def test_absent_blocks_are_zeros_and_noted(root: Path, voxels: NDArray[np.uint16]) -> None:
    (root / "raw/1/0/2").unlink()
    source = open_source(root)
    expected = voxels.copy()
    expected[8:, :5, 8:16] = 0

    assert source.notes == ("1 of 27 blocks are absent and read as 0",)
    np.testing.assert_array_equal(source.read(Box.of_shape(SHAPE)), expected)


def test_a_block_that_went_after_opening_is_an_error(root: Path) -> None:
    source = open_source(root)
    (root / "raw/1/0/2").unlink()
    with pytest.raises(VolumeError, match=r"raw/1/0/2 has gone"):
        source.read(Box.of_shape(SHAPE))


@pytest.mark.parametrize("codec", CODECS)
def test_damage_in_one_block_is_named_and_leaves_the_others(
    tmp_path: Path, voxels: NDArray[np.uint16], codec: str
) -> None:
    root = tmp_path / "brain.n5"
    write(root, "raw", voxels, codec=codec)
    block = root / "raw/1/0/1"
    content = block.read_bytes()
    block.write_bytes(content[:-5])
    source = open_source(root)

    with pytest.raises(VolumeError, match=r"brain.n5, array raw, Box"):
        source.read(Box.of_shape(SHAPE))
    read, bad = salvage(source, Box.of_shape(SHAPE))

    assert [(b.start, b.stop) for b in bad] == [((4, 0, 8), (8, 5, 16))]
    expected = voxels.copy()
    expected[4:8, :5, 8:16] = 0
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("kept", [0, 3, 15])
def test_a_block_too_short_to_be_one_is_refused_at_once(root: Path, kept: int) -> None:
    block = root / "raw/1/0/1"
    block.write_bytes(block.read_bytes()[:kept])
    with pytest.raises(VolumeError, match=f"raw/1/0/1 has {kept} bytes"):
        open_source(root)


def test_a_folder_in_place_of_a_block_is_refused(root: Path) -> None:
    (root / "raw/1/0/1").unlink()
    (root / "raw/1/0/1").mkdir()
    with pytest.raises(VolumeError, match="no block of its own"):
        open_source(root)


def test_threads_and_processes_read_what_one_does(root: Path, voxels: NDArray[np.uint16]) -> None:
    source = open_source(root)
    boxes = list(Box.of_shape(SHAPE).split((2, 9, 11))) * 4
    source.read(boxes[0])
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(4) as pool:
        for box, part in zip(boxes, pool.map(copy.read, boxes), strict=True):
            np.testing.assert_array_equal(part, voxels[box.slices])
    assert copy.identity == source.identity


def test_the_identity_notices_other_voxels(root: Path, voxels: NDArray[np.uint16]) -> None:
    before = open_source(root).identity
    assert (before.name, before.files) == ("brain.n5", 27)
    assert open_source(root).identity == before
    (root / "raw/2/2/2").unlink()
    assert open_source(root).identity != before
    write(root.parent / "other/brain.n5", "raw", voxels + 1)
    assert open_source(root.parent / "other/brain.n5").identity != before
    write(root.parent / "copy/brain.n5", "raw", voxels)
    assert open_source(root.parent / "copy/brain.n5").identity == before


def test_tensorstore_is_asked_for_by_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(VolumeError, match=r"TensorStore.*pip install 'neuroconn\[formats\]'"):
        open_source(root)


def _rescue(root: Path) -> NDArray[Any] | None:
    files = sorted(p for p in root.rglob("*") if p.is_file())

    def state() -> list[str]:
        return [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]

    before = state()
    try:
        source = open_source(root)
        stop = tuple(min(n, 64) for n in source.shape)
        return source.read(Box((0, 0, 0), stop))  # type: ignore[arg-type]
    except (VolumeError, UsageError) as error:
        message = str(error)
    finally:
        assert state() == before
    assert "\n" not in message
    return None


@pytest.mark.parametrize("codec", ["raw", "gzip", "xz", "bzip2"])
def test_a_damaged_block_is_refused_or_read_right(
    tmp_path: Path, voxels: NDArray[np.uint16], codec: str
) -> None:
    root = tmp_path / "brain.n5"
    write(root, "raw", voxels, codec=codec)
    block = root / "raw/0/1/1"
    content = block.read_bytes()
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        # Raw voxels have no checksum: only their header can be seen to be wrong.
        damaged[rng.integers(16 if codec == "raw" or seed % 2 else len(content))] ^= 1 << (seed % 8)
        block.write_bytes(damaged)
        read = _rescue(root)
        refused += read is None
        assert read is None or np.array_equal(read, voxels), (seed, codec)
    assert refused > 40


@pytest.mark.parametrize("which", ["attributes.json", "raw/attributes.json"])
def test_damaged_attributes_are_refused_or_read_and_never_crash(root: Path, which: str) -> None:
    edit(root / "raw", resolution=[1, 2, 3], units=["um"] * 3)
    content = (root / which).read_bytes()
    refused = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        if seed % 4 == 0:
            damaged = damaged[: int(rng.integers(len(content)))]
        for at in rng.integers(0, max(1, len(damaged)), seed % 4 if damaged else 0):
            damaged[at] = int(rng.integers(256)) if seed % 2 else int(rng.integers(48, 58))
        (root / which).write_bytes(damaged)
        refused += _rescue(root) is None
    assert refused > 20
