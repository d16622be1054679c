"""Random numbers that are pure functions of a position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neuroconn.phantom.hashing import QUANTILES, chain, mix, normal, start, uniform, uniforms

WORD = (1 << 64) - 1
GOLDEN, A, B = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def slow_mix(v: int) -> int:
    """The finaliser of splitmix64 in plain integers."""
    v = ((v ^ (v >> 30)) * A) & WORD
    v = ((v ^ (v >> 27)) * B) & WORD
    return v ^ (v >> 31)


def slow_uniform(seed: int, stream: int, *place: int) -> float:
    state = slow_mix((seed * GOLDEN + stream * A + B) & WORD)
    for coordinate in place:
        state = slow_mix((state + coordinate * GOLDEN + A) & WORD)
    return ((state >> 11) + 0.5) / (1 << 53)


def test_mix_is_splitmix64() -> None:
    # First numbers of Java's SplittableRandom(0).
    assert int(mix(np.uint64(GOLDEN))) == 0xE220A8397B1DCDAF
    assert int(mix(np.uint64(2 * GOLDEN & WORD))) == 0x6E789E6AA1B965F4


@given(st.integers(0, 2**62), st.integers(0, 10**6), st.tuples(*[st.integers(-(2**40), 2**40)] * 2))
def test_the_compiled_hash_equals_the_slow_one(
    seed: int, stream: int, place: tuple[int, int]
) -> None:
    state = start(seed, stream)
    for coordinate in place:
        state = chain(np.uint64(state), coordinate)

    value = uniform(np.uint64(state))

    assert value == slow_uniform(seed, stream, *place)
    assert 0 < value <= 1
    (batch,) = uniforms(seed, stream, np.array([place[0]]), np.array([place[1]]))
    assert batch == value


def test_a_uniform_does_not_depend_on_its_company() -> None:
    a, b = np.arange(50), np.arange(50)[::-1].copy()

    whole = uniforms(3, 4, a, b)

    np.testing.assert_array_equal(uniforms(3, 4, a[::-3].copy(), b[::-3].copy()), whole[::-3])


def test_uniforms_are_uniform_and_streams_are_independent() -> None:
    z, y = np.divmod(np.arange(40_000), 200)
    one, other = uniforms(1, 1, z, y), uniforms(1, 2, z, y)

    assert stats.kstest(one, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.02


def test_normal_is_the_inverse_of_the_normal_distribution() -> None:
    for p in (0.001, 0.02, 0.31, 0.5, 0.77, 0.995):
        assert normal(p, QUANTILES) == pytest.approx(stats.norm.ppf(p), abs=5e-3)


def test_the_ends_of_the_quantile_table_are_finite() -> None:
    assert np.isfinite(QUANTILES).all()
    assert normal(1.0, QUANTILES) == QUANTILES[-1]
    assert normal(0.0, QUANTILES) == QUANTILES[0] == -QUANTILES[-1]
