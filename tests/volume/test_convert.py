import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import tifffile
import yaozarrs
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from neuroconn.errors import ConfigError, OutputError, StorageError, UsageError, VolumeError
from neuroconn.geometry import Box, plan_levels
from neuroconn.volume import convert, intensity_statistics, open_image, read_region, verify_image


def reduced(block: NDArray[Any], step: tuple[int, int, int], method: str) -> NDArray[Any]:
    """One level from the one below, on the whole array, padding odd sides with nothing."""
    shape = [-(-n // k) for n, k in zip(block.shape, step, strict=True)]
    padded = np.full([n * k for n, k in zip(shape, step, strict=True)], np.nan)
    padded[tuple(slice(n) for n in block.shape)] = block
    split = padded.reshape([s for pair in zip(shape, step, strict=True) for s in pair])
    if method == "max":
        return np.nanmax(split, axis=(1, 3, 5)).astype(block.dtype)
    if method == "mode":
        cells = split.transpose(0, 2, 4, 1, 3, 5).reshape(*shape, -1)
        return stats.mode(cells, axis=3, nan_policy="omit").mode.astype(block.dtype)
    return np.floor(np.nanmean(split, axis=(1, 3, 5)) + 0.5).astype(block.dtype)


@pytest.mark.parametrize("method", ["max", "mean", "mode"])
@pytest.mark.parametrize("spacing", [(1.0, 0.5, 0.5), (1.0, 1.0, 1.0), (4.0, 1.0, 1.0)])
def test_banded_conversion_is_the_whole_volume_and_its_whole_pyramid(
    tmp_path: Path,
    stack: Path,
    narrow: None,
    voxels: NDArray[np.uint16],
    small: dict[str, Any],
    method: Any,
    spacing: tuple[float, float, float],
) -> None:
    report = convert(stack, tmp_path / "b.ome.zarr", **small, downsample=method, spacing=spacing)

    image = open_image(tmp_path / "b.ome.zarr")
    assert image.levels == plan_levels(voxels.shape, spacing, smallest=8)
    assert len(image.levels) > 2
    expected = voxels
    for number, level in enumerate(image.levels):
        expected = reduced(expected, level.step, method) if number else expected
        stored = read_region(image.array(number), Box.of_shape(level.shape))
        np.testing.assert_array_equal(stored, expected)
        assert image.frames[number] == level.frame(image.frame)
    assert report.bands == report.bands_written > 1
    assert (image.downsample, image.frame.spacing_um) == (method, spacing)
    assert not verify_image(image.path)
    yaozarrs.validate_zarr_store(str(image.path))


@settings(max_examples=12, deadline=None)
@given(
    # tifffile drops a last axis of length 1 when it writes.
    shape=st.tuples(st.integers(1, 20), st.integers(2, 20), st.integers(2, 26)),
    chunk=st.sampled_from([2, 4]),
    shard=st.sampled_from([4, 8]),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (3.0, 1.0, 1.0)]),
    seed=st.integers(0, 999),
)
def test_any_small_volume_converts_to_a_sound_brain(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    chunk: int,
    shard: int,
    spacing: tuple[float, float, float],
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    brain = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    tifffile.imwrite(folder / "a.tif", brain, photometric="minisblack")

    convert(
        folder / "a.tif", folder / "b", spacing=spacing, chunk=chunk, shard=shard, smallest=4,
        threads=1,
    )  # fmt: skip

    image = open_image(folder / "b")
    np.testing.assert_array_equal(read_region(image.array(0), Box.of_shape(shape)), brain)
    np.testing.assert_array_equal(image.histogram, np.bincount(brain.ravel(), minlength=256))
    assert not verify_image(folder / "b")


def test_the_histogram_is_exact_and_its_statistics_are_at_hand(
    tmp_path: Path, stack: Path, voxels: NDArray[np.uint16], small: dict[str, Any]
) -> None:
    report = convert(stack, tmp_path / "b", **small)

    image = open_image(tmp_path / "b")
    counts = np.bincount(voxels.ravel(), minlength=65536)
    np.testing.assert_array_equal(image.histogram, counts)
    stored = {k: v for k, v in image.attributes["intensity"].items() if k != "histogram"}
    assert stored == intensity_statistics(counts) == report.intensity
    assert stored["saturated"] == 1 / voxels.size
    json.dumps(report.as_dict())


def test_tensorstore_reads_every_level(
    tmp_path: Path, stack: Path, voxels: NDArray[np.uint16], small: dict[str, Any]
) -> None:
    convert(stack, tmp_path / "b", **small)

    for number, level in enumerate(open_image(tmp_path / "b").levels):
        store = {"driver": "file", "path": str(tmp_path / "b" / str(number))}
        read = tensorstore.open({"driver": "zarr3", "kvstore": store}).result().read().result()
        ours = read_region(open_image(tmp_path / "b").array(number), Box.of_shape(level.shape))
        np.testing.assert_array_equal(read, ours)


def test_threads_do_not_change_a_byte(
    tmp_path: Path, stack: Path, small: dict[str, Any], digests: Any
) -> None:
    for threads in (1, 4):
        convert(stack, tmp_path / str(threads) / "b", **{**small, "threads": threads})

    assert digests(tmp_path / "1") == digests(tmp_path / "4")


def test_a_brain_converts_to_the_same_brain(
    tmp_path: Path, stack: Path, voxels: NDArray[np.uint16], small: dict[str, Any]
) -> None:
    convert(stack, tmp_path / "a", **small)

    convert(tmp_path / "a", tmp_path / "b", chunk=8, shard=16, smallest=8)

    first, second = open_image(tmp_path / "a"), open_image(tmp_path / "b")
    assert second.frames == first.frames
    np.testing.assert_array_equal(read_region(second.array(0), Box.of_shape(voxels.shape)), voxels)


def test_empty_shards_take_no_space(tmp_path: Path, stack: Path, small: dict[str, Any]) -> None:
    convert(stack, tmp_path / "b", **small)

    stored = {p.relative_to(tmp_path / "b/0/c") for p in (tmp_path / "b/0/c").rglob("*")}
    empty = {Path(f"{z}/{y}/{x}") for z, y, x in product(range(2), repeat=3)}
    assert not stored & empty
    assert Path("2/3/2") in stored


def test_the_files_spacing_is_used_and_a_contradiction_is_said(
    tmp_path: Path, stack: Path, small: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    convert(stack, tmp_path / "a", **small)
    assert open_image(tmp_path / "a").frame.spacing_um == (1.0, 0.5, 0.5)
    assert not caplog.records

    convert(stack, tmp_path / "b", **small, spacing=(1.0, 0.7, 0.7))
    assert open_image(tmp_path / "b").frame.spacing_um == (1.0, 0.7, 0.7)
    assert "using what was given" in caplog.text


def test_an_unknown_spacing_is_said_and_counts_voxels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 4, 5), np.uint8), photometric="minisblack")

    report = convert(tmp_path / "a.tif", tmp_path / "b")

    image = open_image(tmp_path / "b")
    assert "physical units are unknown" in caplog.text
    assert (image.spacing_known, image.frame.spacing_um) == (False, (1.0, 1.0, 1.0))
    assert report.spacing_um is None


def test_bad_input_is_refused_before_there_is_an_output(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    cut = tmp_path / "cut.tif"
    cut.write_bytes(stack.read_bytes()[:8000])
    cases: list[tuple[type[Exception], Path, dict[str, Any]]] = [
        (VolumeError, cut, {}),
        (VolumeError, tmp_path / "none", {}),
        (ConfigError, stack, {"chunk": 5, "shard": 10}),
        (ConfigError, stack, {"shard": 6}),
        (UsageError, stack, {"spacing": (1.0, 0.0, 1.0)}),
        (UsageError, stack, {"memory_gib": 0.1}),
    ]

    for error, source, changes in cases:
        with pytest.raises(error):
            convert(source, tmp_path / "out" / "b", **{**small, **changes})

    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_too_small_is_refused_at_the_start(
    tmp_path: Path, stack: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))

    with pytest.raises(StorageError, match="free some space"):
        convert(stack, tmp_path / "b", **small)

    assert not (tmp_path / "b").exists()


def test_a_disk_that_may_fill_up_is_a_warning(
    tmp_path: Path,
    stack: Path,
    small: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 8000}))

    convert(stack, tmp_path / "b", **small)

    assert "may fill up" in caplog.text


def test_a_foreign_folder_is_refused_and_untouched(
    tmp_path: Path, stack: Path, small: dict[str, Any]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "keep.tif").write_text("precious")

    with pytest.raises(OutputError, match="nothing is ever overwritten"):
        convert(stack, folder, **small)

    assert [p.name for p in folder.iterdir()] == ["keep.tif"]


def test_no_source_voxel_is_read_twice(
    tmp_path: Path, stack: Path, voxels: NDArray[np.uint16], small: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from neuroconn.volume.sources.tiff.source import TiffSource

    reads = np.zeros(voxels.shape, np.uint8)
    read = TiffSource.read_into

    def counted(self: TiffSource, box: Box, out: Any) -> int:
        reads[box.slices] += 1
        return read(self, box, out)

    monkeypatch.setattr(TiffSource, "read_into", counted)
    convert(stack, tmp_path / "b", **small)

    assert (reads == 1).all()
