"""Trees as Vaa3D wants them, read back by ourselves and by an independent reader."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import NeuroconnError, OutputError, StorageError, UsageError, VolumeError
from neuroconn.geometry import Box
from neuroconn.vaa3d import making
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.mdata import decode
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.reader import TeraflyVolume
from neuroconn.vaa3d.terafly import ReadBox, write_terafly

SHAPE = (130, 300, 420)
OFF_GRID = Box((20, 37, 101), (100, 211, 333))


def noise(shape: tuple[int, int, int], dtype: Any = np.uint16, seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, True)
    return np.asarray(values)


def reader(volume: NDArray[Any]) -> ReadBox:
    return lambda box: volume[box.slices]


def plan_of(volume: NDArray[Any], **options: Any) -> TeraflyPlan:
    return TeraflyPlan(
        volume.shape,  # type: ignore[arg-type]
        volume.dtype.name,  # type: ignore[arg-type]
        options=TeraflyOptions(**({"tile": 128} | options)),
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sparse_volume() -> NDArray[np.uint16]:
    """Zeros but for two tiles of 64; tile (0, 0, 0) is empty."""
    volume = np.zeros((100, 200, 300), dtype=np.uint16)
    volume[70:90, 70:90, 200:250] = noise((20, 20, 50))
    volume[3, 130, 10] = 77
    return volume


@pytest.fixture(scope="module")
def brain() -> NDArray[np.uint16]:
    return noise(SHAPE)


@pytest.fixture(scope="module")
def written(brain: NDArray[np.uint16], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("terafly") / "brain"
    plan = plan_of(brain, partition="balanced", downsample="mean", compression="lzw")
    write_terafly(reader(brain), output, plan)
    return output


def test_every_level_is_the_halved_level_before(written: Path, brain: NDArray[np.uint16]) -> None:
    volume = TeraflyVolume(written)

    assert [level.shape for level in volume.levels] == [SHAPE, (65, 150, 210)]
    expected = brain
    for level in volume.levels:
        np.testing.assert_array_equal(level.read(Box.of_shape(level.shape)), expected)
        expected = halve(expected)
    np.testing.assert_array_equal(volume.read(OFF_GRID), brain[OFF_GRID.slices])


@pytest.mark.parametrize("box", [Box.of_shape(SHAPE), OFF_GRID])
def test_an_independent_reader_sees_the_same_voxels(
    written: Path, brain: NDArray[np.uint16], box: Box
) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface(written / "RES(300x420x130)")

    (z0, y0, x0), (z1, y1, x1) = box.start, box.stop
    found = interface.get_sub_volume(x0, x1, y0, y1, z0, z1)

    assert interface.get_dim() == (420, 300, 130, 1)
    np.testing.assert_array_equal(found[0], brain[box.slices])


@pytest.mark.parametrize("compression", ["none", "lzw"])
def test_an_independent_reader_sees_sparse_levels(compression: str, tmp_path: Path) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    volume = sparse_volume()
    plan = plan_of(volume, tile=64, compression=compression)

    report = write_terafly(reader(volume), tmp_path / "out", plan)

    assert [(level.tiles, level.empty) for level in report.levels] == [(40, 38), (6, 4)]
    expected = volume
    for level in report.levels:
        z, y, x = level.shape
        found = interface(tmp_path / "out" / level.folder).get_sub_volume(0, x, 0, y, 0, z)
        np.testing.assert_array_equal(found[0], expected)
        expected = halve(expected, how="max")


@pytest.mark.parametrize("compression", ["zlib", "lzw", "none"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_tile_is_a_tiff_that_vaa3d_reads(
    compression: str, dtype: type, tmp_path: Path
) -> None:
    volume = noise((20, 30, 41), dtype)
    output = tmp_path / "out"
    report = write_terafly(
        reader(volume), output, plan_of(volume, tile=16, compression=compression)
    )

    for level in report.levels:
        table = decode((output / level.folder / "mdata.bin").read_bytes())
        assert (output / level.folder / ".iim.format").read_bytes() == b"Vaa3D raw (tiled, 3D)"
        listed = {
            f"{column.folder}/{block.file}": (block.depth, *column.shape)
            for row in table.rows
            for column in row
            for block in column.blocks
        }
        folder = output / level.folder
        found = {str(p.relative_to(folder)) for p in folder.rglob("*.tif")}
        assert found == set(listed)
        for name, shape in listed.items():
            check_tiff(output / level.folder / name, shape, np.dtype(dtype))


def check_tiff(path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    assert path.read_bytes()[:4] == b"II*\0"
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == shape[0]
        for page in tif.pages:
            assert page.shape == shape[1:]
            assert page.dtype == dtype
            assert page.samplesperpixel == 1
            assert page.compression in {1, 5, 8}
            assert page.predictor == 1
            assert page.photometric == 1
            assert len(page.dataoffsets) == 1
            assert page.rowsperstrip == shape[1]
            assert not {"TileWidth", "PageNumber"} & {tag.name for tag in page.tags}


@settings(max_examples=8, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 20), st.integers(1, 40), st.integers(1, 40)),
    tile=st.integers(8, 24),
    partition=st.sampled_from(["fixed", "balanced"]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    threads=st.integers(1, 3),
)
def test_any_shape_any_tile_and_any_threads_give_the_volume_back(
    shape: tuple[int, int, int],
    tile: int,
    partition: str,
    dtype: type,
    threads: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    volume = noise(shape, dtype)
    output = tmp_path_factory.mktemp("any") / "out"

    plan = plan_of(volume, tile=tile, partition=partition, compression="none")
    write_terafly(reader(volume), output, plan, threads=threads)

    found = TeraflyVolume(output)
    assert len(found.levels) >= 2
    expected = volume
    for level, planned in zip(found.levels, plan.levels, strict=True):
        expected = halve(expected, planned.step, "max")
        np.testing.assert_array_equal(level.read(Box.of_shape(level.shape)), expected)


def test_visual_exports_hold_no_power_of_two_on_any_level(tmp_path: Path) -> None:
    volume = noise((30, 40, 50)) & 0x1FF
    plan = plan_of(volume, tile=16, downsample="mean", avoid_powers_of_two=True)

    write_terafly(reader(volume), tmp_path / "out", plan)

    for level in TeraflyVolume(tmp_path / "out").levels:
        values = level.read(Box.of_shape(level.shape))
        assert values.any()
        assert not np.isin(values, [2**j for j in range(16)]).any()


def test_a_source_may_say_that_a_box_is_empty(tmp_path: Path) -> None:
    volume = sparse_volume()
    plan = plan_of(volume, tile=64)
    write_terafly(reader(volume), tmp_path / "full", plan)

    def lazy(box: Box) -> NDArray[np.uint16] | None:
        values = volume[box.slices]
        return values if values.any() else None

    write_terafly(lazy, tmp_path / "lazy", plan)

    assert tree(tmp_path / "lazy") == tree(tmp_path / "full")


def test_finished_and_moved_trees_read_the_same(
    written: Path, brain: NDArray[np.uint16], tmp_path: Path
) -> None:
    import shutil

    moved = tmp_path / "elsewhere"
    shutil.copytree(written, moved)
    for path in sorted(moved.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)

    found = TeraflyVolume(moved).read(OFF_GRID)

    for path in moved.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    np.testing.assert_array_equal(found, brain[OFF_GRID.slices])


def test_the_tree_holds_nothing_but_levels_and_its_record(written: Path) -> None:
    names = {path.name for path in written.iterdir()}

    assert names == {"RES(300x420x130)", "RES(150x210x65)", "neuroconn.json", "neuroconn.tiles"}
    assert json.loads((written / "neuroconn.json").read_text())["shape"] == list(SHAPE)


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.int16, "int16"), (np.float32, "float32"), (np.uint32, "uint32")]
)
def test_other_dtypes_are_refused_before_anything_is_written(dtype: type, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        plan_of(np.zeros((20, 20, 20), dtype))


@pytest.mark.parametrize("wrong", ["rgb", "dtype", "shape"])
def test_a_source_of_mixed_tiles_is_refused_and_no_table_written(
    wrong: str, tmp_path: Path
) -> None:
    volume = noise((20, 20, 40))

    def mixed(box: Box) -> NDArray[Any]:
        values = volume[box.slices]
        if box.start[2] == 0:
            return values
        return {"rgb": np.stack([values] * 3, -1), "dtype": values.astype(np.uint8)}.get(
            wrong, values[1:]
        )

    with pytest.raises(VolumeError, match="grey and of one dtype"):
        write_terafly(mixed, tmp_path / "out", plan_of(volume, tile=16))

    assert not list((tmp_path / "out").rglob("mdata.bin"))


@pytest.mark.parametrize("name", ["my NULL.tif folder", "/".join(["a" * 200] * 5)])
def test_paths_vaa3d_cannot_read_are_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    volume = noise((20, 20, 20))

    with pytest.raises(OutputError, match=r"choose a(nother| shorter)"):
        write_terafly(reader(volume), tmp_path / name, plan_of(volume))

    assert not list(tmp_path.iterdir())


def test_the_longest_allowed_path_still_reads(tmp_path: Path) -> None:
    volume = noise((20, 20, 20))
    tile = len("/RES(20x20x20)/000000/000000_000000/000000_000000_000000.tif")
    folder = tmp_path
    while (room := 1023 - tile - len(str(folder)) - 1) > 0:
        folder /= "a" * min(room if room <= 200 else 150, 200)

    write_terafly(reader(volume), folder, plan_of(volume))

    assert max(len(str(p)) for p in folder.rglob("*.tif")) == 1023
    np.testing.assert_array_equal(TeraflyVolume(folder).read(Box.of_shape((20, 20, 20))), volume)
    with pytest.raises(OutputError):
        plan_of(volume).check_path(folder.with_name(folder.name + "a"))


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    volume = noise((20, 20, 20))
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match="not empty"):
        write_terafly(reader(volume), tmp_path, plan_of(volume))
    with pytest.raises(OutputError, match="is a file"):
        write_terafly(reader(volume), tmp_path / "notes.txt", plan_of(volume))

    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_another_export_is_not_mixed_in(tmp_path: Path) -> None:
    volume = noise((20, 20, 20))
    write_terafly(reader(volume), tmp_path / "out", plan_of(volume), identity={"clip": 6})

    with pytest.raises(OutputError, match=r"other clip, downsample:"):
        write_terafly(
            reader(volume),
            tmp_path / "out",
            plan_of(volume, downsample="mean"),
            identity={"clip": 10},
        )


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    volume = noise((20, 20, 20))
    seen: list[NeuroconnError] = []

    def meddle(box: Box) -> NDArray[np.uint16]:
        with pytest.raises(OutputError, match="another export") as caught:
            write_terafly(reader(volume), tmp_path / "out", plan_of(volume))
        seen.append(caught.value)
        return volume[box.slices]

    write_terafly(meddle, tmp_path / "out", plan_of(volume))

    assert seen


def test_a_full_disk_is_a_storage_error_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = noise((20, 20, 40))

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(making, "write_tile", full)
        with pytest.raises(StorageError, match="free some space"):
            write_terafly(reader(volume), tmp_path / "out", plan_of(volume, tile=16))

    report = write_terafly(reader(volume), tmp_path / "out", plan_of(volume, tile=16))

    assert report.written == plan_of(volume, tile=16).tile_count


def test_progress_counts_every_tile(tmp_path: Path) -> None:
    volume, seen = noise((20, 20, 40)), []
    plan = plan_of(volume, tile=16)

    write_terafly(
        reader(volume), tmp_path / "out", plan, progress=lambda *state: seen.append(state)
    )

    assert seen == [(n + 1, plan.tile_count) for n in range(plan.tile_count)]
