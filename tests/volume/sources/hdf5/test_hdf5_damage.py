"""What damaged, cut and changed HDF5 files do, and what threads and processes see."""

import gc
import hashlib
import pickle
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.volume.sources import open_source
from neuroconn.volume.sources.damage import salvage
from neuroconn.volume.sources.hdf5 import attributes as hdf5_attributes

SHAPE = (11, 18, 21)
STORED: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "plain chunks": {"chunks": (4, 8, 8)},
    "gzip": {"chunks": (4, 8, 8), "compression": "gzip"},
    "shuffled": {"chunks": (4, 8, 8), "shuffle": True},
    "shuffled gzip": {"chunks": (4, 8, 8), "compression": "gzip", "shuffle": True},
    "checked gzip": {"chunks": (4, 8, 8), "compression": "gzip", "fletcher32": True},
    "lzf": {"chunks": (4, 8, 8), "compression": "lzf"},
}


@pytest.fixture(scope="module")
def voxels() -> NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 4000, SHAPE).astype(np.uint16)


@pytest.fixture
def save(tmp_path: Path, voxels: NDArray[np.uint16]) -> Callable[..., Path]:
    """Write one dataset ``volume/raw`` with attributes."""

    def write(data: Any = None, attrs: dict[str, Any] | None = None, **how: Any) -> Path:
        path = tmp_path / "brain.h5"
        gc.collect()  # what an error still holds keeps the file of before open
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset(
                "volume/raw", data=voxels if data is None else data, **how
            )
            dataset.attrs.update(attrs or {})
        return path

    return write


def test_damage_in_one_chunk_is_named_and_leaves_the_others(
    tmp_path: Path, voxels: NDArray[np.uint16]
) -> None:
    path = tmp_path / "brain.h5"
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("raw", data=voxels, chunks=(4, 8, 8), compression="gzip")
        place = raw.id.get_chunk_info_by_coord((4, 8, 0))
    content = bytearray(path.read_bytes())
    content[place.byte_offset + place.size // 2] ^= 0x10
    path.write_bytes(content)
    source = open_source(path)

    with pytest.raises(VolumeError, match=r"brain.h5, dataset raw \[0:11, 0:18, 0:21\]"):
        source.read(Box.of_shape(SHAPE))
    read, bad = salvage(source, Box.of_shape(SHAPE))

    assert [(b.start, b.stop) for b in bad] == [((4, 8, 0), (8, 16, 8))]
    expected = voxels.copy()
    expected[4:8, 8:16, 0:8] = 0
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("how", STORED.values(), ids=STORED)
def test_threads_and_processes_read_what_one_does(
    save: Callable[..., Path], voxels: NDArray[np.uint16], how: dict[str, Any]
) -> None:
    source = open_source(save(**how))
    boxes = list(Box.of_shape(SHAPE).split((3, 7, 8))) * 3

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(source.read, boxes))
    copy = pickle.loads(pickle.dumps(source))

    for box, part in zip(boxes, parts, strict=True):
        np.testing.assert_array_equal(part, voxels[box.slices])
    np.testing.assert_array_equal(copy.read(Box.of_shape(SHAPE)), voxels)
    assert copy.identity == source.identity


def test_the_identity_notices_other_voxels_and_not_another_place(
    save: Callable[..., Path], voxels: NDArray[np.uint16], tmp_path: Path
) -> None:
    path = save(chunks=(4, 8, 8))
    before = open_source(path).identity
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / path.name)
    assert open_source(moved).identity == before

    assert open_source(save(voxels + 1, chunks=(4, 8, 8))).identity != before


def test_a_file_that_changed_since_it_was_opened_is_refused(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    source = open_source(save())
    save(voxels[:5])
    with pytest.raises(VolumeError, match="changed since"):
        source.read(Box((0, 0, 0), (1, 1, 1)))


def _rescue(path: Path, **choice: Any) -> NDArray[Any] | None:
    """Open and read a damaged file: voxels, or None where it is refused in one line."""
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            source = open_source(path, **choice)
            stop = tuple(min(n, 64) for n in source.shape)
            return source.read(Box((0, 0, 0), stop))  # type: ignore[arg-type]
    except (VolumeError, UsageError) as error:
        message = str(error)
    finally:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert "\n" not in message
    assert 20 < len(message) < 900
    return None


@pytest.mark.parametrize("how", ["contiguous", "checked gzip", "shuffled gzip"])
def test_a_file_cut_anywhere_is_refused(
    save: Callable[..., Path], voxels: NDArray[np.uint16], how: str
) -> None:
    path = save(**STORED[how])
    content = path.read_bytes()
    for keep in [*range(0, 64, 5), *np.linspace(64, len(content) - 1, 25).astype(int)]:
        path.write_bytes(content[: int(keep)])
        assert _rescue(path) is None, keep


@pytest.mark.parametrize("how", ["contiguous", "checked gzip", "lzf"])
def test_a_damaged_file_is_refused_or_read_and_never_crashes(
    save: Callable[..., Path], voxels: NDArray[np.uint16], how: str
) -> None:
    path = save(**STORED[how], attrs={"element_size_um": [2.0, 1.0, 1.0]})
    content = path.read_bytes()
    with h5py.File(path) as file:
        dataset = file["volume/raw"].id
        data = dataset.get_offset() or min(
            dataset.get_chunk_info(k).byte_offset for k in range(dataset.get_num_chunks())
        )
    refused = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for at in rng.integers(0, min(data, 6000) if seed % 3 else len(content), 1 + seed % 20):
            damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        refused += _rescue(path) is None
    assert refused > 10


def test_a_checksum_or_a_size_tells_wrong_voxels(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    for how, seed in product(("gzip", "shuffled gzip", "checked gzip"), range(12)):
        path = save(**STORED[how])
        with h5py.File(path) as file:
            dataset = file["volume/raw"].id
            info = dataset.get_chunk_info(seed % dataset.get_num_chunks())
        damaged = bytearray(path.read_bytes())
        at = info.byte_offset + int(np.random.default_rng(seed).integers(info.size))
        damaged[at] ^= 1 << (seed % 8)
        path.write_bytes(damaged)
        read = _rescue(path)
        # A flipped bit of the compression level, in the second byte, changes no voxel.
        assert read is None or np.array_equal(read, voxels)


def test_a_chunk_without_its_checksum_is_damage(
    save: Callable[..., Path], voxels: NDArray[np.uint16]
) -> None:
    path = save(**STORED["gzip"])
    with h5py.File(path, "a") as file:
        chunk = zlib.compress(voxels[:4, :8, :8].tobytes())
        file["volume/raw"].id.write_direct_chunk((0, 0, 0), chunk[:-2])
    with pytest.raises(VolumeError, match="dataset volume/raw"):
        open_source(path).read(Box((0, 0, 0), (1, 1, 1)))


@pytest.fixture
def texts(tmp_path: Path, voxels: NDArray[np.uint16]) -> Path:
    """A file whose attributes are texts of variable length, which lie in a heap."""
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        attrs = file.create_dataset("raw", data=voxels).attrs
        attrs.update({"resolution": [2.0, 1.0, 1.0], "units": ["um"] * 3, "axes": "zyx"})
    return path


def test_texts_of_variable_length_are_read(texts: Path) -> None:
    assert open_source(texts).spacing_um == (2.0, 1.0, 1.0)


def test_a_heap_on_which_the_library_never_ends_is_damage(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_attributes, "PATIENCE", 4.0)
    content = bytearray(texts.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 32 : heap + 192] = bytes(160)  # what a lost sector looks like
    texts.write_bytes(content)
    with pytest.raises(VolumeError, match="attributes of /raw are damaged"):
        open_source(texts)


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ("import os; os.abort()", "HDF5 crashes on them"),
        ("raise KeyError('lost')", "KeyError: 'lost'"),
        ("print('{')", "damaged or unreadable"),
    ],
)
def test_whatever_happens_to_the_process_that_reads_texts_is_one_line(
    texts: Path, monkeypatch: pytest.MonkeyPatch, child: str, reason: str
) -> None:
    monkeypatch.setattr(hdf5_attributes, "_CHILD", child)
    with pytest.raises(VolumeError, match=reason):
        open_source(texts)
