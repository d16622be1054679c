"""Which weights are the best, and when to stop looking for better ones."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.config.train import TrainSettings
from neuroconn.config.validation import StoppingSettings
from neuroconn.errors import ConfigError
from neuroconn.training.stopping import Best

Settings = Callable[..., TrainSettings]
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(SCORES, st.integers(1, 5))
def test_a_run_stops_when_patience_runs_out_and_not_before(
    scores: list[float], patience: int
) -> None:
    best = Best(StoppingSettings(patience=patience))
    for n, score in enumerate(scores):
        first = scores.index(max(scores[: n + 1]))
        best.judge(score, n)

        assert (best.score, best.iteration) == (scores[first], first)
        assert best.over == (n - first >= patience)


@given(SCORES)
def test_what_falls_is_judged_like_what_rises_turned_over(scores: list[float]) -> None:
    rising = Best(StoppingSettings(metric="quality"))
    falling = Best(StoppingSettings(metric="mse"))

    for n, score in enumerate(scores):
        assert rising.judge(score, n) == falling.judge(-score, n)
    assert rising.iteration == falling.iteration


@given(SCORES, st.integers(0, 20))
def test_a_judge_goes_on_where_it_was(scores: list[float], cut: int) -> None:
    settings = StoppingSettings(patience=3)
    whole, before, after = Best(settings), Best(settings), Best(settings)

    for n, score in enumerate(scores):
        whole.judge(score, n)
    for n, score in enumerate(scores[:cut]):
        before.judge(score, n)
    after.load(before.state())
    for n, score in enumerate(scores[cut:], start=min(cut, len(scores))):
        after.judge(score, n)

    assert after == whole


def test_a_gain_too_small_to_count_does_not() -> None:
    best = Best(StoppingSettings(least=0.1))

    judged = [best.judge(score, n) for n, score in enumerate((0.5, 0.55, 0.65, 0.7))]

    assert judged == [True, False, True, False]


def test_a_score_that_is_no_number_is_never_the_best() -> None:
    best = Best(StoppingSettings(patience=2))

    judged = [best.judge(score, n) for n, score in enumerate((math.nan, 0.1, math.nan, math.nan))]

    assert judged == [False, True, False, False]
    assert best.over


@pytest.mark.parametrize("metric", ["quality", "cldice", "tlts", "betti", "breaks"])
def test_a_score_of_volumes_needs_volumes(tiny: Settings, metric: str) -> None:
    none: dict[str, Any] = {"phantoms": 0}

    with pytest.raises(ConfigError, match=f"stopping.metric {metric} is a score of whole volumes"):
        tiny(volumes=none, stopping={"metric": metric, "patience": 1})
    tiny(volumes=none, stopping={"metric": "mse", "patience": 1})
    tiny(volumes=none, stopping={"metric": metric})
