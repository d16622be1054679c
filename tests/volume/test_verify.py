import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from neuroconn.errors import VolumeError
from neuroconn.geometry import Box, Frame, plan_levels
from neuroconn.volume import (
    convert,
    create_image,
    open_image,
    read_region,
    verify_image,
    write_region,
)
from neuroconn.volume.convert_journal import ConvertJournal, journal_path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, stack: Path, small: dict[str, Any]) -> Path:
    brain = tmp_path_factory.mktemp("sound") / "b"
    convert(stack, brain, **small)
    return brain


@pytest.fixture
def brain(tmp_path: Path, sound: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "b"))


def shard_of(brain: Path, level: int) -> Path:
    return max(p for p in (brain / str(level) / "c").rglob("*") if p.is_file())


def test_a_sound_brain_has_no_problems(sound: Path) -> None:
    assert verify_image(sound) == []


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("how", ["emptied", "cut", "flipped", "zeroed", "removed"])
def test_any_damaged_object_is_named(brain: Path, level: int, how: str) -> None:
    path = shard_of(brain, level)
    data = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    else:
        data[len(data) // 4] ^= 1
        path.write_bytes(
            {"emptied": b"", "cut": data[:-9], "flipped": data, "zeroed": bytes(len(data))}[how]
        )

    problems = verify_image(brain)

    assert any(str(path) in problem for problem in problems)
    assert all("\n" not in problem for problem in problems)


def test_a_changed_voxel_breaks_the_pyramid_and_the_histogram(brain: Path) -> None:
    image = open_image(brain)
    array, core = image.array(0), image.grid(0).core((1, 1, 1))
    voxels = read_region(array, core)
    voxels[0, 0, 0] = 60_000
    write_region(array, core, voxels)

    problems = verify_image(brain)

    assert any("level 1: 1 voxels" in problem for problem in problems)
    assert any("histogram" in problem for problem in problems)


def test_the_rest_of_an_interrupted_write_is_named(brain: Path) -> None:
    (brain / "1" / "c" / "0.abc.partial").write_bytes(b"half")

    assert any("interrupted write" in problem for problem in verify_image(brain))


def test_a_distance_map_is_checked_by_its_minimum(tmp_path: Path) -> None:
    levels = plan_levels((16, 16, 16), smallest=8)
    image = create_image(
        tmp_path / "d", levels=levels, dtype="uint8", frame=Frame((1.0, 1.0, 1.0)), chunk=4,
        shard=8, fill_value=255, kind="distance", attributes={"scale_factor": 0.04},
    )  # fmt: skip
    codes = np.full((16, 16, 16), 255, np.uint8)
    codes[:8] = np.random.default_rng(0).integers(0, 250, (8, 16, 16))
    write_region(image.array(0), Box.of_shape(codes.shape), codes)
    low = codes.reshape(8, 2, 8, 2, 8, 2).min(axis=(1, 3, 5))
    write_region(image.array(1), Box.of_shape(low.shape), low)

    assert verify_image(image.path) == []

    write_region(image.array(1), Box.of_shape(low.shape), np.maximum(low, 9))
    assert any("not the min" in problem for problem in verify_image(image.path))


def test_an_image_of_others_is_only_read(tmp_path: Path, sound: Path) -> None:
    shutil.copytree(sound, tmp_path / "b")
    group = zarr.open_group(tmp_path / "b", mode="r+")
    group.attrs.put({"ome": group.attrs["ome"]})

    assert verify_image(tmp_path / "b") == []
    shard_of(tmp_path / "b", 0).write_bytes(b"")
    assert len(verify_image(tmp_path / "b")) == 1


def test_what_is_no_image_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(VolumeError):
        verify_image(tmp_path / "none")


@pytest.mark.parametrize("how", ["emptied", "cut", "flipped", "zeroed", "removed"])
def test_any_damaged_chunk_of_zarr_2_is_found_though_it_has_no_checksum(
    tmp_path: Path, stack: Path, small: dict[str, Any], how: str
) -> None:
    convert(stack, tmp_path / "b", **small, zarr_format=2)
    assert verify_image(tmp_path / "b") == []
    path = max(p for p in (tmp_path / "b" / "0").rglob("*") if p.name.isdigit() and p.is_file())
    data = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    else:
        data[-1] ^= 1
        path.write_bytes(
            {"emptied": b"", "cut": data[:-9], "flipped": data, "zeroed": bytes(len(data))}[how]
        )

    assert any("level 0" in problem for problem in verify_image(tmp_path / "b"))


def test_a_shard_of_another_length_or_out_of_nowhere_is_named(brain: Path) -> None:
    path = shard_of(brain, 1)
    path.write_bytes(path.read_bytes() + b"more")
    stray = brain / "0" / "c" / "0" / "0" / "0"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(shard_of(brain, 0).read_bytes())

    problems = verify_image(brain)

    assert any(str(path) in problem and "the conversion wrote" in problem for problem in problems)
    assert any(str(stray) in problem and "wrote no file" in problem for problem in problems)


def test_links_in_a_brain_are_named(brain: Path) -> None:
    path = shard_of(brain, 1)
    kept = path.rename(brain.parent / "elsewhere")
    path.symlink_to(kept)

    assert any("is a link" in problem for problem in verify_image(brain))


def test_threads_and_progress_change_no_finding(brain: Path) -> None:
    shard_of(brain, 0).write_bytes(b"")
    seen: list[tuple[int, int]] = []

    alone = verify_image(brain, threads=1, progress=lambda *at: seen.append(at))

    assert verify_image(brain, threads=4) == alone
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))


def test_float_maps_are_checked_where_they_are_explored(tmp_path: Path) -> None:
    levels = plan_levels((16, 16, 16), smallest=8)
    image = create_image(
        tmp_path / "d", levels=levels, dtype="float32", frame=Frame((1.0, 1.0, 1.0)), chunk=4,
        shard=8, fill_value=np.nan, kind="distance",
    )  # fmt: skip
    values = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    values[:, :, 5:] = np.nan
    write_region(image.array(0), Box.of_shape(values.shape), values)
    low = np.fmin.reduce(values.reshape(8, 2, 8, 2, 8, 2).transpose(0, 2, 4, 1, 3, 5).reshape(
        8, 8, 8, 8), axis=3)  # fmt: skip
    write_region(image.array(1), Box.of_shape(low.shape), low)

    assert verify_image(image.path) == []


@pytest.mark.parametrize("journal", [None, b"", b"nonsense\n"])
def test_a_brain_without_its_journal_is_checked_as_far_as_it_goes(
    brain: Path, journal: bytes | None
) -> None:
    path = journal_path(brain)
    path.unlink()
    if journal is not None:
        path.write_bytes(journal)
    assert verify_image(brain) == []

    with ConvertJournal(brain, {"source": "an older header without bands"}) as old:
        old.append({"row": [0, 0], "written": [[0, 0, 0, "1"]]})
    assert verify_image(brain) == []


def test_a_changed_voxel_of_zarr_2_is_told_by_the_sum_of_its_conversion(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    convert(stack, tmp_path / "b", **small, zarr_format=2)
    image = open_image(tmp_path / "b")
    array, core = image.array(0), image.grid(0).core((4, 4, 4))
    voxels = read_region(array, core)
    voxels[0, 0, 0] += 1
    write_region(array, core, voxels)

    problems = verify_image(tmp_path / "b")

    assert any("are not those the conversion wrote" in problem for problem in problems)
