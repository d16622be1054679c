"""The external field of a snake, against a dense one made voxel by voxel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neuroconn.loss.snake_field import Field


def dense_kernels(sigma: float) -> list[NDArray[np.float64]]:
    """Three full kernels, each divided by the sum of its magnitudes."""
    reach = max(1, round(2 * sigma))
    n = np.arange(-reach, reach + 1)
    gauss = np.exp(-(n**2) / (2 * sigma**2))
    taps = n * gauss / sigma**2
    lines = [[taps if i == axis else gauss for i in range(3)] for axis in range(3)]
    full = [np.einsum("a,b,c->abc", *line) for line in lines]
    return [kernel / np.abs(kernel).sum() for kernel in full]


def dense_field(volumes: Tensor, sigma: float, external: float) -> Tensor:
    """(batch, 3, z, y, x), as published: correlate the padded map."""
    weights = torch.from_numpy(np.stack(dense_kernels(sigma)))[:, None].to(volumes)
    reach = weights.shape[-1] // 2
    padded = functional.pad(volumes, (reach,) * 6, mode="replicate")
    return external * functional.conv3d(padded, weights)


def sampled(field: Tensor, sample: Tensor, positions: Tensor) -> Tensor:
    """Trilinear, corners of the grid aligned, zeros beyond."""
    shape = torch.tensor(field.shape[2:], dtype=positions.dtype)
    unit = (2 * positions / (shape - 1) - 1).flip(1)[:, None, None, None]
    parts = [
        functional.grid_sample(field[i : i + 1], at[None], align_corners=True)[0, :, 0, 0, 0]
        for i, at in zip(sample.tolist(), unit, strict=True)
    ]
    return torch.stack(parts)


@pytest.mark.parametrize(("sigma", "slope"), [(0.1, 1.0), (0.5, 1.0), (1, 1.309), (2, 2.325)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_field_of_a_ramp(sigma: float, slope: float, axis: int) -> None:
    shape = [1, 1, 1]
    shape[axis] = 15
    ramp = torch.arange(15.0).reshape(shape).expand(1, 1, 15, 15, 15)

    force = Field(ramp, sigma=sigma, external=2.0)(torch.tensor([0]), torch.full((1, 3), 7.3))

    expected = torch.zeros(1, 3)
    expected[0, axis] = 2 * slope
    torch.testing.assert_close(force, expected, atol=2e-3, rtol=0)


@given(seed=st.integers(0, 2**32 - 1), sigma=st.sampled_from([0.25, 0.5, 0.8, 1.0, 2.0]))
@settings(max_examples=30, deadline=None)
def test_at_points_it_is_the_dense_field_interpolated(seed: int, sigma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    volumes = torch.rand((2, 1, 5, 6, 7), **options)  # type: ignore[call-overload]
    positions = torch.rand((20, 3), **options) * torch.tensor([7.0, 8, 9]) - 1.5  # type: ignore[call-overload]
    positions[:4] = positions[:4].round()
    sample = torch.arange(20) % 2

    force = Field(volumes, sigma=sigma, external=2.0)(sample, positions)

    expected = sampled(dense_field(volumes, sigma, 2.0), sample, positions)
    torch.testing.assert_close(force, expected)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_its_gradient_in_maps_and_points_is_right(sigma: float) -> None:
    torch.manual_seed(0)
    volumes = torch.rand((2, 1, 4, 5, 4), dtype=torch.float64, requires_grad=True)
    positions = torch.rand((3, 3), dtype=torch.float64) * 0.8 + torch.tensor([0.1, 2.1, 1.1])
    positions.requires_grad_()

    def evaluate(y: Tensor, p: Tensor) -> Tensor:
        field = Field(y, sigma=sigma, external=2.0)
        sample = torch.tensor([0, 1, 1])
        return field(sample, p) + field(sample, p + 0.05)

    assert torch.autograd.gradcheck(evaluate, (volumes, positions))


def test_one_tap_is_never_too_narrow() -> None:
    ramp = torch.arange(5.0).expand(1, 1, 5, 5, 5)

    force = Field(ramp, sigma=1e-3, external=1.0)(torch.tensor([0]), torch.full((1, 3), 2.0))

    assert math.isclose(force[0, 2].item(), 1.0, rel_tol=1e-6)
