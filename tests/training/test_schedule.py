"""The learning rate of each iteration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.config.train import OptimiserSettings
from neuroconn.training import learning_rate


@given(
    st.floats(1e-6, 1), st.floats(0, 0.1), st.integers(0, 50), st.floats(0, 1), st.integers(0, 999)
)
def test_the_rate_falls_as_the_report_says_between_warm_up_and_cool_down(
    rate: float, decay: float, warmup: int, cooldown: float, iteration: int
) -> None:
    settings = OptimiserSettings(rate=rate, decay=decay, warmup=warmup, cooldown=cooldown)

    found = learning_rate(settings, iteration, 1000)

    expected = rate / (1 + decay * iteration)
    if iteration < warmup:
        expected *= (iteration + 1) / warmup
    if cooldown * 1000 >= 1:
        expected *= min(1, (1000 - iteration) / (cooldown * 1000))
    assert found == pytest.approx(expected)
    assert 0 < found <= rate


@given(st.integers(2, 5000), st.floats(1e-6, 1))
def test_a_cosine_falls_all_the_way_and_is_symmetric_about_its_middle(n: int, rate: float) -> None:
    settings = OptimiserSettings(rate=rate, decay=1.0, schedule="cosine")

    rates = [learning_rate(settings, i, n) for i in range(n + 1)]

    assert rates[0] == pytest.approx(rate)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates == sorted(rates, reverse=True)
    for early, late in zip(rates, reversed(rates), strict=True):
        assert early + late == pytest.approx(rate)


def test_only_a_rate_that_knows_the_end_needs_it() -> None:
    assert not OptimiserSettings(decay=0.5, warmup=9).needs_the_end
    assert OptimiserSettings(cooldown=0.1).needs_the_end
    assert OptimiserSettings(schedule="cosine").needs_the_end
