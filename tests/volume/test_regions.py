from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import StorageError, VolumeError
from neuroconn.geometry import Box, ChunkGrid, Frame, Level
from neuroconn.volume import Image, create_image, read_region, write_region
from neuroconn.volume.regions import padded_indices, stored_object

SHAPE = (11, 20, 17)
WHOLE = Box.of_shape(SHAPE)


def filled(path: Path, *, fill_value: int = 0) -> tuple[Image, NDArray[np.uint16]]:
    image = create_image(
        path, levels=[Level(SHAPE, (1, 1, 1), (1, 1, 1))], dtype="uint16",
        frame=Frame((1.0, 1.0, 1.0)), chunk=4, shard=8, kind="brain", fill_value=fill_value,
    )  # fmt: skip
    voxels = np.random.default_rng(0).integers(1, 9999, SHAPE).astype(np.uint16)
    write_region(image.array(0), WHOLE, voxels)
    return image, voxels


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, NDArray[np.uint16]]:
    return filled(tmp_path_factory.mktemp("regions") / "a.ome.zarr")


ends = st.tuples(*[st.integers(-30, 45)] * 3)


@settings(max_examples=40, deadline=None)
@given(start=ends, sides=st.tuples(*[st.integers(1, 30)] * 3), pad=st.sampled_from(
    ["reflect", "symmetric", "edge", "constant"]))  # fmt: skip
def test_a_tile_is_a_crop_of_the_padded_whole(
    brain: tuple[Image, NDArray[np.uint16]],
    start: tuple[int, int, int],
    sides: tuple[int, int, int],
    pad: Any,
) -> None:
    image, voxels = brain
    tile = Box(start, (start[0] + sides[0], start[1] + sides[1], start[2] + sides[2]))
    margin = 80
    padded = np.pad(voxels, margin, mode=pad)

    read = read_region(image.array(0), tile, pad=pad)

    np.testing.assert_array_equal(read, padded[tile.shift((margin,) * 3).slices])
    assert read.flags.c_contiguous


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("pad", ["reflect", "symmetric", "edge"])
def test_index_padding_is_numpy_padding(size: int, pad: Any) -> None:
    expected = np.pad(np.arange(size), 13, mode=pad)

    np.testing.assert_array_equal(padded_indices(-13, size + 13, size, pad), expected)


def test_a_fill_value_stands_outside_the_volume(brain: tuple[Image, NDArray[np.uint16]]) -> None:
    image, voxels = brain

    read = read_region(image.array(0), WHOLE.grow(2), fill=7)

    np.testing.assert_array_equal(read, np.pad(voxels, 2, constant_values=7))


def test_a_box_outside_needs_a_word_on_what_is_there(
    brain: tuple[Image, NDArray[np.uint16]],
) -> None:
    with pytest.raises(ValueError, match="leaves the volume"):
        read_region(brain[0].array(0), WHOLE.grow(1))
    with pytest.raises(ValueError, match="pad must be"):
        read_region(brain[0].array(0), WHOLE.grow(1), pad="wrap")  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(a=st.tuples(*[st.integers(0, 20)] * 3), b=st.tuples(*[st.integers(0, 20)] * 3))
def test_only_unions_of_whole_shards_are_written(
    brain: tuple[Image, NDArray[np.uint16]], a: tuple[int, int, int], b: tuple[int, int, int]
) -> None:
    image, voxels = brain
    box = Box(a, b)
    grid = ChunkGrid(SHAPE, (8, 8, 8))
    owned = [grid.core(index) for index in grid.overlapping(box)]
    inside = WHOLE.contains(box) and box.size > 0
    aligned = inside and sum(core.size for core in owned) == box.size
    data = np.zeros(box.shape, np.uint16) if not inside else voxels[box.slices].copy()

    if aligned:
        write_region(image.array(0), box, data)
    else:
        with pytest.raises(ValueError, match="whole stored objects"):
            write_region(image.array(0), box, data)

    np.testing.assert_array_equal(read_region(image.array(0), WHOLE), voxels)


def test_data_that_does_not_fit_is_not_cast(brain: tuple[Image, NDArray[np.uint16]]) -> None:
    array, box = brain[0].array(0), Box((0, 0, 0), (8, 8, 8))

    for wrong in (np.zeros((8, 8, 8), np.int32), np.zeros((8, 8, 1), np.uint16)):
        with pytest.raises(ValueError, match="does not fit"):
            write_region(array, box, wrong)


def test_threads_that_own_whole_shards_lose_nothing(tmp_path: Path) -> None:
    image, voxels = filled(tmp_path / "a.ome.zarr")
    array, grid = image.array(0), image.grid(0)
    changed = voxels[::-1].copy()

    with ThreadPoolExecutor(4) as pool:
        for index in grid:
            core = grid.core(index)
            pool.submit(write_region, array, core, changed[core.slices])

    np.testing.assert_array_equal(read_region(array, WHOLE), changed)


def test_shards_of_fill_value_take_no_space(tmp_path: Path) -> None:
    image, _ = filled(tmp_path / "a.ome.zarr", fill_value=255)
    box = image.grid(0).core((0, 1, 0))
    path = stored_object(image.array(0), (0, 1, 0))
    assert path is not None
    assert path.is_file()

    write_region(image.array(0), box, np.full(box.shape, 255, np.uint16))

    assert not path.exists()
    assert (read_region(image.array(0), box) == 255).all()


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 3] ^= 4
    changed = {"emptied": b"", "flipped": bytes(data), "cut": bytes(data[: len(data) // 2]),
               "zeroed": bytes(len(data))}  # fmt: skip
    path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["emptied", "flipped", "cut", "zeroed"])
def test_a_damaged_shard_is_an_error_and_never_fill_value(tmp_path: Path, how: str) -> None:
    image, voxels = filled(tmp_path / "a.ome.zarr")
    # A shard of full size: an empty one that is cut by the border never reads as fill value.
    path = stored_object(image.array(0), (0, 1, 1))
    assert path is not None
    damage(path, how)

    for box in (WHOLE, image.grid(0).core((0, 1, 1))):
        with pytest.raises(VolumeError, match=str(path)):
            read_region(image.array(0), box)

    sound = image.grid(0).core((0, 0, 0))
    np.testing.assert_array_equal(read_region(image.array(0), sound), voxels[sound.slices])


def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, voxels = filled(tmp_path / "a.ome.zarr")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    array = image.array(0)
    monkeypatch.setattr(type(array), "__setitem__", full)

    with pytest.raises(StorageError, match="disk is full"):
        write_region(array, WHOLE, voxels)
