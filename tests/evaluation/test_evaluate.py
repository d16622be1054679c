from pathlib import Path

import numpy as np
import pytest
import tifffile
from neurite import BOX, FRAME, NEURITE, SHAPE, Save, true_distance, wrong_distance

from neuroconn.annotation import render, write_swc
from neuroconn.errors import AnnotationError, UsageError, VolumeError
from neuroconn.evaluation import blocks as module
from neuroconn.evaluation import evaluate
from neuroconn.metrics import ccq, skeleton


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_truth_scores_1(save: Save, swc: Path, dtype: str) -> None:
    scores = evaluate(save(true_distance(), dtype), swc, units="voxel")

    assert scores.counts.correctness > 0.99
    assert scores.counts.completeness == 1.0
    assert scores.unexplored == 0


def test_the_scores_are_those_of_the_whole_in_memory(save: Save, swc: Path) -> None:
    distance = wrong_distance()

    scores = evaluate(save(distance), swc, units="voxel")

    assert scores.counts == ccq(skeleton(distance < 3), render(NEURITE, BOX), slack=3)
    assert 0 < scores.counts.quality < 0.9


@pytest.mark.parametrize("slack", [0, 2.5, 3])
def test_blocks_score_as_the_whole(
    save: Save, swc: Path, slack: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, metrics = save(wrong_distance()), ["voxel", "erl", "breaks"]
    whole = evaluate(path, swc, metrics=metrics, units="voxel", slack=slack, thin=False)
    monkeypatch.setattr(module, "BLOCK", 17)

    seen: list[tuple[int, int]] = []
    blocks = evaluate(
        path, swc, metrics=metrics, units="voxel", slack=slack, thin=False,
        progress=lambda *at: seen.append(at),
    )  # fmt: skip

    assert blocks == whole
    assert seen[-1] == (3 * 4 * 5, 3 * 4 * 5)


def test_blocks_thin_as_the_whole_but_for_a_voxel_at_a_face(
    save: Save, swc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(wrong_distance())
    whole = evaluate(path, swc, units="voxel").counts
    monkeypatch.setattr(module, "BLOCK", 20)

    blocks = evaluate(path, swc, units="voxel").counts

    assert abs(blocks.predicted - whole.predicted) <= 0.03 * whole.predicted
    assert blocks.quality == pytest.approx(whole.quality, abs=0.02)


def test_the_threshold_is_strict_and_exact_in_codes(save: Save, swc: Path) -> None:
    distance = np.full(SHAPE, 10.0)
    distance[20, 20, :] = 8.0
    path = save(distance)

    assert evaluate(path, swc, units="voxel", threshold=8.0, thin=False).counts.predicted == 0
    assert evaluate(path, swc, units="voxel", threshold=8.01, thin=False).counts.predicted == 70


def test_a_neurite_nobody_explored_is_not_found(save: Save, swc: Path) -> None:
    distance = true_distance()
    distance[:, :, 40:] = np.nan
    line = render(NEURITE, BOX)

    scores = evaluate(save(distance), swc, units="voxel")

    assert scores.unexplored == int(line[:, :, 40:].sum())
    assert scores.counts.completeness < line[:, :, :44].sum() / line.sum()


def test_micrometres_and_a_flip_are_undone(save: Save, tmp_path: Path) -> None:
    flipped = NEURITE.transform((1, -1, 1), (0, SHAPE[1] - 1, 0)).to_um(FRAME)
    write_swc(tmp_path / "a.swc", flipped)
    path = save(true_distance())

    assert evaluate(path, tmp_path / "a.swc", units="um", y_flip=True).counts.quality > 0.95
    assert evaluate(path, tmp_path / "a.swc", units="um").counts.quality < 0.5


def test_a_labelled_volume_is_thinned_and_compared(save: Save, tmp_path: Path) -> None:
    labels = np.where(true_distance() < 3, 2, 1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")

    scores = evaluate(save(true_distance()), tmp_path / "labels.tif", label=2)

    assert scores.counts.predicted == scores.counts.truth == scores.counts.found


def test_planes_are_scored_apart_and_unlabelled_ones_left_out(save: Save, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for z in (12, 20):
        labels[z] = np.where(true_distance()[z] < 3, 2, 1)
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    distance = wrong_distance()

    scores = evaluate(save(distance), tmp_path / "labels.tif", label=2, planes=True)

    expected = [ccq(skeleton(distance[z] < 3), skeleton(labels[z] == 2)) for z in (12, 20)]
    assert scores.planes == 2
    assert scores.counts == expected[0] + expected[1]


def test_predictions_where_nobody_labelled_do_not_count(save: Save, tmp_path: Path) -> None:
    labels = np.where(true_distance() < 3, 2, 1).astype(np.uint8)
    labels[:, :20, 40:] = 0  # where the ghost is
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    path = save(wrong_distance())

    judged = evaluate(path, tmp_path / "labels.tif", label=2, ignore=0)

    assert judged.counts.correctness == 1.0
    assert evaluate(path, tmp_path / "labels.tif", label=2).counts.correctness < 0.95


def test_options_that_do_not_fit_are_refused(save: Save, swc: Path, tmp_path: Path) -> None:
    path = save(true_distance())
    tifffile.imwrite(tmp_path / "labels.tif", np.ones(SHAPE, np.uint8), photometric="minisblack")
    wrong: list[tuple[object, dict[str, object], str]] = [
        (swc, {}, "units"),
        (swc, {"units": "voxel", "label": 2}, "label"),
        (swc, {"units": "voxel", "planes": True}, "planes"),
        (swc, {"units": "voxel", "threshold": 10.1}, "goes flat"),
        (swc, {"units": "voxel", "threshold": 0}, "threshold"),
        (swc, {"units": "voxel", "slack": -1}, "slack"),
        (tmp_path / "labels.tif", {"units": "voxel"}, "units"),
        ([], {}, "0 paths"),
        ([tmp_path / "labels.tif", swc], {}, "2 paths"),
    ]
    for truth, options, words in wrong:
        with pytest.raises(UsageError, match=words):
            evaluate(path, truth, **options)  # type: ignore[arg-type]


def test_data_that_do_not_fit_are_refused(save: Save, swc: Path, tmp_path: Path) -> None:
    path = save(true_distance())
    tifffile.imwrite(tmp_path / "few.tif", np.ones((4, 5, 6), np.uint8), photometric="minisblack")
    write_swc(tmp_path / "far.swc", NEURITE.transform(9.0))

    with pytest.raises(VolumeError, match="labels must cover"):
        evaluate(path, tmp_path / "few.tif")
    with pytest.raises(AnnotationError, match="lie inside"):
        evaluate(path, tmp_path / "far.swc", units="voxel")
    with pytest.raises(VolumeError, match="not a distance map"):
        evaluate(save(true_distance(), kind="brain"), swc, units="voxel")
    with pytest.raises(VolumeError, match="scale_factor"):
        evaluate(save(true_distance(), array_attributes={}), swc, units="voxel")


def test_micrometres_need_a_known_voxel_size(save: Save, swc: Path) -> None:
    path = save(true_distance(), spacing_known=False)

    assert evaluate(path, swc, units="voxel").counts.quality > 0.95
    with pytest.raises(UsageError, match="how large its voxels are"):
        evaluate(path, swc, units="um")
