"""Soft clDice on distance maps."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuroconn.annotation import distance_map
from neuroconn.loss import SoftClDice, soft_cldice
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.nearness import dilated, eroded
from neuroconn.loss.soft_skeleton import soft_skeleton

SHARP = {"radius": 1.5, "softness": 0.01}
SHAPE = (13, 13, 24)


def line(y: int = 6, stop: int = 24, clip: float = 10.0) -> Tensor:
    """Map of a straight line along x."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[6, y, :stop] = True
    return torch.from_numpy(distance_map(mask, clip=clip))[None, None]


def sums(prediction: Tensor, target: Tensor, radius: float) -> tuple[float, float]:
    """Precision and sensitivity of hard masks, counted voxel by voxel; smooth = 1."""
    p, m = ((x <= radius)[0, 0].double() for x in (prediction, target))
    sp, sm = (soft_skeleton(x[None, None], 10)[0, 0] for x in (p, m))
    precision = (float((sp * m).sum()) + 1) / (float(sp.sum()) + 1)
    return precision, (float((sm * p).sum()) + 1) / (float(sm.sum()) + 1)


def test_a_perfect_map_costs_next_to_nothing() -> None:
    assert soft_cldice(line(), line(), **SHARP) == pytest.approx(0, abs=1e-5)
    assert 0 < soft_cldice(line(), line()) < 0.1


def test_half_a_line() -> None:
    half = line(stop=12)

    precision, sensitivity = sums(half, line(), 1.5)
    assert precision == pytest.approx(1)
    assert sensitivity == pytest.approx(14 / 25)  # a tube ends a voxel after its centreline
    expected = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    assert float(soft_cldice(half, line(), **SHARP)) == pytest.approx(expected, abs=1e-4)


def test_a_line_elsewhere_has_neither() -> None:
    loss = soft_cldice(line(2), line(10), **SHARP)

    assert float(loss) == pytest.approx(1 - 1 / 25, abs=1e-3)  # (0 + 1) / (24 + 1), both


def test_a_gap_costs_more_than_its_share_of_voxels() -> None:
    broken = line()
    broken[..., 10:14] = 10

    assert soft_cldice(broken, line()) > 1.5 * soft_cldice(line(), line()) + 0.02


def test_a_gap_at_the_clip_still_draws() -> None:
    broken = line()
    broken[..., 10:14] = 10
    broken.requires_grad_()

    soft_cldice(broken, line()).backward()

    assert broken.grad is not None
    assert (broken.grad[0, 0, 6, 6, 10:14] > 0).all()


@pytest.mark.parametrize("choice", ["numba", "python"])
def test_gradcheck(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, choice)
    generator = torch.Generator().manual_seed(0)
    y, t = 6 * torch.rand((2, 2, 1, 4, 5, 5), generator=generator, dtype=torch.float64)
    y.requires_grad_()

    assert torch.autograd.gradcheck(lambda m: soft_cldice(m, t, iterations=2), (y,))


@pytest.mark.parametrize("prediction", [0.0, 10.0, 50.0])
@pytest.mark.parametrize("target", [0.0, 10.0])
def test_empty_and_full_crops_are_finite(prediction: float, target: float) -> None:
    y = torch.full((1, 1, 6, 6, 6), prediction, requires_grad=True)

    loss = soft_cldice(y, torch.full_like(y, target))
    loss.backward()

    assert 0 <= loss <= 1
    assert y.grad is not None
    assert y.grad.isfinite().all()


def test_nothing_where_there_is_nothing_is_right() -> None:
    nothing = torch.full((1, 1, 6, 6, 6), 10.0)

    assert float(soft_cldice(nothing, nothing, **SHARP)) == pytest.approx(0, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_prepared_skeleton_is_the_soft_skeleton_of_the_mask(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(9, 10, 11))
    distance = np.abs(np.cumsum(noise, axis=2)).astype(np.float32)

    tube, skeleton = SoftClDice(radius=2.0).prepare(distance, None)

    soft = soft_skeleton(torch.from_numpy(tube.astype(np.float64))[None, None], 10)
    np.testing.assert_array_equal(skeleton, soft[0, 0].numpy())


def test_masks_grow_and_shrink_as_grey_volumes_do() -> None:
    mask = np.random.default_rng(0).random((6, 7, 8)) < 0.8

    grown, shrunk = dilated(mask), eroded(mask)

    assert (shrunk <= mask).all()
    assert (mask <= grown).all()
    assert shrunk[0, 0, 0] == mask[[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]].all()
    assert grown[3, 3, 3] == mask[2:5, 2:5, 2:5].any()


def test_function_and_module_agree_and_a_batch_is_the_mean() -> None:
    y, t = torch.cat([line(5), line(stop=9)]), torch.cat([line(), line()])
    term = SoftClDice(clip=10.0, radius=2.0)
    prepared = [term.prepare(m[0].numpy(), None) for m in t]

    together = term(y, t, prepared)

    apart = [soft_cldice(y[i : i + 1], t[i : i + 1], radius=2.0) for i in range(2)]
    torch.testing.assert_close(together, torch.stack(apart).mean())


def test_half_precision_is_computed_in_single() -> None:
    y = line().bfloat16()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = soft_cldice(y, line())

    torch.testing.assert_close(loss, soft_cldice(y.float(), line()))


@pytest.mark.parametrize(
    "options",
    [{"radius": 10.0}, {"radius": 0.0}, {"softness": 0.0}, {"iterations": -1}, {"smooth": 0.0}],
    ids=str,
)
def test_options_without_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SoftClDice(**options)


def test_maps_that_differ_in_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="must both be"):
        soft_cldice(line(), line()[..., 1:])
