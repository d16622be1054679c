"""Unpacking once: whatever happens, no file is left and nobody reads half an array."""

import pickle
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from neuroconn.errors import StorageError, VolumeError
from neuroconn.volume.sources.arrays import staging
from neuroconn.volume.sources.arrays.staging import Staged

VOXELS = np.random.default_rng(0).integers(0, 999, (5, 6, 7)).astype(">u2")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def write(data: bytes, step: int, sink: BinaryIO) -> None:
    for at in range(0, len(data), step):
        sink.write(data[at : at + step])


def staged(fill: Callable[[BinaryIO], Any] | None = None) -> Staged:
    fill = fill or partial(write, VOXELS.tobytes(), 11)
    return Staged(VOXELS.shape, VOXELS.dtype, fill, VOXELS.nbytes, "a.gz")


def test_the_array_is_what_was_written_and_cannot_be_changed() -> None:
    array = staged().array()

    assert array.dtype == VOXELS.dtype
    np.testing.assert_array_equal(array, VOXELS)
    assert not array.flags.writeable


def test_nothing_is_unpacked_before_it_is_wanted_and_nothing_twice() -> None:
    calls = []

    def fill(sink: BinaryIO) -> None:
        calls.append(threading.get_ident())
        write(VOXELS.tobytes(), 100, sink)

    box = staged(fill)
    assert not calls
    with ThreadPoolExecutor(4) as pool:
        arrays = list(pool.map(lambda _: box.array(), range(16)))

    assert len(calls) == 1
    assert all(array is arrays[0] for array in arrays)


def test_a_pickle_carries_the_recipe_only() -> None:
    box = staged()
    box.array()

    other = pickle.loads(pickle.dumps(box))

    assert other._array is None
    np.testing.assert_array_equal(other.array(), VOXELS)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (partial(write, VOXELS.tobytes()[:-1], 50), "is cut off"),
        (partial(write, VOXELS.tobytes() + b"x", 50), "more than the 420 bytes"),
        (lambda sink: None, "0 of the 420"),
        (lambda sink: 1 // 0, "cannot be unpacked"),
        (lambda sink: b"".join([1]), "cannot be unpacked"),  # type: ignore[list-item]
    ],
)
def test_damage_is_named_and_remembered(fill: Callable[[BinaryIO], Any], message: str) -> None:
    calls = []

    def counted(sink: BinaryIO) -> None:
        calls.append(1)
        fill(sink)

    box = staged(counted)
    for _ in range(3):
        with pytest.raises(VolumeError, match=rf"a\.gz.*{message}"):
            box.array()
    assert len(calls) == 1


def test_an_error_of_ours_keeps_its_words() -> None:
    def fill(sink: BinaryIO) -> None:
        raise VolumeError("a.gz: header changed")

    with pytest.raises(VolumeError, match=r"^a\.gz: header changed$"):
        staged(fill).array()


@pytest.mark.parametrize("nbytes", [419, 421, 0])
def test_a_size_that_is_not_the_arrays_is_refused(nbytes: int) -> None:
    with pytest.raises(VolumeError, match=r"a\.gz announces"):
        Staged(VOXELS.shape, VOXELS.dtype, lambda sink: None, nbytes, "a.gz")
    with pytest.raises(VolumeError, match="announces 0"):
        Staged((0, 3), "u1", lambda sink: None, 0)


def test_a_disk_without_room_is_named_before_anything_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staging, "SPARE", 1 << 62)

    with pytest.raises(StorageError, match="TMPDIR"):
        staged()


def test_a_disk_that_fills_up_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    sink = staging._Bounded(Full(), 10, "a.gz")  # type: ignore[arg-type]
    box = staged(lambda _: sink.write(b"123"))

    for _ in range(2):
        with pytest.raises(StorageError, match="No space left"):
            box.array()


def test_a_temporary_folder_that_is_gone_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)

    with pytest.raises(StorageError, match="Read-only"):
        staged().array()
