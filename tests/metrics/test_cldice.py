import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from neuroconn.annotation import Forest, distance_map, render
from neuroconn.geometry import Box
from neuroconn.metrics import ClDice, cldice, skeleton

SHAPE = (16, 20, 24)


def blobs(seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.0) for _ in range(2)]
    return smooth[0] > 0.03, smooth[0] + 0.5 * smooth[1] > 0.04


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_score_is_that_of_the_definition(seed: int) -> None:
    p, g = blobs(seed)
    sp, sg = skeletonize(p) > 0, skeletonize(g) > 0
    precision, sensitivity = (sp * g).sum() / sp.sum(), (sg * p).sum() / sg.sum()

    found = cldice(p, g)

    assert (found.precision, found.sensitivity) == (precision, sensitivity)
    expected = 2 * precision * sensitivity / (precision + sensitivity)
    assert found.score == pytest.approx(expected)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_blocks_add_up_to_the_whole(seed: int) -> None:
    p, g = blobs(seed)
    judged = np.random.default_rng(seed).random(SHAPE) < 0.7
    lines, volume, total = (skeleton(p), skeleton(g)), Box.of_shape(SHAPE), ClDice()

    for core in volume.split((7, 9, 11)):
        total += cldice(
            p, g, predicted_lines=lines[0], true_lines=lines[1], core=core.slices, judged=judged
        )

    assert total == cldice(p, g, judged=judged)


def test_a_gap_costs_sensitivity_and_a_ghost_precision() -> None:
    box = Box.of_shape((20, 30, 100))
    tube = distance_map(render(Forest([[10, 10, 5], [10, 10, 94]], [-1, 0]), box)) < 3
    ghost = distance_map(render(Forest([[10, 22, 5], [10, 22, 94]], [-1, 0]), box)) < 3
    gap = tube.copy()
    gap[:, :, 40:58] = False

    assert cldice(tube, tube).score == 1
    assert cldice(gap, tube).precision == 1
    assert cldice(gap, tube).sensitivity == pytest.approx(0.8, abs=0.02)
    assert cldice(tube | ghost, tube).precision == pytest.approx(0.5, abs=0.02)
    assert cldice(tube | ghost, tube).sensitivity == 1


def test_nothing_scores_0() -> None:
    nothing, tube = np.zeros((2, 9, 9), bool)
    tube[3:6] = True

    for a, b in ((nothing, nothing), (nothing, tube), (tube, nothing)):
        assert cldice(a, b).score == 0
    assert cldice(nothing[:0], nothing[:0]) == ClDice()


def test_masks_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="same voxels"):
        cldice(np.zeros((3, 3), bool), np.zeros((3, 4), bool))
