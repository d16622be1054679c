"""One update after the other: steps, accumulation, clipping, scaling, the running mean."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from neuroconn.config.train import TrainSettings
from neuroconn.errors import ModelError, UsageError
from neuroconn.training import Mixture, Trainer
from neuroconn.training.arithmetic import choose_device, half_precision
from neuroconn.training.loader import batches, held_out
from neuroconn.training.ranks import Ranks
from neuroconn.training.sample import Batch

Settings = Callable[..., TrainSettings]
CPU = torch.device("cpu")
STILL = {"network": {"dropout": 0.0}}


def one_batch(settings: TrainSettings) -> Batch:
    return held_out(settings)[0]


def new(settings: TrainSettings) -> Trainer:
    return Trainer(settings, Ranks())


def losses(trainer: Trainer, batch: Batch, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        trainer.step([batch])
        trainer.ledger.settle()
        found.append(trainer.ledger.latest["loss"])
    return found


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in trainer.network.state_dict().items()}


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_network_learns_one_crop_by_heart(tiny: Settings, loss: str) -> None:
    settings = tiny(
        loss=loss,
        network={"width": 4, "convolutions": 2, "dropout": 0.0},
        optimiser={"rate": 1e-2, "decay": 0.0, "weight_decay": 0.0},
    )
    trainer = new(settings)

    found = losses(trainer, one_batch(settings), 60)

    assert found[-1] < 0.4 * found[0]
    means = trainer.ledger.means()
    assert means["loss"] == means[f"loss_{loss}"] == pytest.approx(sum(found) / 60)
    assert trainer.ledger.means() == {}


def test_the_running_mean_is_the_mean_of_the_weights_so_far(tiny: Settings) -> None:
    settings = tiny(optimiser={"average": 0.5})
    trainer = new(settings)
    batch = one_batch(settings)
    mean = weights(trainer)

    for n in (1, 2, 3):
        trainer.step([batch])
        keep = min(0.5, (1 + n) / (10 + n))
        for name, value in trainer.network.state_dict().items():
            if value.is_floating_point():
                mean[name] = keep * mean[name] + (1 - keep) * value

    assert trainer.average is not None
    for name, value in trainer.saved_network().state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, mean[name])
        else:
            assert value == 3, name


def test_the_running_mean_goes_on_after_a_checkpoint(tiny: Settings) -> None:
    settings = tiny(optimiser={"average": 0.5})
    one, other = new(settings), new(settings)
    batch = one_batch(settings)
    one.step([batch])
    other.load(copy.deepcopy(one.state()))

    for trainer in (one, other):
        trainer.step([batch])

    ours, theirs = (t.saved_network().state_dict() for t in (one, other))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=0)


def test_without_a_mean_the_weights_themselves_are_saved(tiny: Settings) -> None:
    trainer = new(tiny())

    assert trainer.saved_network() is trainer.network


def gradients(trainer: Trainer, parts: list[Batch]) -> list[Tensor]:
    trainer.step(parts)
    return [p.grad.clone() for p in trainer.network.parameters() if p.grad is not None]


def frozen_norms(trainer: Trainer) -> None:
    """Let normalisation see no batch, for it sees another one if batches are cut."""
    for module in trainer.network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.train = lambda mode=True, m=module: m  # type: ignore[assignment, misc]
            module.training = False


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "huber",
        {"mse": {}, "l_conn": {"weight": 100, "options": {"window": 8, "dilation": 1}}},
        {"l_3d": {"options": {"window": 8, "dilation": 1, "disconnection": 0.01}}},
        {"l_2d": {"options": {"window": 8, "dilation": 1, "disconnection": 0.01}}},
    ],
)
def test_accumulated_batches_are_one_large_batch(tiny: Settings, loss: Any) -> None:
    whole = tiny(batch=4, loss=loss, **STILL)
    cut = tiny(batch=1, accumulate=4, loss=loss, **STILL)
    (large,) = batches(Mixture(whole), whole, first=0, last=1)
    parts = list(batches(Mixture(cut), cut, first=0, last=1))
    one, other = new(whole), new(cut)
    for trainer in (one, other):
        frozen_norms(trainer)

    for mine, theirs in zip(gradients(one, [large]), gradients(other, parts), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-5)
    assert other.iteration == 1
    for trainer in (one, other):
        trainer.ledger.settle()
    assert other.ledger.latest == pytest.approx(one.ledger.latest, rel=1e-4)


def test_a_long_gradient_is_shortened_and_told_at_full_length(tiny: Settings) -> None:
    settings = tiny(clip_gradient=0.5, **STILL)
    trainer, free = new(settings), new(tiny(**STILL))
    batch = one_batch(settings)

    found = gradients(trainer, [batch])
    whole = gradients(free, [batch])

    length = float(torch.stack([g.norm() for g in whole]).norm())
    assert length > 1
    assert float(torch.stack([g.norm() for g in found]).norm()) == pytest.approx(0.5, rel=1e-3)
    trainer.ledger.settle()
    assert trainer.ledger.latest["gradient"] == pytest.approx(length, rel=1e-3)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_weight_decay_is_that_of_the_optimiser(tiny: Settings, name: str) -> None:
    rate, decay = 0.1, 0.5
    trainer = new(
        tiny(optimiser={"name": name, "rate": rate, "weight_decay": decay, "decay": 0.0}, **STILL)
    )
    before = weights(trainer)

    found = gradients(trainer, [one_batch(trainer.settings)])

    for (key, value), gradient in zip(trainer.network.named_parameters(), found, strict=True):
        start = before[key]
        if name == "adam":  # the first step of Adam is the sign of the gradient
            expected = start - rate * (gradient + decay * start).sign()
        else:
            expected = start * (1 - rate * decay) - rate * gradient.sign()
        strong = (gradient + (decay * start if name == "adam" else 0)).abs() > 1e-3
        torch.testing.assert_close(value[strong], expected[strong], rtol=1e-3, atol=1e-4)


class Overflowing:
    """An objective whose loss is finite and whose gradient is not, at some steps."""

    wants_graph = False

    def __init__(self, at: set[int]) -> None:
        self.at = at

    def __call__(
        self, prediction: Tensor, target: Tensor, prepared: Any, *, iteration: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        error = (prediction - target).square().mean()
        if iteration in self.at:
            error = error + (prediction * 0).sum().sqrt()  # 0, with an infinite slope
        return error, {"mse": error}


def test_a_step_that_overflows_in_half_precision_is_skipped_and_counted(tiny: Settings) -> None:
    settings = tiny(precision="fp16", **STILL)
    trainer = new(settings)
    trainer.objective = Overflowing({1})  # type: ignore[assignment]
    batch = one_batch(settings)
    assert trainer.scaler.is_enabled()
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)  # as if it had settled

    trainer.step([batch])
    before, scale = weights(trainer), trainer.scaler.get_scale()
    trainer.step([batch])
    learnt = dict(trainer.network.named_parameters())
    for name, value in before.items():
        if name in learnt:
            torch.testing.assert_close(learnt[name].data, value, rtol=0, atol=0)
    trainer.step([batch])
    trainer.ledger.settle()

    assert trainer.ledger.skipped == 1
    assert trainer.scaler.get_scale() == scale / 2
    assert trainer.ledger.sums["loss"][1] == 2
    assert any(not torch.equal(value, before[name]) for name, value in learnt.items())
    again = new(settings)
    again.load(trainer.state())
    assert (again.ledger.skipped, again.scaler.get_scale()) == (1, scale / 2)


def test_the_same_without_scaling_ends_the_run(tiny: Settings) -> None:
    trainer = new(tiny(**STILL))
    trainer.objective = Overflowing({1})  # type: ignore[assignment]
    batch = one_batch(trainer.settings)
    trainer.step([batch])
    trainer.step([batch])

    with pytest.raises(ModelError, match=r"the gradient is nan and the loss finite at iteration 2"):
        trainer.state()


def test_the_optimiser_is_given_the_rate_of_each_iteration(tiny: Settings) -> None:
    settings = tiny(optimiser={"rate": 0.5, "decay": 1.0})
    trainer = new(settings)

    used = []
    for _ in range(3):
        trainer.step([one_batch(settings)])
        used.append(trainer.optimiser.param_groups[0]["lr"])

    assert used == pytest.approx([0.5, 0.25, 0.5 / 3])


def test_dropout_follows_from_seed_and_iteration(tiny: Settings) -> None:
    settings = tiny(network={"dropout": 0.5})
    one, other = new(settings), new(settings)
    batch = one_batch(settings)

    for trainer in (one, other):
        torch.manual_seed(hash(id(trainer)) % 1000)  # whatever happened before
        trainer.step([batch])

    for name, value in weights(one).items():
        torch.testing.assert_close(other.network.state_dict()[name], value, rtol=0, atol=0)
    seeds = {torch.initial_seed()}
    for _ in range(3):
        one.step([batch, batch])
        seeds.add(torch.initial_seed())
    elsewhere = Trainer(settings, replace(Ranks(), rank=1))
    elsewhere.step([batch])
    assert torch.initial_seed() not in seeds
    assert len(seeds) == 4


def test_a_network_that_is_to_be_compiled_is(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []

    def compile_it(module: Any) -> Any:
        compiled.append(module)
        return module

    monkeypatch.setattr(torch, "compile", compile_it)

    new(tiny())
    assert not compiled
    trainer = new(tiny(compile=True))

    assert compiled == [trainer.forward]


def test_a_checkpoint_of_another_network_is_refused_naming_both(tiny: Settings) -> None:
    state = new(tiny(network={"width": 4})).state()

    with pytest.raises(ModelError, match=r"'width': 4.* ask for .*'width': 2"):
        new(tiny()).load(state)


def test_a_checkpoint_of_another_version_is_refused(tiny: Settings) -> None:
    state = new(tiny()).state()
    del state["format"]

    with pytest.raises(ModelError, match="another version of neuroconn"):
        new(tiny()).load(state)


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
    found = {}
    for name in ("fp32", "bf16"):
        settings = tiny(precision=name, **STILL)
        found[name] = losses(new(settings), one_batch(settings), 1)[0]

    assert found["bf16"] == pytest.approx(found["fp32"], rel=0.05)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    return taken


def test_every_process_takes_a_gpu_of_its_own(two_gpus: list[torch.device]) -> None:
    assert choose_device("auto", 1) == torch.device("cuda", 1)
    assert choose_device("cuda") == torch.device("cuda", 0)
    assert [d.index for d in two_gpus] == [1, 0]
    with pytest.raises(UsageError, match="process 2 of this machine has no GPU of its own"):
        choose_device("auto", 2)
