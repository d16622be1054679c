from pathlib import Path

import numpy as np
import pytest
from scenes import Store, clear_neurons, crowded_map, ends, phantom_map, places
from scipy.spatial import cKDTree

import neuroconn
from neuroconn.annotation import Forest, concatenate, read_forest, read_swc
from neuroconn.errors import OutputError, UsageError, VolumeError
from neuroconn.geometry import Box, Frame
from neuroconn.tracing import TraceSettings, trace

SHAPE = (96, 120, 140)
LINE = Forest([[24, 20, 10], [24, 40, 70]], [-1, 0])
SMALL = (48, 64, 80)
VOXELS = {"units": "voxel"}


def share_near(points: np.ndarray, others: np.ndarray) -> float:
    return float((cKDTree(others).query(points)[0] <= 1.5).mean())


@pytest.mark.parametrize("seed", range(4))
def test_neurites_that_do_not_touch_are_traced_as_they_are(store: Store, seed: int) -> None:
    neurons = clear_neurons(seed, SHAPE, 5)
    truth = concatenate(neurons)

    traced = trace(store(phantom_map(neurons, SHAPE, seed)), units="voxel").forest

    assert len(traced.roots) == len(neurons)
    assert share_near(places(truth), places(traced)) >= 0.99
    assert share_near(places(traced), places(truth)) >= 0.99
    assert len(ends(traced)) == len(ends(truth))
    assert cKDTree(ends(traced)).query(ends(truth))[0].max() <= 2
    assert traced.length == pytest.approx(truth.length, rel=0.05)


@pytest.mark.parametrize("seed", range(2))
def test_trees_do_not_depend_on_blocks_or_workers(store: Store, seed: int) -> None:
    path = store(crowded_map(SMALL, seed))

    whole = trace(path, block=128)

    assert len(whole.forest) > 10
    for block, workers in ((16, 1), (32, 2)):
        assert trace(path, block=block, workers=workers).forest == whole.forest


def test_the_public_name_is_the_verb() -> None:
    assert neuroconn.trace is trace


def test_the_file_reads_back_as_the_forest_and_lies_on_the_map(
    store: Store, tmp_path: Path
) -> None:
    traced = trace(store(phantom_map([LINE], SMALL, 0)), tmp_path / "out.swc").forest

    assert read_swc(tmp_path / "out.swc") == traced
    assert (traced.positions == traced.positions.round(3)).all()
    placed = read_forest(
        [tmp_path / "out.swc"], units="um", frame=Frame((2.0, 1.0, 1.0)), shape=SMALL
    )
    assert share_near(places(placed), places(LINE)) == 1
    text = (tmp_path / "out.swc").read_text()
    assert "# units: um" in text
    assert "threshold=3.0" in text
    rows = [row.split() for row in text.splitlines() if not row.startswith("#")]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    assert all(int(row[6]) < int(row[0]) for row in rows)


def test_a_folder_holds_a_file_a_tree_that_make_the_whole(store: Store, tmp_path: Path) -> None:
    path = store(phantom_map(clear_neurons(0, SHAPE, 3), SHAPE, 0))
    traced = trace(path, tmp_path / "trees", **VOXELS)

    files = sorted((tmp_path / "trees").iterdir())
    assert [file.name for file in files] == [f"tree_000{i}.swc" for i in (1, 2, 3)]
    assert concatenate([read_swc(file) for file in files]) == traced.forest
    trace(path, tmp_path / "trees", settings=TraceSettings(shortest=1e6), force=True, **VOXELS)
    assert list((tmp_path / "trees").iterdir()) == []


def test_a_crop_is_traced_alone(store: Store) -> None:
    path = store(phantom_map([LINE], SMALL, 0))
    crop = Box((0, 0, 30), (48, 64, 50))

    traced = trace(path, box=crop, settings=TraceSettings(shortest=0), **VOXELS).forest

    assert traced.positions[:, 2].min() >= 29
    assert traced.positions[:, 2].max() <= 50
    assert traced.length == pytest.approx(20 * np.sqrt(1 + 1 / 9), abs=2)


def test_a_gap_is_bridged_on_demand(store: Store) -> None:
    distance = phantom_map([LINE], SMALL, 0)
    distance[:, :, 40:44] = 10.0
    path = store(distance)

    assert trace(path, **VOXELS).report.trees == 2
    joined = trace(path, settings=TraceSettings(bridge=8), **VOXELS)
    assert (joined.report.trees, joined.report.bridges) == (1, 1)
    assert joined.report.length == pytest.approx(LINE.length, rel=0.06)


def test_weak_neurites_need_a_core(store: Store) -> None:
    strong, weak = LINE, Forest([[10, 10, 10], [10, 10, 60]], [-1, 0])
    distance = np.minimum(
        phantom_map([strong], SMALL, 0), phantom_map([weak], SMALL, 0) + np.float32(1.5)
    )
    path = store(distance)

    assert trace(path).report.trees == 2
    cored = trace(path, settings=TraceSettings(core=1.0)).report
    assert (cored.trees, cored.faint) == (1, 1)


def test_a_tree_begins_in_its_soma(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = store(phantom_map([LINE], SMALL, 0))
    there, far = (24.0, 38.0, 68.0), (2.0, 2.0, 2.0)

    for somas in ([there, far], []):
        traced = trace(path, somas=somas, settings=TraceSettings(kind=2), **VOXELS)
        root = traced.forest.roots[0]
        assert traced.report.somas == len(somas) // 2
        assert traced.forest.kinds[root] == (1 if somas else 2)
        if somas:
            assert np.linalg.norm(traced.forest.positions[root] - there) < 4
    assert "no tree comes within" in caplog.text


def test_evenly_spaced_nodes(store: Store) -> None:
    path = store(phantom_map([LINE], SMALL, 0))
    forest = trace(path, settings=TraceSettings(step=3.0), **VOXELS).forest

    steps = np.linalg.norm(forest.positions[1:] - forest.positions[:-1], axis=1)
    assert steps.max() <= 3.01
    assert steps.min() > 2


def test_an_empty_map_has_no_trees(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = trace(store(np.full(SMALL, 10.0)), tmp_path / "none.swc").report

    assert (report.trees, report.length, report.nodes) == (0, 0.0, 0)
    assert "no tree" in caplog.text
    assert (tmp_path / "none.swc").read_text().endswith("parent\n")


def test_unknown_spacing_is_traced_in_voxels_only(store: Store) -> None:
    path = store(phantom_map([LINE], SMALL, 0), known=False)

    assert trace(path).report.units == "voxel"
    assert trace(path).report.as_dict()["length_mm"] is None
    with pytest.raises(UsageError, match="--units voxel"):
        trace(path, units="um")


def test_the_brain_must_be_of_the_same_voxels(store: Store) -> None:
    path = store(phantom_map([LINE], SMALL, 0))
    with pytest.raises(VolumeError, match="not the brain"):
        trace(path, brain=path)


def test_nothing_is_overwritten_by_accident(store: Store, tmp_path: Path) -> None:
    path = store(phantom_map([LINE], SMALL, 0))
    (tmp_path / "there.swc").write_text("mine")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")

    for output, words in (
        ("there.swc", "--force"),
        ("notes", "diary.txt"),
        ("map.ome.zarr", "no tree of ours"),
        ("gone/out.swc", "no folder"),
    ):
        with pytest.raises(OutputError, match=words):
            trace(path, tmp_path / output)
    with pytest.raises(OutputError, match="no tree of ours"):
        trace(path, tmp_path / "notes", force=True)
    assert (tmp_path / "there.swc").read_text() == "mine"
    trace(path, tmp_path / "there.swc", force=True)
    assert len(read_swc(tmp_path / "there.swc").roots) == 1


def test_a_failed_write_leaves_the_old_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "out.swc"
    output.write_text("old")
    monkeypatch.setattr("neuroconn.tracing.files.write_swc", full)
    with pytest.raises(neuroconn.errors.StorageError, match="disk is full"):
        trace(store(phantom_map([LINE], SMALL, 0)), output, force=True)
    assert output.read_text() == "old"


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0}, {"threshold": float("nan")}, {"core": 4.0}, {"core": 0}, {"spur": -1},
        {"shortest": float("inf")}, {"bridge": -1}, {"smooth": -1}, {"tolerance": -0.1},
        {"step": 0}, {"kind": -1},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TraceSettings(**wrong)  # type: ignore[arg-type]
