"""What a build writes: crops that equal the brain's, the same bytes however often it stops."""

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from neuroconn.annotation import Forest, Graph, distance_map, graph_near, render, write_swc
from neuroconn.config.crops import DatasetSettings
from neuroconn.errors import (
    AnnotationError,
    InterruptedRunError,
    OutputError,
    StorageError,
    UsageError,
    VolumeError,
)
from neuroconn.geometry import Box
from neuroconn.phantom import Phantom
from neuroconn.training.dataset import build, dataset
from neuroconn.training.dataset.reading import open_dataset

from .conftest import SHAPE, store_brain

Settings = Callable[..., DatasetSettings]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a dataset."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_crop_equals_what_is_cut_from_the_brain(
    made: Path, phantom: Phantom, forest: Forest
) -> None:
    stored = open_dataset(made)
    whole = Box.of_shape(SHAPE).grow(5)
    image, line = phantom.image(), render(forest, whole)
    distance = distance_map(line, clip=5.0)

    assert len(stored) > 8
    for number in range(len(stored)):
        box = stored.box(number)
        np.testing.assert_array_equal(stored.image(number), image[box.slices])
        np.testing.assert_array_equal(stored.centreline(number), line[box.within(whole)])
        np.testing.assert_array_equal(stored.distance(number), distance[box.within(whole)])
        assert stored.voxels[number] == np.count_nonzero(line[box.within(whole)]) >= 8
        near, expected = stored.graph(number), graph_near(Graph.from_forest(forest), box, reach=5.0)
        np.testing.assert_array_equal(near.positions, expected.positions)
        np.testing.assert_array_equal(near.edges, expected.edges)


def test_where_crops_come_from_is_in_the_dataset(
    made: Path, lab: Path, settings: Settings, forest: Forest
) -> None:
    stored = open_dataset(made)
    (brain,) = stored.brains

    assert brain["name"] == "brain.ome.zarr"
    assert brain["shape"] == list(SHAPE)
    swc = (lab / "neurons.swc").read_bytes()
    digest = hashlib.sha256(swc).hexdigest()
    assert brain["swc"] == [{"name": "neurons.swc", "sha256": digest}]
    assert brain["nodes"] == len(forest)
    assert "50" in brain["intensity"]["percentiles"]
    assert stored.provenance["settings"]["clip"] == 5.0


def test_any_reader_of_zarr_opens_it_and_lists_it_without_a_warning(made: Path) -> None:
    group = zarr.open_group(str(made), mode="r")

    names = sorted(name for name, _ in group.arrays())

    assert {"image", "centreline", "distance", "nodes", "edges", "split"} <= set(names)
    assert group["image"].metadata.dimension_names == ("crop", "z", "y", "x")
    assert group["image"].chunks == (1, 16, 16, 16)


def test_the_pictures_are_small_and_the_table_is_complete(made: Path) -> None:
    pictures = sorted(path.name for path in (made / "figures").glob("*.png"))
    rows = (made / "figures" / "cubes.csv").read_text().splitlines()[1:]

    assert pictures == ["0-brain-crops.png", "0-brain-voxels.png"]
    assert all(path.stat().st_size <= 300_000 for path in (made / "figures").glob("*.png"))
    assert sum(row.endswith(",1") for row in rows) == len(open_dataset(made))


def test_a_build_that_stops_anywhere_ends_with_the_same_bytes(
    settings: Settings, tmp_path: Path, small_shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, often = tmp_path / "once.zarr", tmp_path / "often.zarr"
    dataset(settings(), once)
    crops = len(open_dataset(once))
    assert crops > 3 * small_shards
    cut: list[int] = []
    original = build._cut

    def counted(work: Any, number: int) -> Any:
        cut.append(number)
        return original(work, number)

    monkeypatch.setattr(build, "_cut", counted)

    for stop in (0, 1, 4, 7):

        def progress(done: int, _: int, stop: int = stop) -> None:
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            dataset(settings(), often, progress=progress)
        with pytest.raises(VolumeError, match="was not finished"):
            open_dataset(often)
    monkeypatch.setattr(build, "draw", fails_first(build.draw))
    with pytest.raises(InterruptedRunError):
        dataset(settings(), often)
    dataset(settings(), often)

    assert digests(often) == digests(once)
    assert max(cut.count(number) for number in range(small_shards, crops)) <= 3
    before = len(cut)
    stamps = {p: p.stat().st_mtime_ns for p in often.rglob("*")}
    dataset(settings(), often)
    assert len(cut) == before
    assert {p: p.stat().st_mtime_ns for p in often.rglob("*")} == stamps


def fails_first(function: Callable[..., None]) -> Callable[..., None]:
    calls: list[int] = []

    def failing(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise InterruptedRunError("stopped")
        function(*arguments)

    return failing


KILLED = """
import os, signal, sys
from pathlib import Path
from neuroconn.config.crops import DatasetSettings
from neuroconn.training.dataset import dataset, layout
layout._SHARD_BYTES = 3 * 16**3 * 2

def progress(done, crops):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

settings = DatasetSettings.model_validate_json(sys.argv[1])
dataset(settings, sys.argv[2], progress=progress)
"""


def test_a_build_that_is_killed_ends_with_the_same_bytes(
    settings: Settings, tmp_path: Path, small_shards: int
) -> None:
    once, killed = tmp_path / "once.zarr", tmp_path / "killed.zarr"
    dataset(settings(), once)
    program = [sys.executable, "-c", KILLED, settings().model_dump_json(), str(killed)]

    done = subprocess.run(program, check=False, timeout=200)
    assert done.returncode == -signal.SIGKILL
    assert not (killed / "image" / "c" / "2").exists()

    dataset(settings(), killed)

    assert digests(killed) == digests(once)


def test_a_torn_journal_and_a_damaged_shard_are_done_again(
    settings: Settings, tmp_path: Path, small_shards: int
) -> None:
    once, torn = tmp_path / "once.zarr", tmp_path / "torn.zarr"
    dataset(settings(), once)

    def stop(done: int, _: int) -> None:
        if done == 2 * small_shards:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset(settings(), torn, progress=stop)
    journal = torn / "figures" / ".neuroconn" / "convert.journal"
    journal.write_bytes(journal.read_bytes()[:-5])
    (torn / "image" / "c" / "1" / "0" / "0" / "0").write_bytes(b"half")

    dataset(settings(), torn)

    assert digests(torn) == digests(once)


def test_a_full_disk_says_so_and_the_same_command_goes_on(
    settings: Settings, tmp_path: Path, small_shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, full = tmp_path / "once.zarr", tmp_path / "full.zarr"
    dataset(settings(), once)
    writes: list[int] = []
    original = zarr.Array.__setitem__

    def refuse(self: Any, key: Any, value: Any) -> None:
        writes.append(1)
        if len(writes) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", refuse)
        with pytest.raises(StorageError, match="the disk is full") as refused:
            dataset(settings(), full)
    assert refused.value.exit_code == 74

    dataset(settings(), full)

    assert digests(full) == digests(once)


def test_another_dataset_and_foreign_folders_are_left_alone(
    made: Path, settings: Settings, tmp_path: Path
) -> None:
    before = digests(made)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "cat.png").write_text("meow")

    with pytest.raises(OutputError, match=r"settings\.minimum_voxels: 8, now 9"):
        dataset(settings(minimum_voxels=9), made)
    with pytest.raises(OutputError, match="holds a dataset already"):
        dataset(settings(), made, resume=False)
    with pytest.raises(OutputError, match="not a dataset"):
        dataset(settings(), foreign)

    assert digests(made) == before
    assert [path.name for path in foreign.iterdir()] == ["cat.png"]


def test_a_dataset_of_moved_brains_is_the_same(
    made: Path, lab: Path, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(lab, tmp_path / "moved")
    shutil.copytree(made, tmp_path / "crops.zarr")
    brain = {
        "brain": str(tmp_path / "moved" / "brain.ome.zarr"),
        "swc": [str(tmp_path / "moved" / "neurons.swc")],
        "units": "voxel",
    }

    report = dataset(settings(brains=[brain]), tmp_path / "crops.zarr")

    assert report.crops == len(open_dataset(made))


def test_another_annotation_is_another_dataset(
    made: Path, lab: Path, settings: Settings, forest: Forest, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path / "crops.zarr")
    write_swc(tmp_path / "neurons.swc", forest, comment="one more line")
    brain = {
        "brain": str(lab / "brain.ome.zarr"),
        "swc": [str(tmp_path / "neurons.swc")],
        "units": "voxel",
    }

    with pytest.raises(OutputError, match="sha256"):
        dataset(settings(brains=[brain]), tmp_path / "crops.zarr")


def two(lab: Path, other: Path) -> list[dict[str, Any]]:
    swc = [str(lab / "neurons.swc")]
    return [
        {"brain": str(lab / "brain.ome.zarr"), "swc": swc, "units": "voxel"},
        {"brain": str(other), "swc": swc, "units": "voxel", "split": "test"},
    ]


def test_several_brains_follow_each_other(
    lab: Path, settings: Settings, phantom: Phantom, tmp_path: Path
) -> None:
    other = store_brain(tmp_path / "other.ome.zarr", phantom.image() + np.uint16(7))

    report = dataset(settings(brains=two(lab, other)), tmp_path / "crops.zarr")

    stored = open_dataset(tmp_path / "crops.zarr")
    first, second = report.brains
    assert sum(first.crops.values()) + sum(second.crops.values()) == len(stored)
    assert (second.crops["train"], second.crops["validation"]) == (0, 0)
    last = len(stored) - 1
    assert stored.brain_of(0)["name"] == "brain.ome.zarr"
    assert stored.brain_of(last)["name"] == "other.ome.zarr"
    expected = phantom.image()[stored.box(last).slices] + 7
    np.testing.assert_array_equal(stored.image(last), expected)
    assert str(report).splitlines()[-1].split()[0] == "all"


def test_brains_that_do_not_fit_together_are_refused(
    lab: Path, settings: Settings, phantom: Phantom, tmp_path: Path
) -> None:
    finer = store_brain(tmp_path / "finer.ome.zarr", phantom.image(), spacing=(1.0, 0.5, 0.5))
    bytes_ = store_brain(tmp_path / "bytes.ome.zarr", (phantom.image() // 64).astype(np.uint8))
    out = tmp_path / "crops.zarr"

    with pytest.raises(UsageError, match=r"two thicknesses.*mixed_spacing: true"):
        dataset(settings(brains=two(lab, finer)), out)
    with pytest.raises(UsageError, match="differ in their type of voxel"):
        dataset(settings(brains=two(lab, bytes_)), out)
    assert not out.exists()

    assert dataset(settings(brains=two(lab, finer), mixed_spacing=True), out).crops


def test_bad_input_is_an_error_before_anything_is_written(
    lab: Path, settings: Settings, phantom: Phantom, forest: Forest, tmp_path: Path
) -> None:
    out = tmp_path / "crops.zarr"
    bare = store_brain(tmp_path / "bare.ome.zarr", phantom.image(), statistics=False)
    swc = str(lab / "neurons.swc")
    flipped, um = tmp_path / "flipped.swc", tmp_path / "um.swc"
    write_swc(flipped, forest.transform((1, -1, 1), (0, SHAPE[1] - 1, 0)))
    write_swc(um, forest.transform((8.0, 4.0, 4.0)))

    def with_(path: Path | str, annotation: Path | str) -> DatasetSettings:
        brain = {"brain": str(path), "swc": [str(annotation)], "units": "voxel"}
        return settings(brains=[brain])

    brain = lab / "brain.ome.zarr"
    for wrong, error, words in (
        (with_(bare, swc), VolumeError, "no intensity statistics"),
        (with_(brain, flipped), AnnotationError, "flip: y"),
        (with_(brain, um), AnnotationError, "inside the volume"),
        (settings(size=64), UsageError, "do not fit"),
        (settings(minimum_voxels=4000), AnnotationError, "no cube of 16 voxels holds 4000"),
    ):
        with pytest.raises(error, match=words):
            dataset(wrong, out)
        assert not out.exists()


def test_the_report_counts_what_is_stored(made: Path, settings: Settings) -> None:
    report = dataset(settings(), made)
    stored = open_dataset(made)

    found = json.loads(json.dumps(report.as_dict()))

    assert found["crops"] == len(stored) == sum(found["brains"][0]["crops"].values())
    assert found["brains"][0]["kept"] == len(stored)
    assert found["brains"][0]["neurite_voxels"] == int(stored.voxels.sum())
    assert found["brains"][0]["cubes"] >= found["brains"][0]["with_neurite"] >= len(stored)
