"""Erosion and dilation of grey volumes, and the soft skeleton, against slow twins."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.pool import dilated, eroded
from neuroconn.loss.soft_skeleton import soft_skeleton

BOTH = pytest.mark.parametrize("choice", ["numba", "python"], indirect=True)


@pytest.fixture
def choice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, request.param)


def rough(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def published_skeleton(image: Tensor, iterations: int) -> Tensor:
    """Algorithm 1 as it is printed, with all its rectifiers and every erosion made anew."""

    def erode(x: Tensor) -> Tensor:
        windows = [((3, 1, 1), (1, 0, 0)), ((1, 3, 1), (0, 1, 0)), ((1, 1, 3), (0, 0, 1))]
        lines = [-functional.max_pool3d(-x, size, 1, margin) for size, margin in windows]
        return torch.min(torch.min(lines[0], lines[1]), lines[2])

    def opened(x: Tensor) -> Tensor:
        return functional.max_pool3d(erode(x), 3, 1, 1)

    skeleton = (image - opened(image)).relu()
    for _ in range(iterations):
        image = erode(image)
        delta = (image - opened(image)).relu()
        skeleton = skeleton + (delta - skeleton * delta).relu()
    return skeleton


@BOTH
@pytest.mark.usefixtures("choice")
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(1, 6)] * 3))
@settings(max_examples=30, deadline=None)
def test_both_are_those_of_scipy(seed: int, shape: tuple[int, int, int]) -> None:
    volumes = rough((2, 1, *shape), seed)
    cross = ndimage.generate_binary_structure(3, 1)

    for i, volume in enumerate(volumes[:, 0].numpy()):
        least = ndimage.grey_erosion(volume, footprint=cross, mode="nearest")
        most = ndimage.grey_dilation(volume, size=(3, 3, 3), mode="nearest")
        np.testing.assert_array_equal(eroded(volumes)[i, 0], least)
        np.testing.assert_array_equal(dilated(volumes)[i, 0], most)


@BOTH
@pytest.mark.usefixtures("choice")
@pytest.mark.parametrize("pool", [eroded, dilated])
def test_gradcheck(pool: Callable[[Tensor], Tensor]) -> None:
    assert torch.autograd.gradcheck(pool, (rough((2, 1, 3, 4, 5)).requires_grad_(),))


@BOTH
@pytest.mark.usefixtures("choice")
@given(seed=st.integers(0, 2**32 - 1), iterations=st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_the_skeleton_is_the_published_one_and_so_is_its_gradient(
    seed: int, iterations: int
) -> None:
    image = rough((2, 1, 6, 7, 8), seed).requires_grad_()
    weight = rough((2, 1, 6, 7, 8), seed + 1)

    ours, theirs = soft_skeleton(image, iterations), published_skeleton(image, iterations)

    torch.testing.assert_close(ours, theirs)
    [a], [b] = (torch.autograd.grad((s * weight).sum(), [image]) for s in (ours, theirs))
    torch.testing.assert_close(a, b)


def test_the_skeleton_of_a_bar_is_its_axis() -> None:
    bar = torch.zeros(1, 1, 7, 9, 15)
    bar[..., 2:5, 2:7, :] = 1

    skeleton = soft_skeleton(bar, 5)[0, 0]

    assert (skeleton[3, 3:6, 7] > 0).any()
    assert skeleton.sum() < 0.4 * bar.sum()
    assert not (skeleton * (1 - bar[0, 0])).any()


def test_slices_of_a_larger_tensor_work() -> None:
    volumes = rough((2, 1, 8, 8, 8))[..., ::2, 1:].requires_grad_()

    pooled = dilated(eroded(volumes))
    pooled.sum().backward()

    torch.testing.assert_close(pooled, dilated(eroded(volumes.detach().contiguous())))
