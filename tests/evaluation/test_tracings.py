from pathlib import Path

import numpy as np
import pytest
from neurite import NEURITE

from neuroconn.annotation import Forest, Graph, write_swc
from neuroconn.errors import AnnotationError, DataError, UsageError
from neuroconn.evaluation import evaluate
from neuroconn.metrics import apls, tlts


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_swc(tmp_path / "manual.swc", NEURITE)
    moved = NEURITE.at(NEURITE.positions + rng.normal(0, 0.5, (4, 3)))
    write_swc(tmp_path / "automatic.swc", Forest(moved.positions, [-1, 0, 1, -1]))
    return tmp_path


def test_a_tracing_agrees_with_itself(files: Path) -> None:
    scores = evaluate(files / "manual.swc", files / "manual.swc", units="voxel")

    assert scores.counts.quality == 1
    assert scores.tlts is not None
    assert scores.tlts.share("correct") == 1
    assert scores.apls is not None
    assert scores.apls.score == pytest.approx(1)
    assert scores.erl is not None
    assert scores.erl.run_length == pytest.approx(NEURITE.length)
    assert scores.threshold is None


def test_a_branch_that_was_left_out_is_missed_by_every_metric(files: Path) -> None:
    scores = evaluate(files / "automatic.swc", files / "manual.swc", units="voxel")

    lengths = Graph.from_forest(NEURITE).lengths
    missed = lengths[2] / lengths.sum()
    assert scores.counts.correctness == 1
    assert scores.counts.completeness == pytest.approx(1 - missed, abs=0.06)
    assert scores.erl is not None
    assert scores.erl.omitted == pytest.approx(missed, abs=0.06)
    mine = Graph.from_forest(NEURITE)
    assert scores.tlts is not None
    assert scores.tlts.share("infeasible") > 0.3
    assert scores.apls is not None
    assert scores.apls.forward < apls(mine, mine).forward


def test_units_turn_lengths_into_micrometres(files: Path) -> None:
    one, half = (
        evaluate(files / "automatic.swc", files / "manual.swc", units=units, slack=3 * units)
        for units in (1.0, 0.5)
    )
    assert one.erl is not None
    assert half.erl is not None
    assert half.erl.length == pytest.approx(one.erl.length / 2)
    assert (one.unit, half.unit) == ("um", "um")
    voxels = evaluate(files / "automatic.swc", files / "manual.swc", units="voxel")
    assert voxels.per_mm(1) is None
    assert one.per_mm(1) == pytest.approx(1000 / one.erl.length)


def test_a_folder_is_all_its_files(files: Path) -> None:
    both = evaluate(files, files / "manual.swc", units="voxel", metrics=["erl"])

    assert both.counts.completeness == 1
    assert both.tlts is None


def test_a_prediction_of_one_lone_node_finds_nothing(files: Path) -> None:
    write_swc(files / "lone.swc", Forest([[1, 1, 1]], [-1]))

    scores = evaluate(files / "lone.swc", files / "manual.swc", units="voxel")

    assert scores.counts.quality == 0
    assert scores.tlts == tlts(
        Graph(np.zeros((1, 3)), np.empty((0, 2))), Graph.from_forest(NEURITE)
    )
    assert "quality        0.000" in str(scores)


def test_what_does_not_fit_is_refused(files: Path) -> None:
    manual = files / "manual.swc"
    for options, words in (
        ({}, "units"),
        ({"units": "um", "label": 1}, "two tracings"),
        ({"units": "um", "metrics": ["voxel"]}, "voxel cannot be measured"),
        ({"units": -1.0}, "units"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate(manual, manual, **options)  # type: ignore[arg-type]
    with pytest.raises(AnnotationError, match="gone"):
        evaluate(manual, files / "gone.swc", units="um")
    (files / "labels.tif").write_bytes(b"II*\0")
    with pytest.raises(DataError):
        evaluate(manual, files / "labels.tif", units="um")
