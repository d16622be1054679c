"""Which losses take part, when, and with which options."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuroconn.loss
from neuroconn.annotation import Graph
from neuroconn.config.loss import LossSettings
from neuroconn.errors import ConfigError
from neuroconn.loss import Objective, Term, build_objective, l_2d, l_3d, l_conn, mse
from neuroconn.loss.objective import TERMS

HALF_DIAGONAL = 3**0.5 / 2


def build(data: Any, *, crop: tuple[int, int, int] | None = None) -> Objective:
    return build_objective(LossSettings.model_validate(data), clip=10, crop=crop)


def maps(side: int = 48) -> tuple[Tensor, Tensor]:
    away = torch.arange(side, dtype=torch.float32).sub(side / 2).abs()
    target = (
        torch.maximum(away[:, None, None], away[:, None]).clamp(max=10).repeat(1, 1, 1, 1, side)
    )
    return (target + 1).requires_grad_(), target


class Counting(Term):
    """The mean of the prediction; counts its calls."""

    def __init__(self, wants_graph: bool = False) -> None:
        super().__init__()
        self.wants_graph = wants_graph
        self.calls: list[Any] = []

    def prepare(self, distance: Any, graph: Graph | None) -> Any:
        return float(distance.sum())

    def forward(self, prediction: Tensor, target: Tensor, prepared: Any = None) -> Tensor:
        self.calls.append(prepared)
        return prediction.mean()


def counting(data: Any) -> tuple[Objective, list[Counting]]:
    settings = LossSettings.model_validate(data)
    terms = [Counting() for _ in settings.terms]
    return Objective(settings, terms), terms


def test_terms_join_and_leave_in_time_and_cost_nothing_before_and_after() -> None:
    objective, (first, late, short) = counting(
        {"mse": {}, "l_conn": {"start": 2, "weight": 3.0}, "huber": {"stop": 3}}
    )
    y, t = torch.full((2, 1, 1, 1, 1, 1), 2.0)

    found = [objective(y, t, iteration=i) for i in range(5)]

    assert [float(total) for total, _ in found] == [4, 4, 10, 8, 8]
    assert [sorted(values) for _, values in found[1:4]] == [
        ["huber", "mse"],
        ["huber", "l_conn", "mse"],
        ["l_conn", "mse"],
    ]
    assert all(value == 2 for _, values in found for value in values.values())
    assert [len(term.calls) for term in (first, late, short)] == [5, 3, 3]


def test_each_term_gets_back_what_it_prepared_for_each_crop() -> None:
    objective, (first, late) = counting({"mse": {}, "huber": {"start": 5}})
    crops = np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2)
    y = torch.ones(2, 1, 2, 2, 2)

    prepared = [objective.prepare(crop, None) for crop in crops]
    objective(y, y, prepared, iteration=5)

    assert first.calls == late.calls == [[28.0, 92.0]]
    assert objective.prepare(crops[0], None, iteration=4) == (28.0, None)
    assert objective.prepare(crops[0], None, iteration=5) == (28.0, 28.0)


def test_what_is_known_in_places_only_is_for_terms_of_single_voxels() -> None:
    objective, (first, late) = counting({"mse": {}, "huber": {}})
    first.pointwise = True
    crops = np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2)
    y = torch.stack([torch.ones(1, 2, 2, 2), 3 * torch.ones(1, 2, 2, 2)])
    some = [objective.prepare(c, None, whole=w) for c, w in zip(crops, (False, True), strict=True)]
    none = [objective.prepare(crop, None, whole=False) for crop in crops]

    total, values = objective(y, y, some, iteration=0)

    assert first.calls == [[28.0, 92.0]]
    assert late.calls == [[92.0]]
    assert {k: float(v) for k, v in values.items()} == {"mse": 2, "huber": 3}
    assert float(total) == 5
    total, values = objective(y, y, none, iteration=0)
    assert {k: float(v) for k, v in values.items()} == {"mse": 2, "huber": 0}
    assert len(late.calls) == 1


def test_a_weight_of_0_reports_a_term_without_learning_from_it() -> None:
    objective = build({"mse": {}, "l_conn": {"weight": 0}})
    y, t = maps()

    total, values = objective(y, t, iteration=0)
    total.backward()

    torch.testing.assert_close(total.detach(), mse(y, t).detach())
    assert values["l_conn"] > 0
    assert not values["l_conn"].requires_grad
    torch.testing.assert_close(y.grad, 2 * (y - t).detach() / y.numel())


def test_the_total_is_the_weighted_sum_and_the_values_are_not_weighted() -> None:
    y, t = maps()
    objective = build({"mse": {"weight": 0.5}, "l_3d": {"weight": 2, "options": {"alpha": 3}}})

    total, values = objective(y, t, iteration=0)

    expected = l_3d(y, t, alpha=3, centreline=HALF_DIAGONAL)
    torch.testing.assert_close(values, {"mse": mse(y, t).detach(), "l_3d": expected.detach()})
    torch.testing.assert_close(total, 0.5 * mse(y, t) + 2 * expected)


def test_half_precision_is_learnt_from_in_single() -> None:
    objective = build("mse")
    y, t = maps()

    total, _ = objective(y.half(), t, iteration=0)

    assert total.dtype == torch.float32


@pytest.mark.parametrize("name", ["l_conn", "l_3d", "l_2d"])
def test_what_the_loader_prepares_changes_nothing_but_the_time_it_takes(name: str) -> None:
    objective = build({name: {"options": {"window": 24}}})
    y, t = maps()

    prepared = [objective.prepare(t[0, 0].numpy(), None)]

    assert objective(y, t, prepared, iteration=0)[0] == objective(y, t, iteration=0)[0]


def test_targets_may_be_traced_in_projections_if_every_term_takes_them() -> None:
    y, t = maps()
    views = [t.amin(axis) for axis in (2, 3, 4)]
    objective = build("l_2d")

    prepared = [objective.prepare([view[0, 0].numpy() for view in views], None)]

    expected = l_2d(y, t, centreline=HALF_DIAGONAL)
    assert objective(y, views, prepared, iteration=0)[0] == expected
    with pytest.raises(ConfigError, match="mse needs a target in space"):
        build({"mse": {}, "l_2d": {}})(y, views, iteration=0)


def test_the_clip_of_the_run_is_that_of_every_term_unless_it_has_one() -> None:
    settings = LossSettings.model_validate(
        {"l_conn": {}, "l_3d": {"options": {"clip": 12.0, "high": 11.0}}}
    )

    conn, space = build_objective(settings, clip=15).terms

    assert conn.rules.thresholds == (7.5, 15)
    assert space.rules.thresholds == (6, 11)
    assert conn.rules.centreline == pytest.approx(HALF_DIAGONAL)


def test_gaps_are_felt_where_the_line_runs_between_voxels() -> None:
    target = (maps()[1] + 0.4).clamp(max=10)
    gap = target.clone()
    gap[..., 20:26] = 10
    options = {"disconnection": 1.0, "false_connection": 0.0}

    found = build({"l_conn": {"options": options}})(gap, target, iteration=0)[0]

    assert found > 100
    assert l_conn(gap, target, **options) == 0


@pytest.mark.parametrize("name", TERMS)
def test_every_name_of_the_settings_is_built_and_has_a_public_function(name: str) -> None:
    objective = build(name, crop=(96, 96, 96))

    (term,) = objective.terms
    assert isinstance(term, Term)
    assert callable(getattr(neuroconn.loss, name))
    assert type(term) in {getattr(neuroconn.loss, public) for public in neuroconn.loss.__all__}


def test_graphs_are_wanted_where_a_snake_is() -> None:
    assert not build({"mse": {}, "l_conn": {}}).wants_graph
    assert build({"mse": {}, "snake": {}}).wants_graph


@pytest.mark.parametrize(
    ("data", "crop", "why"),
    [
        ({"l_conn": {"options": {"windw": 32}}}, None, r"loss\.l_conn\.options: unknown key "
         r"'windw' \(known: axes, window, clip, .*centreline\)"),
        ({"l_3d": {"options": {"alfa": 1}}}, None, r"'alfa' \(known: alpha, axes, window"),
        ({"mse": {"options": {"delta": 1}}}, None, r"loss\.mse\.options: unknown key 'delta'"),
        ({"huber": {"options": {"dleta": 1}}}, None, r"unknown key 'dleta' \(known: delta\)"),
        ({"huber": {"options": {"delta": 0}}}, None, r"loss\.huber: delta must be above 0, got 0"),
        ({"l_conn": {"options": {"window": "wide"}}}, None, r"window: .*integer.*\(got 'wide'\)"),
        ({"l_conn": {"options": {"mode": "robot"}}}, None, r"mode: .*'robust' or 'reference'"),
        ({"l_conn": {"options": {"axes": [0, 3]}}}, None, r"loss\.l_conn: axes must be some of"),
        ({"l_conn": {"options": {"low": 11}}}, None, r"loss\.l_conn: thresholds must keep"),
        ("l_3d", (96, 96, 64), r"loss\.l_3d: windows of 48 pixels do not divide a map of 96 x 64: "
         r"take 32"),
    ],
)  # fmt: skip
def test_what_a_term_does_not_take_is_named_before_training(
    data: Any, crop: tuple[int, int, int] | None, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        build(data, crop=crop)

    assert "\n" not in str(caught.value)


def test_a_crop_that_windows_divide_is_taken() -> None:
    build({"l_conn": {"options": {"axes": [0], "window": 32}}}, crop=(50, 64, 96))


def test_the_objective_is_a_module_that_holds_no_weights() -> None:
    objective = build({"mse": {}, "l_conn": {}})

    assert isinstance(objective, nn.Module)
    assert not objective.state_dict()
