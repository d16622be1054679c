import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.inference.encoding import Encoding
from neuroconn.metrics import Ranking, average_precision, rank, rank_codes

seeds = st.integers(0, 2**32 - 1)


def slow_ap(distance: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Threshold at every distance, as the definition says."""
    distance = np.where(np.isnan(distance), np.inf, distance).ravel()
    truth, area, before = truth.ravel(), 0.0, 0.0
    for threshold in sorted(set(distance.tolist())):
        taken = distance <= threshold
        recall = (taken & truth).sum() / truth.sum()
        area += (recall - before) * (taken & truth).sum() / taken.sum()
        before = recall
    return float(area)


def case(seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 12, (5, 6, 7)) / 4
    distance[rng.random(distance.shape) < 0.1] = np.nan
    truth = rng.random(distance.shape) < 0.3
    truth[0, 0, 0] = True
    return distance, truth


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_the_area_is_that_of_the_slow_twin(seed: int) -> None:
    distance, truth = case(seed)
    assert average_precision(distance, truth) == pytest.approx(slow_ap(distance, truth), abs=1e-12)


@given(seed=seeds)
@settings(max_examples=40, deadline=None)
def test_blocks_add_up_to_the_whole(seed: int) -> None:
    distance, truth = case(seed)
    whole = rank(distance, truth)

    parts = rank(distance[:2], truth[:2]) + rank(distance[2:], truth[2:])

    assert parts == whole
    assert parts.average_precision == whole.average_precision
    assert Ranking() + whole == whole


@given(seed=seeds, dtype=st.sampled_from(["uint8", "uint16"]))
@settings(max_examples=20, deadline=None)
def test_a_stored_map_is_ranked_exactly(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    encoding = Encoding(dtype, 10.0)  # type: ignore[arg-type]
    codes = encoding.encode(rng.uniform(0, 11, (6, 6, 6)))
    codes[rng.random(codes.shape) < 0.1] = encoding.fill
    truth = rng.random(codes.shape) < 0.3
    table = encoding.decode(np.arange(np.iinfo(dtype).max + 1, dtype=dtype))

    assert rank_codes(codes, truth, table) == rank(encoding.decode(codes), truth)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_precision_and_recall_are_those_of_the_mask(seed: int) -> None:
    distance, truth = case(seed)
    counts = rank(distance, truth)

    for threshold in (0.25, 1.0, 1.1, 99.0):
        mask = distance < threshold
        hits = (mask & truth).sum()
        assert counts.precision(threshold) == pytest.approx(hits / max(mask.sum(), 1))
        assert counts.recall(threshold) == pytest.approx(hits / truth.sum())


def test_hand_cases() -> None:
    truth = np.array([True, True, False, False])

    assert average_precision(np.array([0.0, 1, 2, 3]), truth) == 1
    assert average_precision(np.full(4, 10.0), truth) == 0.5
    assert average_precision(np.array([3.0, 2, 1, 0]), truth) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision(np.array([0.0, np.nan, 5, 5]), truth) == pytest.approx(0.75)


def test_voxels_nobody_judged_are_left_out() -> None:
    distance, truth = case(0)
    judged = np.zeros(distance.shape, bool)
    judged[:3] = True

    assert rank(distance, truth, judged=judged) == rank(distance[:3], truth[:3])


def test_nothing_scores_0() -> None:
    empty, none = np.empty((0, 3, 3)), np.zeros((3, 3), bool)

    assert average_precision(empty, empty.astype(bool)) == 0
    assert average_precision(np.zeros((3, 3)), none) == 0
    assert rank(np.zeros((3, 3)), none).precision(0) == 0
    assert rank(np.zeros((3, 3)), none).recall(1) == 0


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="same voxels"):
        rank(np.zeros(3), np.zeros(4, bool))
    assert Ranking() != 0
