"""Distances of which only bounds are known."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.loss import huber
from neuroconn.loss.bounds import admissible, emphasis

distance = st.floats(0, 10, width=32)


@given(distance, distance, distance)
def test_the_target_is_the_nearest_distance_within_the_bounds(p: float, a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    target = float(admissible(torch.tensor(p), torch.tensor(low), torch.tensor(high)))
    assert target == (low if p < low else high if p > high else p)


def test_a_prediction_within_the_bounds_has_no_gradient_and_one_beyond_is_drawn_back() -> None:
    prediction = torch.tensor([2.0, 5.0, 9.0]).reshape(1, 1, 1, 1, 3).requires_grad_()
    low, high = torch.full_like(prediction, 3.0), torch.full_like(prediction, 6.0)
    loss = huber(prediction, admissible(prediction, low, high))
    (gradient,) = torch.autograd.grad(loss, prediction)
    below, within, above = gradient.flatten().tolist()
    assert below < 0 < above
    assert within == 0


def test_emphasis_adds_what_a_weighted_mean_would_hold_over_a_plain_one() -> None:
    torch.manual_seed(0)
    prediction, target, weight = torch.rand(3, 2, 1, 4, 5, 6).mul(10).unbind()
    each = torch.where(
        (prediction - target).abs() < 1,
        (prediction - target) ** 2 / 2,
        (prediction - target).abs() - 0.5,
    )
    together = huber(prediction, target) + emphasis(prediction, target, weight - 1)
    torch.testing.assert_close(together, (weight * each).mean())
