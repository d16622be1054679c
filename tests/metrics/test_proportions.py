"""Intervals of shares, against published ones and by how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.metrics.proportions import paired_difference, wilson


def table(both: int, one: int, other: int, neither: int) -> tuple[NDArray[np.bool_], ...]:
    counts = [both, one, other, neither]
    return np.repeat([1, 1, 0, 0], counts) > 0, np.repeat([1, 0, 1, 0], counts) > 0


@pytest.mark.parametrize(
    ("counts", "interval"),
    [  # Newcombe 1998, table IV, method 10
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((20, 12, 2, 16), (0.0562, 0.3292)),
        ((36, 14, 0, 0), (0.1528, 0.4167)),
    ],
)
def test_published_intervals_of_differences(
    counts: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    assert paired_difference(*table(*counts)) == pytest.approx(interval, abs=1e-4)


def test_published_intervals_of_shares() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.tuples(*[st.integers(0, 60)] * 4))
def test_the_other_way_round_the_difference_changes_its_sign(
    counts: tuple[int, int, int, int],
) -> None:
    first, second = table(*counts)

    low, high = paired_difference(first, second)

    assert paired_difference(second, first) == pytest.approx((-high, -low), abs=1e-9)
    if sum(counts):
        assert low - 1e-9 <= first.mean() - second.mean() <= high + 1e-9


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    shares, held = [0.55, 0.35, 0.05, 0.05], 0

    for _ in range(400):
        kind = rng.choice(4, size=200, p=shares)
        low, high = paired_difference((kind == 0) | (kind == 1), (kind == 0) | (kind == 2))
        held += low <= shares[1] - shares[2] <= high

    assert 0.92 <= held / 400 <= 0.98
