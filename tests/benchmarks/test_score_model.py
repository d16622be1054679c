"""The helpers of ``score_model.py`` on cases that can be counted by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import score_model
import scoring_phantoms
import scoring_volumes
import tifffile
from numpy.typing import NDArray
from scoring_phantoms import (
    Breakdown,
    PhantomScores,
    explain,
    judge,
    moderate,
    recipe,
    somata,
    visibility,
)
from scoring_volumes import labelled, random_chunks, stays, visited
from workloads import phantom, untrained

from neuroconn import ChunkGrid, Phantom
from neuroconn.errors import UsageError
from neuroconn.geometry import DIRECTIONS
from neuroconn.inference.verdict import Verdict
from neuroconn.metrics import CCQ

SMALL = (48, 48, 48)


def line(y: int, start: int = 0, stop: int = 48) -> NDArray[np.bool_]:
    """A straight line along x, in the middle plane."""
    drawn = np.zeros(SMALL, dtype=bool)
    drawn[24, y, start:stop] = True
    return drawn


def away(y: int = 24) -> NDArray[np.float32]:
    """Exact distance to the straight line at ``y``, to 6 voxels."""
    z, rows, _ = np.ogrid[:48, :48, :48]
    return np.broadcast_to(np.minimum(np.hypot(z - 24, rows - y), 6), SMALL).astype(np.float32)


@pytest.mark.parametrize(("aside", "right"), [(0, 1.0), (3, 1.0), (4, 0.0)])
def test_a_line_counts_up_to_three_voxels_aside(aside: int, right: float) -> None:
    counts = judge(line(24 + aside), away())

    assert counts.correctness == counts.completeness == right
    assert (counts.predicted, counts.truth) == (16, 16)


def test_voxels_of_the_margin_are_seen_but_not_counted() -> None:
    beside = judge(line(24, 0, 16), away())
    assert (beside.predicted, beside.found) == (0, 3)  # three voxels inside are near its end


def test_half_a_line_is_right_and_half_is_found() -> None:
    counts = judge(line(24, 0, 24), away())

    assert counts.correctness == 1
    assert counts.found == 8 + 3


def test_what_was_missed_is_sorted_by_brightness() -> None:
    bright = np.full(SMALL, 0.5, np.float32)
    bright[..., 24:] = 20

    why = explain(line(24, 24), away(), bright)

    rows = {name: (truth, found) for name, truth, found in why.rows()}
    assert rows["0 to 1"] == (8, 3)
    assert rows["10 to inf"] == (8, 8)


def test_what_was_invented_is_sorted_by_what_is_there() -> None:
    bright = np.zeros(SMALL, np.float32)
    bright[24, 40] = 3
    bright[24, 29] = 3
    lines = line(24) | line(29, 16, 20) | line(31, 16, 21) | line(8, 16, 22)
    margin = 4

    why = explain(lines | line(40, 16, 23), away(), bright, margin=margin)

    assert (why.stray, why.unlabelled, why.invented) == (4, 7, 5 + 6)


def test_pooled_scores_weigh_voxels_and_quartiles_weigh_phantoms() -> None:
    scores = PhantomScores("moderate", [CCQ(100, 100, 100, 100), CCQ(0, 0, 300, 0)])

    assert scores.pooled.completeness == 0.25
    assert scores.quartiles()["recall"] == [0.25, 0.5, 0.75]
    assert scores.quartiles()["precision"] == [1, 1, 1]


def test_breakdowns_add_up() -> None:
    total = Breakdown(stray=1)
    total += Breakdown(np.arange(5), np.arange(5), stray=2, invented=3)

    assert (total.stray, total.invented) == (3, 3)
    assert total.truth.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("draw", [moderate, somata, recipe])
def test_phantoms_of_a_set_are_fixed_and_differ(draw: Callable[..., Phantom]) -> None:
    again = [draw(number, (24, 24, 24)).image() for number in (0, 0, 1)]

    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_somata_change_the_image_and_not_the_truth() -> None:
    with_somata, without = somata(3, (64, 64, 64)), moderate(3, (64, 64, 64))

    assert np.array_equal(with_somata.distance(), without.distance())
    assert with_somata.image().sum() > without.image().sum()


def test_visibility_is_bright_on_a_neurite_and_nothing_without_one() -> None:
    brain = phantom(SMALL, 2)
    bright = visibility(brain)

    assert bright[brain.centreline()].mean() > 5
    assert np.median(bright) < 0.1
    assert not visibility(phantom(SMALL, 0)).any()


def test_a_perfect_prediction_scores_one(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}

    def small(number: int) -> Phantom:
        brain = moderate(number, (64, 64, 64))
        drawn[brain.image().tobytes()] = brain
        return brain

    monkeypatch.setattr(scoring_phantoms, "SETS", {"moderate": small})
    scores = scoring_phantoms.score_phantoms(
        "moderate", 2, lambda image: drawn[image.tobytes()].distance()
    )

    assert len(scores.counts) == 2
    assert scores.pooled.correctness > 0.99
    assert scores.pooled.completeness > 0.99
    assert "precision" in score_model.describe(scores)
    assert json.loads(json.dumps(scores.as_dict()))["phantoms"] == 2


def test_planes_are_those_more_than_half_labelled_or_those_given() -> None:
    label = np.zeros((4, 2, 2), np.uint8)
    label[1], label[2, 0] = 2, 1

    assert np.flatnonzero(labelled(label).any(axis=(1, 2))).tolist() == [1]
    assert np.flatnonzero(labelled(label, [2]).any(axis=(1, 2))).tolist() == [2]
    for planes in ([0], [4], [-1]):
        with pytest.raises(UsageError, match="planes"):
            labelled(label, planes)


def test_walks_follow_the_verdicts_and_stop_where_there_is_no_evidence() -> None:
    grid = ChunkGrid((3, 3, 30), (3, 3, 3))
    right = 1 << DIRECTIONS.index((0, 0, 1))
    opens = Verdict(True, right, right, voxels=9)
    ends = Verdict(False, 0, 0, voxels=0)
    verdicts = {(0, 0, x): opens if x < 4 else ends for x in range(10)}

    assert visited(grid, verdicts, (0, 0, 2)) == {(0, 0, 2), (0, 0, 3), (0, 0, 4)}
    assert visited(grid, verdicts, (0, 0, 7)) == {(0, 0, 7)}
    assert not stays((0, 0, 2), visited(grid, verdicts, (0, 0, 2)))
    assert stays((0, 0, 3), visited(grid, verdicts, (0, 0, 3)))


def test_random_chunks_are_the_same_every_time_and_inside_the_grid() -> None:
    grid = ChunkGrid((5, 17, 31), (4, 4, 4))
    chunks = random_chunks(grid, 50)

    assert chunks == random_chunks(grid, 50)
    assert len(set(chunks)) > 10
    assert all(chunk in grid for chunk in chunks)


def test_the_script_scores_real_volumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_volumes, "WALKS", 5)
    image, label, model = tmp_path / "i.tif", tmp_path / "l.tif", untrained(tmp_path / "model")
    tifffile.imwrite(image, phantom((16, 40, 40), 2).image())
    labels = np.zeros((16, 40, 40), np.uint8)
    labels[7], labels[7, 20] = 1, 2
    tifffile.imwrite(label, labels)

    words = ["--model", str(model), "--phantoms", "0", "--labelled", str(image), str(label)]
    more = ["--label", "2", "--negative", str(image), "--chunk", "32", "--threads", "1", "--json"]
    assert score_model.main([*words, *more]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["labelled"]["planes"] == 1
    assert found["labelled"]["truth_voxels"] > 30
    assert 0 <= found["negative"][0]["stayed"] <= 5
    assert found["negative"][0]["chunks"] == 4
