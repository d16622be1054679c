"""L_conn, L_3D and L_2D: sums over projections, and who gets their gradient."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuroconn.loss import L2D, L3D, LConn, l_2d, l_3d, l_conn, l_topo, mse
from neuroconn.loss.compiled import CHOICE
from neuroconn.loss.projection import project

seeds = st.integers(0, 2**32 - 1)
SMALL: dict[str, Any] = {
    "window": 4,
    "dilation": 0,
    "disconnection": 1.0,
    "false_connection": 1.0,
}
SHAPE = (8, 4, 12)


def maps(seed: int, batch: int = 2, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    """A prediction and a target without ties, but for the target's lines."""
    rng = np.random.default_rng(seed)
    y, t = rng.uniform(0.5, 9.5, (2, batch, 1, *shape))
    t[rng.random(t.shape) < 0.05] = 0
    return torch.from_numpy(y), torch.from_numpy(t)


@pytest.mark.parametrize("engine", ["numba", "python"])
@given(seed=seeds, tied=st.booleans(), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=15, deadline=None)
def test_a_ray_returns_its_gradient_to_the_first_of_its_least_voxels(
    engine: str, seed: int, tied: bool, dtype: torch.dtype
) -> None:
    y, _ = maps(seed)
    y = (y.round() if tied else y).to(dtype).requires_grad_()
    expected = np.zeros(y.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CHOICE, engine)
        views = project(y)
        weights = [torch.rand_like(view) for view in views]
        sum((w * v).sum() for w, v in zip(weights, views, strict=True)).backward()

    found = y.detach().numpy()
    for axis, (view, weight) in enumerate(zip(views, weights, strict=True)):
        np.testing.assert_array_equal(view.detach(), found.min(axis + 2))
        np.put_along_axis(
            holder := np.zeros(y.shape),
            np.expand_dims(found.argmin(axis + 2), axis + 2),
            np.expand_dims(weight.numpy(), axis + 2),
            axis + 2,
        )
        expected += holder
    np.testing.assert_allclose(y.grad, expected, rtol=1e-6)


def test_a_map_that_is_nan_has_projections_that_are() -> None:
    y = torch.full((1, 1, 4, 4, 4), 3.0)
    y[0, 0, 1, 2, 3] = float("nan")
    y.requires_grad_()

    views = project(y)
    sum(view.sum() for view in views).backward()

    assert [int(view.isnan().sum()) for view in views] == [1, 1, 1]


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_l_conn_is_the_sum_of_l_topo_over_projections(seed: int) -> None:
    y, t = maps(seed)

    views = [l_topo(y.amin(axis), t.amin(axis), **SMALL) for axis in (2, 3, 4)]

    torch.testing.assert_close(l_conn(y, t, **SMALL), sum(views))
    for axis, view in enumerate(views):
        torch.testing.assert_close(l_conn(y, t, axes=(axis,), **SMALL), view)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_permuting_the_axes_of_space_permutes_the_terms(seed: int) -> None:
    y, t = maps(seed)

    turned = [m.permute(0, 1, 4, 2, 3) for m in (y, t)]

    torch.testing.assert_close(l_conn(*turned, **SMALL), l_conn(y, t, **SMALL))
    torch.testing.assert_close(
        l_conn(*turned, axes=(1,), **SMALL), l_conn(y, t, axes=(0,), **SMALL)
    )


def test_only_voxels_that_are_least_on_a_ray_get_gradient() -> None:
    y, t = maps(5)
    y.requires_grad_()

    l_conn(y, t, **SMALL).backward()

    least = torch.zeros_like(y, dtype=torch.bool)
    for axis in (2, 3, 4):
        least |= y == y.amin(axis, keepdim=True)
    assert y.grad.any()
    assert not y.grad[~least].any()


def test_a_gap_seen_from_above_is_drawn_where_it_is_least() -> None:
    line = torch.arange(-2.0, 3).abs().repeat(5, 1)
    target = line[None, None, None].repeat(1, 1, 5, 1, 1)
    y = torch.full((1, 1, 5, 5, 5), 10.0)
    y[0, 0, 3, :, 2] = 0
    y[0, 0, 3, 2, 2] = 4  # its view is case A
    y[0, 0, 1, 2, :] += 1
    y.requires_grad_()
    options = {**SMALL, "window": 5, "false_connection": 0}

    l_conn(y, target, axes=(0,), **options).backward()

    assert sorted(y.grad[y.grad != 0].tolist()) == [8, 20]
    assert y.grad[0, 0, 3, 2, 2] == 8


def test_a_gap_shows_in_two_of_three_projections() -> None:
    away = torch.arange(48.0).sub(24).abs()
    target = (away[:, None, None].square() + away[:, None].square()).sqrt()
    target = target.clamp(max=10).repeat(1, 1, 1, 1, 48)
    gap = target.clone()
    gap[..., 20:26] = 10
    options = {"disconnection": 1.0, "false_connection": 0.0, "edge_cost": "min"}

    assert [float(l_conn(gap, target, axes=(i,), **options)) for i in range(3)] == [100, 100, 0]
    assert l_conn(target, target, **options) == 0


def test_l_3d_adds_the_error_in_space() -> None:
    y, t = maps(1)

    for alpha in (0.0, 1.0, 0.3):
        expected = mse(y, t) + alpha * l_conn(y, t, **SMALL)
        torch.testing.assert_close(l_3d(y, t, alpha=alpha, **SMALL), expected)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 1), (2,)])
def test_l_2d_takes_targets_of_projections_or_projects_them(axes: tuple[int, ...]) -> None:
    y, t = maps(2)
    views = [t.amin(axis + 2) for axis in axes]

    expected = sum(
        mse(y.amin(axis + 2), view) + 0.5 * l_topo(y.amin(axis + 2), view, **SMALL)
        for axis, view in zip(axes, views, strict=True)
    )

    for target in (t, views):
        found = l_2d(y, target, alpha=0.5, axes=axes, **SMALL)
        torch.testing.assert_close(found, expected)


def test_l_2d_learns_from_views_that_no_volume_has() -> None:
    y, t = maps(3)
    views = [t.amin(2), 10 - t.amin(3), t.amin(4)]
    y.requires_grad_()

    loss = l_2d(y, views, **SMALL)
    loss.backward()

    assert loss > l_2d(y, [t.amin(2), t.amin(3), t.amin(4)], **SMALL)
    assert y.grad.any()


@pytest.mark.parametrize("engine", ["numba", "python"])
@pytest.mark.parametrize("loss", [l_conn, l_3d, l_2d])
def test_gradients_are_those_of_finite_differences(
    loss: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHOICE, engine)
    y, t = maps(4, batch=1, shape=(4, 4, 4))
    y.requires_grad_()

    assert torch.autograd.gradcheck(lambda p: loss(p, t, **SMALL), (y,))


@pytest.mark.parametrize(("term", "loss"), [(LConn, l_conn), (L3D, l_3d), (L2D, l_2d)])
def test_twins_prepare_in_the_loader_what_functions_compute_at_once(term: Any, loss: Any) -> None:
    y, t = (m.float() for m in maps(6))
    twin = term(**SMALL)

    prepared = [twin.prepare(crop, None) for crop in t[:, 0].numpy()]

    assert twin(y, t, prepared) == twin(y, t) == loss(y, t, **SMALL)


def test_l_2d_prepares_views_too() -> None:
    y, t = (m.float() for m in maps(7))
    twin, views = L2D(**SMALL), [t.amin(axis) for axis in (2, 3, 4)]

    prepared = [twin.prepare([v[i, 0].numpy() for v in views]) for i in range(2)]

    assert twin(y, views, prepared) == l_2d(y, t, **SMALL)


@pytest.mark.parametrize("fill", [10.0, 0.0])
def test_crops_without_lines_or_full_of_them_have_finite_gradients(fill: float) -> None:
    y, _ = maps(8)
    y.requires_grad_()

    for loss in (l_conn, l_3d, l_2d):
        loss(y, torch.full_like(y, fill), **SMALL).backward()

    assert y.grad.isfinite().all()


def test_what_cannot_be_compared_is_refused() -> None:
    y, t = maps(0)

    with pytest.raises(ValueError, match="do not divide a map of 4 x 12: take 4"):
        l_conn(y, t, **{**SMALL, "window": 48})
    with pytest.raises(ValueError, match=r"axes must be some of 0, 1, 2 .* got \(0, 0\)"):
        l_conn(y, t, axes=(0, 0), **SMALL)
    with pytest.raises(ValueError, match=r"must be \(batch, 1, z, y, x\)"):
        l_conn(y[:, 0], t[:, 0], **SMALL)
    with pytest.raises(ValueError, match="must be equal"):
        l_conn(y, t[:1], **SMALL)
    with pytest.raises(ValueError, match="must be equal"):
        l_3d(y, t[:1], **SMALL)
    with pytest.raises(ValueError, match="3 projections need as many targets, got 2"):
        l_2d(y, [t.amin(2), t.amin(3)], **SMALL)


def test_the_losses_run_where_numba_is_missing() -> None:
    code = (
        "import sys; sys.modules['numba'] = None; import torch; from neuroconn import loss;"
        "y = torch.rand(1, 1, 8, 8, 8, requires_grad=True);"
        "loss.l_3d(y, 10 * torch.rand_like(y), window=8).backward();"
        "print(y.grad.abs().sum() > 0)\n"
        "try: loss.snake\nexcept ImportError as error: print(error)"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "tensor(True)" in out.stdout
    assert "snake needs numba: pip install 'neuroconn[topo]'" in out.stdout
