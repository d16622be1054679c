"""The training loop: resumed = uninterrupted, schedules, scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import KilledError, Settings, csv, kill_at, rows, run, weights

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ConfigError, ModelError, OutputError, UsageError
from neuroconn.network import load_model
from neuroconn.training import Trainer, train
from neuroconn.training.folder import TrainingFolder

CROPS = {"mse", "recall", "precision"}
VOLUMES = {
    "quality",
    "correctness",
    "completeness",
    "cldice",
    "tlts",
    "betti",
    "breaks",
    "average_precision",
    "volume_mse",
}


@pytest.mark.parametrize("kills", [[3], [6], [3, 6], [3, 3, 7]])
def test_a_resumed_run_equals_one_that_nothing_stopped(
    tiny: Settings, whole: Path, tmp_path: Path, kills: list[int]
) -> None:
    settings, folder = tiny(optimiser={"average": 0.9}), tmp_path / "run"
    for iteration in kills:
        torch.manual_seed(99)  # whatever state the new process is in
        with pytest.raises(KilledError):
            run(settings, folder, progress=kill_at(iteration))

    report = run(settings, folder)

    assert report.resumed_at == (kills[-1] - 1) // 2 * 2
    assert report.iterations == 7
    assert weights(folder) == weights(whole)
    assert rows(folder) == rows(whole)
    assert csv(folder) == csv(whole)


def test_a_run_that_is_killed_while_it_saves_resumes_from_the_checkpoint_before(
    tiny: Settings, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = tiny(optimiser={"average": 0.9}), tmp_path / "run"
    save = TrainingFolder.save

    def killed(self: TrainingFolder, state: dict[str, object]) -> None:
        if state["iteration"] == 6:
            raise KilledError
        save(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingFolder, "save", killed)
        with pytest.raises(KilledError):
            run(settings, folder)

    report = run(settings, folder)

    assert report.resumed_at == 4
    assert weights(folder) == weights(whole)
    assert rows(folder) == rows(whole)


def test_a_finished_run_computes_nothing(
    tiny: Settings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, logged = weights(whole), rows(whole)

    def never(*_: object) -> float:
        raise AssertionError("a finished run was trained on")

    monkeypatch.setattr(Trainer, "step", never)
    report = run(tiny(optimiser={"average": 0.9}), whole)

    assert (report.iterations, report.resumed_at) == (7, 7)
    assert weights(whole) == before
    assert rows(whole) == logged
    assert report.scores["mse"] == pytest.approx(logged[-1]["validation_mse"])


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(
    tiny: Settings, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tiny(iterations=2, seed=seed), tmp_path / name)

    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_the_log_has_a_row_at_every_validation_and_at_the_end(whole: Path) -> None:
    logged = rows(whole)

    assert [row["iteration"] for row in logged] == [3, 6, 7]
    scores = {f"validation_{name}" for name in CROPS | VOLUMES}
    columns = {"iteration", "loss", "loss_mse", "gradient", "rate", "skipped"}
    assert set(logged[0]) == columns | scores
    assert len(csv(whole)) == 4


def test_progress_is_told_of_every_row(tiny: Settings, tmp_path: Path) -> None:
    told: list[tuple[int, int, float]] = []

    run(
        tiny(),
        tmp_path / "run",
        progress=lambda done, of, row: told.append((done, of, row["iteration"])),
    )

    assert told == [(3, 7, 3.0), (6, 7, 6.0), (7, 7, 7.0)]


def test_the_saved_model_is_the_trained_network_with_its_card(tiny: Settings, whole: Path) -> None:
    settings = tiny(optimiser={"average": 0.9})

    model = load_model(whole / "model")

    state = TrainingFolder(whole).checkpoint()
    assert state is not None
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(value, state["average"][name], rtol=0, atol=0)
    assert (model.card.name, model.card.clip) == ("tiny", 10.0)
    assert TrainSettings.model_validate(model.card.training) == settings
    assert model.card.normalisation.softening == settings.normalisation.softening
    assert model.card.spacing_um == settings.spacing_um
    assert set(model.card.scores) == CROPS | VOLUMES
    assert model.card.provenance["sources"] == [{"phantoms": "drawn from seed 0"}]
    assert model.card.provenance["packages"]["torch"] == torch.__version__
    assert set(model.card.provenance["losses"]) == {"loss", "loss_mse", "gradient"}


def test_a_run_on_a_brain_leaves_a_model(
    tiny: Settings, brain: Path, annotation: Path, tmp_path: Path
) -> None:
    source = {"brain": str(brain), "swc": [str(annotation)]}
    settings = tiny(brains=[source], phantoms={"weight": 0.0}, iterations=2, minimum_voxels=10)

    report = run(settings, tmp_path / "run")

    assert np.isfinite(list(report.scores.values())).all()
    assert load_model(report.model).card.training["brains"][0]["brain"] == str(brain)


def test_other_settings_are_refused(tiny: Settings, whole: Path) -> None:
    with pytest.raises(OutputError, match=r"another optimiser.average"):
        run(tiny(), whole)


def test_what_is_wrong_is_said_before_anything_is_written(tiny: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    with pytest.raises(ConfigError, match="unknown key"):
        run(tiny(phantoms={"variety": {"axon": 1}}), folder)
    with pytest.raises(UsageError, match="no device 'tpux'"):
        train(tiny(), folder, device="tpux")

    assert not folder.exists()


def test_a_gpu_that_is_not_there_is_a_usage_error(
    tiny: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(UsageError, match="no GPU"):
        train(tiny(), tmp_path / "run", device="cuda")


def test_a_damaged_checkpoint_is_a_model_error(tiny: Settings, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        run(tiny(), tmp_path, progress=kill_at(3))
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 rubbish")

    with pytest.raises(ModelError, match="cannot be read"):
        run(tiny(), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_without_a_model(
    tiny: Settings, tmp_path: Path
) -> None:
    settings = tiny(optimiser={"rate": 1e30}, iterations=20)

    with pytest.raises(
        ModelError,
        match=r"the loss is (nan|inf) \(mse (nan|inf)\) at iteration \d+, on phantom seed \d+",
    ):
        run(settings, tmp_path)

    assert not (tmp_path / "model").exists()


ACCUMULATED: dict[str, Any] = {
    "accumulate": 2,
    "batch": 1,
    "iterations": 6,
    "precision": "fp16",
    "optimiser": {"average": 0.9, "name": "adamw", "schedule": "cosine"},
    "clip_gradient": 5.0,
    "stopping": {"metric": "mse", "patience": 3},
    "loss": {"mse": {}, "l_conn": {"start": 3, "options": {"window": 8, "dilation": 1}}},
}


@pytest.mark.parametrize("kill", [3, 6])
def test_all_that_a_run_remembers_survives_a_restart(
    tiny: Settings, tmp_path: Path, kill: int
) -> None:
    settings, killed = tiny(**ACCUMULATED), tmp_path / "killed"
    report = run(settings, tmp_path / "whole")
    with pytest.raises(KilledError):
        run(settings, killed, progress=kill_at(kill))

    again = run(settings, killed)

    assert weights(killed) == weights(tmp_path / "whole")
    assert rows(killed) == rows(tmp_path / "whole")
    assert csv(killed) == csv(tmp_path / "whole")
    assert (again.best, again.skipped, again.scores) == (report.best, report.skipped, report.scores)
    assert report.skipped > 0  # the scale starts high
    logged = rows(killed)
    assert "loss_l_conn" not in logged[0]
    assert logged[1]["loss_l_conn"] > 0


def test_pictures_are_drawn_and_the_listener_told_of_every_iteration(
    tiny: Settings, tmp_path: Path
) -> None:
    told: list[tuple[int, float | None]] = []

    run(
        tiny(iterations=4, pictures_every=2),
        tmp_path,
        ticker=lambda done, losses: told.append((done, losses.get("loss"))),
    )

    drawn = sorted(p.name for p in (tmp_path / "pictures").iterdir())
    assert drawn == ["0000002.png", "0000004.png"]
    assert [done for done, _ in told] == [1, 2, 3, 4]
    assert told[0][1] is None
    assert all(loss is not None for _, loss in told[1:])


def test_another_number_of_workers_changes_nothing(
    tiny: Settings, whole: Path, tmp_path: Path
) -> None:
    run(tiny(optimiser={"average": 0.9}, workers=3), tmp_path / "run")

    assert weights(tmp_path / "run") == weights(whole)


def test_a_run_starts_from_a_model(tiny: Settings, whole: Path, tmp_path: Path) -> None:
    started = tiny(initial=str(whole / "model"), iterations=1, optimiser={"rate": 1e-12})

    run(started, tmp_path / "run")

    before, after = (load_model(f / "model").network for f in (whole, tmp_path / "run"))
    for name, value in before.named_parameters():
        torch.testing.assert_close(dict(after.named_parameters())[name], value)
