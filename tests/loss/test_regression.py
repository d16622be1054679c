"""Voxelwise losses on distance maps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from neuroconn.loss import huber, mse

LOSSES = [mse, huber]


def maps(seed: int, shape: tuple[int, ...] = (2, 1, 3, 4, 5)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (10 * torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return a, b


@pytest.mark.parametrize("loss", LOSSES)
def test_a_perfect_map_costs_nothing(loss: object) -> None:
    truth, _ = maps(0)

    assert loss(truth, truth) == 0


@given(st.integers(0, 1000))
def test_mse_is_the_mean_of_squares(seed: int) -> None:
    y, t = maps(seed)

    expected = sum((a - b) ** 2 for a, b in zip(y.flatten(), t.flatten(), strict=True)) / y.numel()

    torch.testing.assert_close(mse(y, t), expected)


@given(st.integers(0, 1000), st.floats(0.1, 5))
def test_huber_is_squared_near_and_straight_far(seed: int, delta: float) -> None:
    y, t = maps(seed)

    r = (y - t).abs()
    expected = torch.where(r < delta, r**2 / 2, delta * (r - delta / 2)).mean()

    torch.testing.assert_close(huber(y, t, delta=delta), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_costs_the_mean_of_its_crops(loss: object) -> None:
    y, t = maps(1)

    apart = torch.stack([loss(y[i : i + 1], t[i : i + 1]) for i in range(2)]).mean()

    torch.testing.assert_close(loss(y, t), apart)
    torch.testing.assert_close(loss(y.flip(0, 3), t.flip(0, 3)), apart)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss: object) -> None:
    y, t = maps(2, (1, 1, 2, 2, 3))
    y.requires_grad_()

    assert torch.autograd.gradcheck(lambda prediction: loss(prediction, t), (y,))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(2, 1, 3, 4, 1), (1, 1, 3, 4, 5), (3, 4, 5)])
def test_shapes_that_would_broadcast_are_refused(loss: object, shape: tuple[int, ...]) -> None:
    y, _ = maps(0)

    with pytest.raises(ValueError, match="must be equal"):
        loss(y, torch.zeros(shape))
