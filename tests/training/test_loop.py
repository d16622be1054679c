"""The training loop: resumed = uninterrupted, schedules, scores."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.config.train import OptimiserSettings, TrainSettings
from neuroconn.errors import ConfigError, ModelError, OutputError, UsageError
from neuroconn.network import load_model
from neuroconn.training import Trainer, TrainReport, learning_rate, train
from neuroconn.training import loop as loop_module
from neuroconn.training.folder import TrainingFolder
from neuroconn.training.loader import held_out
from neuroconn.training.loop import half_precision

Settings = Callable[..., TrainSettings]
CPU = torch.device("cpu")


class KilledError(Exception):
    """The machine went away."""


def kill_at(iteration: int) -> Callable[[int, int, dict[str, float]], None]:
    def progress(done: int, iterations: int, row: dict[str, float]) -> None:
        if done >= iteration:
            raise KilledError

    return progress


def run(settings: TrainSettings, output: Path, **options: Any) -> TrainReport:
    return train(settings, output, device="cpu", threads=1, **options)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def rows(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def csv(folder: Path) -> list[list[str]]:
    lines = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    column = lines[0].index("seconds")
    return [line[:column] + line[column + 1 :] for line in lines]


@pytest.fixture(scope="module")
def whole(tiny: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(tiny(optimiser={"average": 0.9}), folder)
    return folder


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
    assert set(logged[0]) == {
        "iteration",
        "loss",
        "rate",
        "validation_mse",
        "validation_recall",
        "validation_precision",
    }
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
    assert set(model.card.scores) == {"mse", "recall", "precision"}


def test_a_run_on_a_brain_leaves_a_model(
    tiny: Settings, brain: Path, annotation: Path, tmp_path: Path
) -> None:
    source = {"brain": str(brain), "swc": [str(annotation)]}
    settings = tiny(brains=[source], phantoms={"weight": 0.0}, iterations=2, minimum_voxels=10)

    report = run(settings, tmp_path / "run")

    assert np.isfinite(list(report.scores.values())).all()
    assert load_model(report.model).card.training["brains"][0]["brain"] == str(brain)


def test_other_settings_are_refused(tiny: Settings, whole: Path) -> None:
    with pytest.raises(OutputError, match="another optimiser"):
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

    with pytest.raises(ModelError, match=r"the loss is (nan|inf) at iteration"):
        run(settings, tmp_path)

    assert not (tmp_path / "model").exists()


def one_batch(settings: TrainSettings) -> tuple[Any, Any]:
    return held_out(settings)[0]


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_network_learns_one_crop_by_heart(tiny: Settings, loss: str) -> None:
    torch.manual_seed(0)
    settings = tiny(
        loss=loss,
        network={"width": 4, "convolutions": 2, "dropout": 0.0},
        optimiser={"rate": 1e-2, "decay": 0.0, "weight_decay": 0.0},
    )
    batch = one_batch(settings)
    trainer = Trainer(settings, CPU)

    losses = [trainer.step(batch) for _ in range(60)]

    assert losses[-1] < 0.4 * losses[0]
    assert trainer.losses == (pytest.approx(sum(losses)), 60)


def test_the_running_mean_is_the_mean_of_the_weights_so_far(tiny: Settings) -> None:
    settings = tiny(optimiser={"average": 0.5})
    trainer = Trainer(settings, CPU)
    batch = one_batch(settings)
    mean = {k: v.clone() for k, v in trainer.network.state_dict().items()}

    for n in (1, 2, 3):
        trainer.step(batch)
        keep = min(0.5, (1 + n) / (10 + n))
        for name, value in trainer.network.state_dict().items():
            if value.is_floating_point():
                mean[name] = keep * mean[name] + (1 - keep) * value

    assert trainer.average is not None
    for name, value in trainer.saved_network().state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, mean[name])


def test_without_a_mean_the_weights_themselves_are_saved(tiny: Settings) -> None:
    trainer = Trainer(tiny(), CPU)

    assert trainer.saved_network() is trainer.network


@pytest.mark.parametrize(
    ("prediction", "scores"),
    [
        ("truth", {"mse": 0.0, "recall": 1.0, "precision": 1.0}),
        ("far", {"recall": 0.0, "precision": 1.0}),
        ("near", {"recall": 1.0, "precision": 0.25}),
    ],
)
def test_scores_of_known_predictions(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch, prediction: str, scores: dict[str, float]
) -> None:
    truth = np.full((1, 1, 4, 4, 4), 9, np.float32)
    truth[..., 0] = 0.5
    answer = {"truth": truth, "far": np.full_like(truth, 9), "near": np.zeros_like(truth)}
    trainer = Trainer(tiny(), CPU)
    monkeypatch.setattr(trainer, "_forward", lambda *_: torch.from_numpy(answer[prediction]))

    found = trainer.validate([(np.zeros_like(truth), truth)])

    assert {k: found[k] for k in scores} == pytest.approx(scores)


def test_validation_changes_no_weight(tiny: Settings) -> None:
    trainer = Trainer(tiny(), CPU)
    trainer.step(one_batch(tiny()))
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}

    trainer.validate(held_out(tiny()))

    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@given(
    st.floats(1e-6, 1), st.floats(0, 0.1), st.integers(0, 50), st.floats(0, 1), st.integers(0, 999)
)
def test_the_rate_falls_as_the_report_says_between_warm_up_and_cool_down(
    rate: float, decay: float, warmup: int, cooldown: float, iteration: int
) -> None:
    settings = OptimiserSettings(rate=rate, decay=decay, warmup=warmup, cooldown=cooldown)

    found = learning_rate(settings, iteration, 1000)

    expected = rate / (1 + decay * iteration)
    if iteration < warmup:
        expected *= (iteration + 1) / warmup
    if cooldown * 1000 >= 1:
        expected *= min(1, (1000 - iteration) / (cooldown * 1000))
    assert found == pytest.approx(expected)
    assert 0 < found <= rate


def test_the_optimiser_is_given_the_rate_of_each_iteration(tiny: Settings) -> None:
    settings = tiny(optimiser={"rate": 0.5, "decay": 1.0})
    trainer = Trainer(settings, CPU)

    used = []
    for _ in range(3):
        trainer.step(one_batch(settings))
        used.append(trainer.optimiser.param_groups[0]["lr"])

    assert used == pytest.approx([0.5, 0.25, 0.5 / 3])


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_precision_that_is_asked_for_is_taken(name: str, dtype: torch.dtype | None) -> None:
    assert half_precision(name, CPU) is dtype


def test_auto_precision_is_half_where_the_device_is_good_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")

    assert half_precision("auto", CPU) is None
    assert half_precision("auto", torch.device("cuda")) is torch.bfloat16


def test_a_half_precision_step_is_finite_and_near_the_full_one(tiny: Settings) -> None:
    losses = {}
    for name in ("fp32", "bf16"):
        torch.manual_seed(0)
        settings = tiny(precision=name, network={"dropout": 0.0})
        losses[name] = Trainer(settings, CPU).step(one_batch(settings))

    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_every_loss_of_the_settings_is_there(tiny: Settings) -> None:
    names = TrainSettings.model_fields["loss"].annotation.__args__

    assert set(names) == set(loop_module.LOSSES)
