"""Skeleton recall on distance maps."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from neuroconn.annotation import distance_map
from neuroconn.loss import SkeletonRecall, skeleton_recall
from neuroconn.loss.nearness import nearness

SHARP = {"radius": 3.0, "softness": 0.01}


def line(stop: int = 20) -> Tensor:
    mask = np.zeros((11, 11, 20), dtype=bool)
    mask[5, 5, :stop] = True
    return torch.from_numpy(distance_map(mask, clip=10))[None, None]


def test_hand_cases() -> None:
    tube = 5 * 5 * 20
    far = torch.full_like(line(), 10.0)

    assert float(skeleton_recall(line(), line(), **SHARP)) == pytest.approx(-1)
    assert float(skeleton_recall(far, line(), **SHARP)) == pytest.approx(-1 / (tube + 1))
    half = torch.where(torch.arange(20) < 8, line(), far)
    expected = -(25 * 8 + 1) / (tube + 1)
    assert float(skeleton_recall(half, line(), **SHARP)) == pytest.approx(expected)


def test_what_is_drawn_in_excess_costs_nothing() -> None:
    everywhere = torch.zeros_like(line())

    assert float(skeleton_recall(everywhere, line(), **SHARP)) == pytest.approx(-1)


def test_a_crop_without_a_neurite_costs_minus_one() -> None:
    y = line().requires_grad_()

    loss = skeleton_recall(y, torch.full_like(y, 10.0))
    loss.backward()

    assert loss == -1
    assert y.grad is not None
    assert not y.grad.any()


@given(seed=st.integers(0, 2**32 - 1), dilations=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_loss_is_its_formula(seed: int, dilations: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((2, 7, 8, 9)) < 0.02
    t = torch.from_numpy(np.stack([distance_map(m, clip=10) for m in mask]))[:, None].double()
    y = torch.from_numpy(rng.uniform(0, 10, t.shape))

    loss = skeleton_recall(y, t, dilations=dilations, smooth=0.5)

    tubes = [
        ndimage.binary_dilation(m, np.ones((3, 3, 3)), iterations=dilations) if dilations else m
        for m in mask
    ]
    p = 1 / (1 + np.exp(y[:, 0].numpy() - 3))
    parts = [-((q * b).sum() + 0.5) / (b.sum() + 0.5) for q, b in zip(p, tubes, strict=True)]
    assert float(loss) == pytest.approx(np.mean(parts))


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(0)
    y, t = 6 * torch.rand((2, 2, 1, 4, 5, 6), generator=generator, dtype=torch.float64)
    y.requires_grad_()

    assert torch.autograd.gradcheck(lambda m: skeleton_recall(m, t, centreline=0.3), (y,))


def test_a_gap_at_the_clip_still_draws() -> None:
    y = torch.full_like(line(), 10.0).requires_grad_()

    skeleton_recall(y, line()).backward()

    assert y.grad is not None
    assert (y.grad[line() == 0] > 0).all()


def test_maps_of_curves_need_a_wider_centreline() -> None:
    term = SkeletonRecall(centreline=0.87, dilations=0)
    between = line().numpy()[0, 0] + np.float32(0.5)  # a curve between voxels

    assert not SkeletonRecall().prepare(between).any()
    assert term.prepare(between).sum() == 20


def test_function_and_module_agree() -> None:
    y, t = torch.cat([line(9), line()]), torch.cat([line(), line(4)])
    term = SkeletonRecall(clip=10.0)

    prepared = [term.prepare(m[0].numpy()) for m in t]

    assert torch.equal(term(y, t, prepared), skeleton_recall(y, t))


def test_nearness_falls_with_distance_and_is_half_at_the_radius() -> None:
    p = nearness(torch.linspace(0, 10, 101, dtype=torch.float64), radius=3.0, softness=0.5)

    assert (p.diff() < 0).all()
    assert p[30] == 0.5
    assert (
        nearness(torch.zeros(1, dtype=torch.float16), radius=3, softness=1).dtype == torch.float32
    )


@pytest.mark.parametrize(
    "options",
    [{"radius": 12.0}, {"dilations": -1}, {"centreline": -0.1}, {"smooth": 0.0}],
    ids=str,
)
def test_options_without_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SkeletonRecall(**options)
