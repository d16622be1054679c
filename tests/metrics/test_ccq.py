import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.metrics import CCQ, ccq


def line(y: int, shape: tuple[int, ...] = (3, 12, 100), stop: int = 100) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[..., y, :stop] = True
    return mask


def scores(result: CCQ) -> tuple[float, float, float]:
    return result.correctness, result.completeness, result.quality


def slow_ccq(prediction: NDArray[np.bool_], truth: NDArray[np.bool_], slack: float) -> CCQ:
    """Compare every voxel with every other."""
    p, t = np.argwhere(prediction), np.argwhere(truth)
    apart = np.sqrt(((p[:, None] - t[None]) ** 2).sum(axis=-1))
    near = apart <= slack
    return CCQ(len(p), int(near.any(axis=1).sum()), len(t), int(near.any(axis=0).sum()))


@pytest.mark.parametrize("shape", [(12, 100), (1, 12, 100)], ids=["2D", "3D"])
def test_hand_cases(shape: tuple[int, ...]) -> None:
    truth = line(3, shape)

    assert scores(ccq(truth, truth)) == (1, 1, 1)
    assert scores(ccq(line(6, shape), truth)) == (1, 1, 1)
    assert scores(ccq(line(7, shape), truth)) == (0, 0, 0)
    assert scores(ccq(line(3, shape, stop=50), truth)) == (1, 0.53, 0.53)


def test_nothing_scores_0_and_never_fails() -> None:
    truth, nothing = line(3), np.zeros((3, 12, 100), dtype=bool)

    assert scores(ccq(nothing, nothing)) == (0, 0, 0)
    assert scores(ccq(nothing, truth)) == (0, 0, 0)
    assert scores(ccq(truth, nothing)) == (0, 0, 0)
    assert ccq(np.zeros((0, 4, 4), dtype=bool), np.zeros((0, 4, 4), dtype=bool)) == CCQ()


def test_quality_follows_from_the_other_two() -> None:
    counts = CCQ(predicted=10, correct=8, truth=10, found=5)
    assert counts.quality == pytest.approx(0.5 * 0.8 / (0.5 - 0.4 + 0.8))


@given(seed=st.integers(0, 2**32 - 1), slack=st.sampled_from([0, 1, 1.5, 3, 5]))
@settings(max_examples=50, deadline=None)
def test_the_counts_are_those_of_the_slow_twin(seed: int, slack: float) -> None:
    prediction, truth = np.random.default_rng(seed).random((2, 7, 9, 11)) < 0.02
    assert ccq(prediction, truth, slack=slack) == slow_ccq(prediction, truth, slack)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_swapping_the_sides_swaps_correctness_and_completeness(seed: int) -> None:
    a, b = np.random.default_rng(seed).random((2, 7, 9, 11)) < 0.02
    one, other = ccq(a, b), ccq(b, a)
    assert (one.correctness, one.completeness) == (other.completeness, other.correctness)


@given(seed=st.integers(0, 2**32 - 1), slack=st.sampled_from([0.0, 2.0, 3.0]))
@settings(max_examples=30, deadline=None)
def test_blocks_with_a_halo_of_slack_add_up_to_the_whole(seed: int, slack: float) -> None:
    rng = np.random.default_rng(seed)
    prediction, truth = rng.random((2, 12, 14, 17)) < 0.02
    judged = rng.random((12, 14, 17)) < 0.7
    volume, total = Box.of_shape((12, 14, 17)), CCQ()

    for core in volume.split((5, 7, 6)):
        block = core.grow(int(slack)).clip(volume)
        parts = (array[block.slices] for array in (prediction, truth, judged))
        p, t, j = parts
        total += ccq(p, t, slack=slack, core=core.within(block), judged=j)

    assert total == ccq(prediction, truth, slack=slack, judged=judged)


def test_slack_is_in_the_unit_of_the_spacing() -> None:
    truth = line(3, (12, 100))
    aside = line(5, (12, 100))

    assert ccq(aside, truth, slack=3, spacing=(1.5, 1)).quality == 1
    assert ccq(aside, truth, slack=3, spacing=(1.6, 1)).quality == 0


def test_unlabelled_voxels_are_neither_right_nor_wrong() -> None:
    truth, wrong = line(1, (12, 100)), line(1, (12, 100)) | line(9, (12, 100))
    judged = np.ones((12, 100), dtype=bool)
    judged[9, :60] = False

    counts = ccq(wrong, truth, judged=judged)

    assert (counts.predicted, counts.correct, counts.found) == (140, 100, 100)


def test_what_cannot_be_compared_is_refused() -> None:
    for options in ({"slack": -1}, {"slack": float("nan")}, {"spacing": (1, 1)}):
        with pytest.raises(ValueError, match=r"slack|spacing"):
            ccq(line(3), line(3), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same voxels"):
        ccq(line(3), line(3)[:1])
