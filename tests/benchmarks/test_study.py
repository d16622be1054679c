"""The study of networks and losses: its plan, its scores and its table."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "study"))

import study as command_line
import study_report
import study_score
from study_plan import Cell, HeldOut, cells, read_study, train_settings
from study_score import score

from neuroconn.annotation import Forest
from neuroconn.phantom import Phantom

STUDIES = sorted((Path(__file__).parents[2] / "configs/experiments").glob("*.yaml"))
TINY = (
    "seeds=[0]",
    "trunk.iterations=2",
    "branch.iterations=1",
    "networks.unet.crop=16",
    "base.minimum_voxels=1",
    "networks.unet.network.levels=1",
    "networks.unet.network.width=2",
    "losses.l_3d.loss.terms=[{name: mse}, {name: l_conn, options: {window: 16}}]",
    "test.phantoms=1",
    "test.shape=[32, 32, 32]",
    "test.margin=4",
)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_every_run_of_a_study_has_valid_settings(path: Path) -> None:
    study = read_study(path)
    runs = list(cells(study))

    assert len({cell.name for cell in runs}) == len(runs)
    branches = [train_settings(study, c) for c in runs if c.stage == "branch"]
    assert {(s.iterations, s.batch, s.crop) for s in branches} == {
        (branches[0].iterations, branches[0].batch, branches[0].crop)
    }, "every loss has the same budget"


@pytest.mark.slow
def test_a_study_runs_from_one_command_and_a_second_time_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(STUDIES[0]), str(tmp_path / "study")]
    command += [part for assignment in TINY for part in ("--set", assignment)]
    command += ["--network", "unet", "--loss", "mse", "l_3d"]

    assert command_line.main(command) == 0
    first = capsys.readouterr()
    models = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")}
    assert command_line.main(command) == 0
    second = capsys.readouterr()

    assert "| unet | l_3d | 1 |" in first.out
    width = 7 * 24 + 6 * 4  # image, truth and five losses; the margin is not shown
    with Image.open(tmp_path / "study/picture.png") as picture:
        assert picture.size == (width, 24)
    assert len(models) == 3
    assert models == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")}
    assert second.out == first.out
    assert not second.err
    assert first.out.count("| unet | l_3d |") == 4, "two thresholds, a table and its changes each"
    rows = json.loads((tmp_path / "study/report.json").read_text())
    assert all(row["own"]["threshold"] in HeldOut().thresholds for row in rows)
    assert [(row["loss"], row["seed"]) for row in rows] == [("mse", 0), ("l_3d", 0)]


def test_a_perfect_map_has_perfect_scores_and_a_cut_one_a_break() -> None:
    forest = Forest([[16, 16, 2], [16, 16, 30]], parents=[-1, 0])
    phantom = Phantom((32, 32, 32), [forest], seed=1)
    truth = phantom.distance()
    nick, cut = truth.copy(), truth.copy()
    nick[:, :, 14:18] = 10
    cut[:, :, 12:20] = 10

    perfect, nicked, broken = (
        score(seen, phantom, HeldOut(margin=4)).as_dict() for seen in (truth, nick, cut)
    )

    assert perfect["quality"] == perfect["cldice"] == 1
    assert perfect["splits_per_mm"] == perfect["omitted"] == 0
    one = pytest.approx(1000 / 23, rel=0.1)
    assert [s["splits_without_slack"] for s in (perfect, nicked, broken)] == [0, one, one]
    assert [s["splits_per_mm"] for s in (nicked, broken)] == [one, one]
    assert nicked["omitted"] == 0 < broken["omitted"] < 0.2
    assert broken["average_precision"] < perfect["average_precision"]


def test_changes_are_paired_by_network_and_seed() -> None:
    study = read_study(STUDIES[0], "seeds=[0, 1]")
    scores = {
        Cell("unet", loss, seed, "branch"): {
            "splits_per_mm": splits,
            "omitted": 0.2,
            "average_precision": ap,
        }
        for loss, seed, splits, ap in [
            ("mse", 0, 10.0, 0.5),
            ("mse", 1, 30.0, 0.6),
            ("l_3d", 0, 5.0, 0.6),
            ("l_3d", 1, 9.0, 0.7),
        ]
    }

    text = study_report.changes(study, scores)

    # 14 of 40 left; of the seeds, 5 of 10 and 9 of 30
    assert "| unet | l_3d | -65 % (-70 to -50) | +0 % (+0 to +0) | +0.100 |" in text


def test_a_spread_needs_two_runs() -> None:
    assert study_report.spread([0.5], 2) == "0.50"
    assert study_report.spread([0.4, 0.6], 2) == f"0.50 ± {np.std([0.4, 0.6], ddof=1):.2f}"


def test_a_run_is_judged_at_the_threshold_that_suits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_study(STUDIES[0], "test.margin=4", "test.tuning=1")
    drawn = Phantom((32, 32, 32), [Forest([[16, 16, 2], [16, 16, 30]], parents=[-1, 0])], seed=1)
    far = drawn.distance() + 3.5  # a model that is right, but for an offset
    monkeypatch.setattr(study_score, "draw", lambda *_: iter([drawn]))
    monkeypatch.setattr(study_score, "predict", lambda *_: far)
    model: Any = None

    assert study_score.best_threshold(model, study) > 3.5
