"""Arrays that NumPy saved, in place or unpacked, whole or damaged."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import StorageError, UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources import Source, open_source
from neuroconn.volume.sources.arrays import staging

SHAPE = (7, 9, 11)
WHOLE = Box.of_shape(SHAPE)
VOXELS = np.random.default_rng(0).integers(0, 60000, SHAPE).astype(np.uint16)
KINDS = ["npy", "stored", "deflated"]


def save(folder: Path, array: NDArray[Any], kind: str = "npy", **others: Any) -> Path:
    if kind == "npy":
        np.save(folder / "a.npy", array)
        return folder / "a.npy"
    (np.savez if kind == "stored" else np.savez_compressed)(folder / "a.npz", vol=array, **others)
    return folder / "a.npz"


def raw_npy(header: bytes, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i2", ">i4", "<u8", ">f4", "<f8", "<f2"])
def test_what_numpy_saved_is_read_in_native_order(
    tmp_path: Path, kind: str, order: Any, dtype: str
) -> None:
    voxels = (VOXELS % 100).astype(dtype, order=order)

    source = open_source(save(tmp_path, voxels, kind))
    found = source.read(WHOLE)

    assert (source.shape, source.dtype) == (SHAPE, np.dtype(dtype).newbyteorder("="))
    assert source.spacing_um is None
    assert (found.dtype, found.dtype.isnative, type(found)) == (source.dtype, True, np.ndarray)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, voxels)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), order=st.sampled_from("CF"))
def test_a_window_is_a_crop_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str, order: Any
) -> None:
    source = open_source(save(tmp_path_factory.mktemp("w"), VOXELS.copy(order), kind))
    a = [data.draw(st.integers(0, n - 1)) for n in SHAPE]
    b = [data.draw(st.integers(k + 1, n)) for k, n in zip(a, SHAPE, strict=True)]
    box = Box((a[0], a[1], a[2]), (b[0], b[1], b[2]))

    np.testing.assert_array_equal(source.read(box), VOXELS[box.slices])


def test_the_unit_lies_along_the_fastest_axis(tmp_path: Path) -> None:
    assert open_source(save(tmp_path, VOXELS)).unit == (1, 1, 11)
    assert open_source(save(tmp_path, np.asfortranarray(VOXELS))).unit == (7, 1, 1)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_header_version_and_the_longs_of_python_2(tmp_path: Path, version: int) -> None:
    text = b"{'descr': '<u2', 'fortran_order': False, 'shape': (7L, 9L, 11L), }\n"
    (tmp_path / "a.npy").write_bytes(raw_npy(text, VOXELS.tobytes(), version))

    np.testing.assert_array_equal(open_source(tmp_path / "a.npy").read(WHOLE), VOXELS)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_pickles_read_the_same(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, VOXELS, kind)
    before = path.read_bytes()
    source: Source = pickle.loads(pickle.dumps(open_source(path)))
    boxes = list(WHOLE.split((2, 4, 11)))

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(source.read, boxes))

    for box, part in zip(boxes, parts, strict=True):
        np.testing.assert_array_equal(part, VOXELS[box.slices])
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["stored", "deflated"])
def test_the_only_volume_of_an_archive_needs_no_name(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, VOXELS, kind, spacing=np.ones(3), axes=np.array("zyx"))

    assert open_source(path).shape == SHAPE
    assert "vol" in open_source(path, dataset="vol.npy").description
    with pytest.raises(VolumeError, match=r"spacing\.npy has shape \(3,\)"):
        open_source(path, dataset="spacing")
    with pytest.raises(UsageError, match="no array 'other'; it has vol, spacing, axes"):
        open_source(path, dataset="other")


@pytest.mark.parametrize("kind", ["stored", "deflated"])
def test_of_several_volumes_one_is_chosen(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, VOXELS, kind, other=np.zeros((2, 3, 4), np.uint8))

    with pytest.raises(VolumeError, match=r"2 volumes.*--dataset vol or other"):
        open_source(path)
    assert open_source(path, dataset="other").shape == (2, 3, 4)
    np.testing.assert_array_equal(open_source(path, dataset="vol").read(WHOLE), VOXELS)


def test_archives_without_volumes_say_what_they_hold(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", b=np.ones(3), c=np.ones((2, 2)))
    with pytest.raises(VolumeError, match="its arrays are b, c"):
        open_source(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(VolumeError, match="its arrays are none"):
        open_source(tmp_path / "a.npz")


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("kind", ["npy", "deflated"])
def test_pickled_objects_are_refused_and_never_loaded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path, np.full((1, 1, 1), _Bomb(), dtype=object), kind)

    with pytest.raises(VolumeError, match="could run code"):
        open_source(path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((1, 2, 3, 4), np.uint8), r"shape \(1, 2, 3, 4\)"),
        (np.zeros((3, 4), np.uint8), r"shape \(3, 4\)"),
        (np.zeros((), np.uint8), r"shape \(\)"),
        (np.zeros((0, 2, 3), np.uint8), r"shape \(0, 2, 3\)"),
        (np.zeros((2, 2, 2), complex), "complex"),
        (np.zeros((2, 2, 2), bool), "bool"),
        (np.zeros((2, 2, 2), "U3"), "<U3"),
        (np.zeros((2, 2, 2), "M8[s]"), "records"),
        (np.zeros((2, 2, 2), [("r", "u1"), ("g", "u1")]), "records"),
        (np.zeros((2, 2, 2), np.longdouble), "float128"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["npy", "deflated"])
def test_what_is_no_volume_is_refused(
    tmp_path: Path, array: NDArray[Any], message: str, kind: str
) -> None:
    with pytest.raises(VolumeError, match=message):
        open_source(save(tmp_path, array, kind))


def test_a_channel_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="channel 1 does not exist"):
        open_source(save(tmp_path, VOXELS), channel=1)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"{'descr': '<u2'}",
        b"['<u2', False, (2, 2, 2)]",
        b"{'descr': '<u2', 'fortran_order': 0, 'shape': (2, 2, 2)}",
        b"{'descr': '<u2', 'fortran_order': False, 'shape': [2, 2, 2]}",
        b"{'descr': '<u2', 'fortran_order': False, 'shape': (-2, -2, 2)}",
        b"{'descr': '<u2', 'fortran_order': False, 'shape': (True, 2, 4)}",
        b"{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999, 9999999999, 2)}",
        b"{'descr': '<u7', 'fortran_order': False, 'shape': (2, 2, 2)}",
        b"{'descr': 'u1,u1', 'fortran_order': False, 'shape': (2, 2, 2)}",
        b"{'descr': 2, 'fortran_order': False, 'shape': (2, 2, 2)}",
        b"{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2, 2)}" + b" " * 20000,
        b"[" * 9000,
        b" " * 20000,
        b"\xff\x00",
    ],
    ids=lambda h: h[:60].decode("latin1"),
)
def test_impossible_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(raw_npy(header, bytes(16)))

    with pytest.raises(VolumeError, match=r"a\.npy"):
        open_source(path)


@pytest.mark.parametrize("cut", [3, 9, 40, 127, 128, 500, -1])
def test_cut_arrays_are_refused(tmp_path: Path, cut: int) -> None:
    path = save(tmp_path, VOXELS)
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(VolumeError, match=r"a\.npy"):
        open_source(path)


def test_two_arrays_in_one_file_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, VOXELS)
    path.write_bytes(path.read_bytes() * 2)

    with pytest.raises(VolumeError, match="several arrays"):
        open_source(path)


def test_a_file_cut_after_opening_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = save(tmp_path, VOXELS)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(VolumeError, match="cannot be mapped any more"):
        source.read(WHOLE)


@pytest.mark.parametrize("kind", ["stored", "deflated"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_cut_archives_are_refused(tmp_path: Path, kind: str, part: float) -> None:
    path = save(tmp_path, VOXELS, kind)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])

    with pytest.raises(VolumeError, match=r"a\.npz"):
        open_source(path)


def test_the_checksum_of_an_unpacked_array_is_compared(tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 999, (40, 40, 40))
    path = save(tmp_path, large, "deflated")
    data = bytearray(path.read_bytes())
    for at in (data.find(b"PK\x01\x02") + 16, 14):  # the CRC of the directory and of the member
        data[at] ^= 1
    path.write_bytes(data)
    source = open_source(path)

    with pytest.raises(VolumeError, match="CRC"):
        source.read(Box((0, 0, 0), (1, 1, 1)))


def _archive(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = raw_npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999, 9999, 9999)}")
    path = _archive(tmp_path / "a.npz", {"vol.npy": huge})
    with pytest.raises(VolumeError, match="announces 9997000"):
        open_source(path)

    honest = _npy(np.zeros((400, 500, 600), np.uint8))
    path = _archive(tmp_path / "b.npz", {"vol.npy": honest[:20000]})
    data = bytearray(path.read_bytes())  # the directory lies about the size, as a bomb's would
    at = data.find(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", len(honest))
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="however well they compress"):
        open_source(path)

    path = save(tmp_path, np.zeros(SHAPE), "deflated")
    monkeypatch.setattr(staging, "SPARE", 1 << 62)
    with pytest.raises(StorageError, match="TMPDIR"):
        open_source(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("extra", [-1, 1])
def test_a_member_of_another_size_than_its_header_says_is_refused_at_once(
    tmp_path: Path, method: int, extra: int
) -> None:
    data = _npy(VOXELS)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("vol.npy", data[:-1] if extra < 0 else data + b"x")

    with pytest.raises(VolumeError, match=rf"has {len(data) + extra} bytes and its header"):
        open_source(tmp_path / "a.npz")


def test_members_that_nobody_can_read_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("vol.npy", _npy(VOXELS))
    with pytest.raises(VolumeError, match="method 14"):
        open_source(tmp_path / "a.npz")

    path = save(tmp_path, VOXELS, "deflated")
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(VolumeError, match="without a password"):
        open_source(path)

    path = save(tmp_path, VOXELS, "stored", vox=VOXELS)
    path.write_bytes(path.read_bytes().replace(b"vox.npy", b"vol.npy"))
    with pytest.raises(VolumeError, match="more than once"):
        open_source(path)


def _flip(data: bytearray, rng: np.random.Generator, first: int) -> bytearray:
    at = int(rng.integers(0, first if rng.random() < 0.6 else len(data)))
    data[at] ^= 1 << int(rng.integers(0, 8))
    return data


def _cut(data: bytearray, rng: np.random.Generator, first: int) -> bytearray:
    return data[: int(rng.integers(1, len(data)))]


def _scramble(data: bytearray, rng: np.random.Generator, first: int) -> bytearray:
    at = int(rng.integers(0, len(data) - 8))
    data[at : at + 8] = rng.bytes(8)
    return data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [_flip, _cut, _scramble])
def test_damaged_files_never_end_in_another_error(
    tmp_path: Path,
    kind: str,
    damage: Callable[[bytearray, np.random.Generator, int], bytearray],
) -> None:
    good = save(tmp_path, VOXELS, kind).read_bytes()
    bad = tmp_path / f"bad{'.npy' if kind == 'npy' else '.npz'}"
    for seed in range(25):
        data = damage(bytearray(good), np.random.default_rng(seed), 160)
        bad.write_bytes(data)
        try:
            source = open_source(bad)
            found = source.read(Box.of_shape(source.shape))
        except (VolumeError, UsageError):
            continue
        assert found.shape == source.shape
        if kind == "deflated":  # the checksum covers header and voxels
            np.testing.assert_array_equal(found, VOXELS)
        assert bad.read_bytes() == data
