"""Losses that are looked at a step late, and what is said of one that is not finite."""

import math

import pytest
import torch

from neuroconn.errors import ModelError
from neuroconn.training.ledger import Ledger, Step, measured

NAN, INF = math.nan, math.inf


def step(
    number: int,
    *rows: tuple[float, float],
    gradient: float = 1.0,
    where: tuple[tuple[str, ...], ...] = (("here",), ("there",)),
) -> Step:
    values = torch.tensor(rows)
    return Step(number, ("loss", "loss_mse"), values, torch.tensor(gradient), where)


def test_a_step_is_looked_at_when_the_next_one_comes() -> None:
    ledger = Ledger()

    ledger.note(step(1, (2.0, 1.0)))
    assert not ledger.latest
    ledger.note(step(2, (4.0, 1.0), (8.0, 3.0), gradient=3.0))
    assert ledger.latest == {"loss": 2.0, "loss_mse": 1.0, "gradient": 1.0}
    ledger.settle()

    assert ledger.latest == {"loss": 6.0, "loss_mse": 2.0, "gradient": 3.0}
    assert ledger.means() == {"loss": 4.0, "loss_mse": 1.5, "gradient": 2.0}


def test_a_term_that_joins_late_is_averaged_over_its_own_steps() -> None:
    ledger = Ledger()
    ledger.note(step(1, (2.0, 1.0)))
    late = Step(2, ("loss", "loss_snake"), torch.ones(1, 2), torch.tensor(1.0), (("a",),))
    ledger.note(late)
    ledger.settle()

    assert ledger.means() == {"loss": 1.5, "loss_mse": 1.0, "loss_snake": 1.0, "gradient": 1.0}


def test_what_was_summed_survives_a_restart() -> None:
    ledger, again = Ledger(), Ledger()
    ledger.note(step(1, (0.1, 0.2)))
    ledger.settle()
    again.load(ledger.state())
    for one in (ledger, again):
        one.note(step(2, (0.3, 0.7)))
        one.settle()

    assert again.means() == ledger.means()


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_its_crops(
    bad: float, scaled: bool
) -> None:
    ledger = Ledger(scaled=scaled)
    ledger.note(step(7, (1.0, 1.0), (bad, 2.0), gradient=NAN))

    with pytest.raises(ModelError) as caught:
        ledger.settle()

    assert str(caught.value).startswith(
        f"the loss is {bad:g} (mse 2) at iteration 7, on there: the weights are lost"
    )
    assert "lower optimiser.rate" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ledger.sums


def test_a_gradient_that_is_not_finite_ends_a_run_in_full_precision() -> None:
    ledger = Ledger()
    ledger.note(step(3, (1.0, 1.0), gradient=INF, where=(("a", "b"),)))

    with pytest.raises(ModelError, match=r"the gradient is inf .* at iteration 3, on a; b:"):
        ledger.settle()


def test_with_scaling_it_is_a_step_that_is_skipped() -> None:
    ledger = Ledger(scaled=True)
    ledger.note(step(3, (1.0, 1.0), gradient=INF))
    ledger.note(step(4, (5.0, 1.0)))
    ledger.settle()

    assert ledger.skipped == 1
    assert ledger.means()["loss"] == 5.0


def test_losses_are_measured_without_their_graph() -> None:
    weight = torch.ones((), requires_grad=True)

    names, values = measured(2 * weight, {"mse": 3 * weight})

    assert names == ("loss", "loss_mse")
    assert values.tolist() == [2.0, 3.0]
    assert not values.requires_grad
