"""Each group of metrics of a stored map is that of the arrays in memory."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from neurite import BOX, NEURITE, SHAPE, Save, true_distance, wrong_distance

from neuroconn.annotation import Forest, Graph, distance_map, render, write_swc
from neuroconn.errors import UsageError, VolumeError
from neuroconn.evaluation import blocks as module
from neuroconn.evaluation import evaluate
from neuroconn.evaluation.lines import fine, predicted_lines
from neuroconn.inference.encoding import Encoding
from neuroconn.metrics import (
    apls,
    average_precision,
    betti,
    breaks_at_faces,
    cldice,
    erl,
    segments_at,
    skeleton,
    tlts,
)
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.volume import open_image

LINES = render(NEURITE, BOX)
TUBE = distance_map(LINES) < 3


def stored_distance(distance: np.ndarray) -> np.ndarray:
    encoding = Encoding("uint8", 10.0)
    return np.where(np.isnan(distance), np.nan, encoding.decode(encoding.encode(distance)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_perfect_map_scores_1_everywhere(save: Save, swc: Path, dtype: str) -> None:
    scores = evaluate(save(true_distance(), dtype), swc, units="voxel")

    found = scores.as_dict()
    assert found["voxel"] == {
        "average_precision": 1, "precision": 1, "recall": 1, "truth_voxels": int(TUBE.sum()),
    }  # fmt: skip
    assert found["lines"]["cldice"] > 0.99
    assert scores.betti is not None
    assert scores.betti.errors == (0, 0, 0)
    runs = found["connectivity"]
    assert (runs["splits"], runs["merges"], runs["omitted_edges"], runs["breaks"]) == (0, 0, 0, 0)
    assert runs["expected_run_length"] == pytest.approx(runs["expected_run_length_of_truth"])
    # paths round the fork are cut short by a voxel or three: the tubes of its arms are one there
    assert runs["tlts"]["infeasible"] == runs["tlts"]["too_long"] == 0
    assert runs["tlts"]["correct"] > 0.7
    assert runs["apls"] > 0.9


def test_voxels_and_lines_are_those_of_the_arrays(save: Save, swc: Path) -> None:
    distance = stored_distance(wrong_distance())

    scores = evaluate(save(distance), swc, units="voxel", metrics=["voxel", "cldice"])

    assert scores.voxel is not None
    assert scores.voxel.average_precision == pytest.approx(average_precision(distance, TUBE))
    mask = distance < 3
    assert scores.voxel.precision(3) == pytest.approx((mask & TUBE).sum() / mask.sum())
    assert scores.cldice == cldice(mask, TUBE, true_lines=LINES)
    assert (scores.betti, scores.erl, scores.tlts) == (None, None, None)


def test_windows_are_those_of_the_arrays_whatever_the_blocks(
    save: Save, swc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distance = stored_distance(wrong_distance())
    path = save(distance)

    for block in (192, 20, 16):
        monkeypatch.setattr(module, "BLOCK", block)
        scores = evaluate(path, swc, units="voxel", metrics=["betti"], window=16, thin=False)
        assert scores.betti == betti(distance < 3, TUBE, window=16)


def test_runs_and_breaks_are_those_of_the_arrays(save: Save, swc: Path) -> None:
    distance = wrong_distance()
    nodes = fine(Graph.from_forest(NEURITE), SHAPE)
    ids = segments_at(stored_distance(distance) < 3, nodes.positions, slack=3)

    scores = evaluate(save(distance), swc, units="voxel", metrics=["erl", "breaks"], chunk=16)

    assert scores.unit == "um"
    assert scores.erl == erl(nodes, ids, spacing=(2, 1, 1))
    assert scores.breaks == breaks_at_faces(nodes, ids, chunk=(16, 16, 16), shape=SHAPE)
    assert scores.erl is not None
    assert scores.erl.omitted > 0.1
    assert scores.per_mm(2) == pytest.approx(2000 / scores.erl.length)


def test_paths_are_those_of_the_traced_lines(save: Save, swc: Path) -> None:
    path = save(wrong_distance())
    lines = predicted_lines(DistanceMap.of(open_image(path), 3.0))
    truth = Graph.from_forest(NEURITE)

    scores = evaluate(path, swc, units="voxel", metrics=["tlts", "apls"], seed=4)

    assert scores.tlts == tlts(lines, truth, seed=4)
    assert scores.apls == apls(lines, truth, seed=4)
    assert 0 < scores.tlts.share("infeasible") < 1


def test_blocks_where_nothing_is_stored_or_true_are_skipped(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Forest([[5, 10, 4], [12, 20, 8]], [-1, 0])
    write_swc(tmp_path / "short.swc", short)
    distance = np.where(np.indices(SHAPE)[2] < 16, true_distance(short), np.nan)
    path = save(distance, shard=16)
    whole = evaluate(path, tmp_path / "short.swc", units="voxel")
    monkeypatch.setattr(module, "BLOCK", 16)

    seen: list[tuple[int, int]] = []
    scores = evaluate(
        path, tmp_path / "short.swc", units="voxel", metrics=["voxel", "erl"],
        progress=lambda *at: seen.append(at),
    )  # fmt: skip

    assert seen[-1] == (3 * 4, 3 * 4)  # of 3 * 4 * 5
    assert scores.voxel == whole.voxel
    assert scores.voxel is not None
    assert scores.voxel.true.sum() + scores.voxel.false.sum() == BOX.size
    assert scores.erl == whole.erl
    assert scores.counts == whole.counts


def test_the_truth_is_looked_for_where_nothing_is_stored(save: Save, swc: Path) -> None:
    nowhere = save(np.full(SHAPE, np.nan))

    scores = evaluate(nowhere, swc, units="voxel")

    assert scores.unexplored == scores.counts.truth == int(LINES.sum())
    assert scores.voxel is not None
    assert scores.voxel.truth == int(TUBE.sum())
    assert scores.erl is not None
    assert scores.erl.omitted == 1
    assert scores.tlts is not None
    assert scores.tlts.share("infeasible") == 1
    json.dumps(scores.as_dict(), allow_nan=False)
    assert "at faces       -" in str(scores)


def test_the_chunk_of_the_inference_is_that_of_the_faces(save: Save, swc: Path) -> None:
    known = save(wrong_distance(), attributes={"infer": {"chunk": 32}})

    scores = evaluate(known, swc, units="voxel", metrics=["breaks"])

    assert (
        scores.breaks
        == evaluate(save(wrong_distance()), swc, units="voxel", metrics=["breaks"], chunk=32).breaks
    )
    with pytest.raises(UsageError, match="chunk"):
        evaluate(known, swc, units="voxel", chunk=0)


def test_labelled_voxels_have_paths_and_a_centreline_is_a_label(
    save: Save, tmp_path: Path, swc: Path
) -> None:
    tifffile.imwrite(tmp_path / "tube.tif", TUBE.astype(np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "line.tif", LINES.astype(np.uint8), photometric="minisblack")
    path = save(true_distance())
    traced = evaluate(path, swc, units="voxel")

    for name in ("tube.tif", "line.tif"):
        scores = evaluate(path, tmp_path / name)
        assert scores.counts.quality > 0.99
        assert scores.erl is not None
        assert traced.erl is not None
        assert (scores.erl.splits, scores.erl.omitted_edges, scores.erl.merges) == (0, 0, 0)
        assert scores.erl.length == pytest.approx(traced.erl.length, rel=0.1)
        assert scores.tlts is not None
        assert scores.tlts.share("infeasible") == 0


def test_a_rendered_map_is_a_truth_as_its_tracing_is(save: Save, swc: Path) -> None:
    prediction, truth = save(wrong_distance()), save(true_distance())

    rendered, traced = evaluate(prediction, truth), evaluate(prediction, swc, units="voxel")

    # the rendered line has corners that thinning takes off
    assert rendered.counts.truth == int(skeleton(LINES).sum())
    assert rendered.counts.quality == pytest.approx(traced.counts.quality, abs=0.01)
    assert rendered.voxel is not None
    assert traced.voxel is not None
    ap = traced.voxel.average_precision
    assert rendered.voxel.average_precision == pytest.approx(ap, abs=0.01)
    assert rendered.tlts is not None
    with pytest.raises(UsageError, match="planes"):
        evaluate(prediction, truth, planes=True)


def test_maps_of_other_clips_or_shapes_are_refused(save: Save) -> None:
    prediction = save(true_distance())

    with pytest.raises(VolumeError, match="goes flat at 15 voxels and the prediction at 10"):
        evaluate(prediction, save(true_distance(), clip=15.0))
    with pytest.raises(VolumeError, match="of one volume"):
        evaluate(prediction, save(true_distance()[:20]))


def test_labels_of_other_voxels_are_refused(save: Save, tmp_path: Path) -> None:
    labels = tmp_path / "labels.tif"
    tifffile.imwrite(
        labels, TUBE.astype(np.uint8), imagej=True, resolution=(1, 1),
        metadata={"spacing": 3.0, "unit": "um", "axes": "ZYX"},
    )  # fmt: skip
    with pytest.raises(VolumeError, match="3 x 1 x 1 µm"):
        evaluate(save(true_distance()), labels)
    assert evaluate(save(true_distance(), spacing_known=False), labels).counts.quality > 0.9


def test_a_truth_of_nothing_is_refused(save: Save, tmp_path: Path) -> None:
    path = save(true_distance())
    tifffile.imwrite(tmp_path / "none.tif", np.zeros(SHAPE, np.uint8), photometric="minisblack")

    with pytest.raises(VolumeError, match="no neurite"):
        evaluate(path, tmp_path / "none.tif")
    with pytest.raises(VolumeError, match="no neurite"):
        evaluate(path, tmp_path / "none.tif", planes=True)


def test_paths_need_labels_everywhere(save: Save, tmp_path: Path) -> None:
    labels = np.where(TUBE, 2, 1).astype(np.uint8)
    labels[:, :5] = 0
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    path = save(true_distance())

    scores = evaluate(path, tmp_path / "labels.tif", label=2, ignore=0)

    assert scores.voxel is not None
    assert scores.betti is not None
    assert scores.erl is None
    for options in ({"ignore": 0}, {"planes": True}):
        with pytest.raises(UsageError, match="tlts cannot be measured"):
            evaluate(path, tmp_path / "labels.tif", label=2, metrics=["tlts"], **options)  # type: ignore[arg-type]


def test_numbers_out_of_range_are_refused(save: Save, swc: Path) -> None:
    path = save(true_distance())
    for options, words in (
        ({"metrics": ["dice"]}, "no metric is called 'dice'"),
        ({"radius": 0}, "radius"),
        ({"window": 0}, "window"),
        ({"threshold": float("nan")}, "threshold"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate(path, swc, units="voxel", **options)  # type: ignore[arg-type]
