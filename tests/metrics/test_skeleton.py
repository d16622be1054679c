import numpy as np
import pytest
from scipy import ndimage

from neuroconn.annotation import Forest, distance_map, render
from neuroconn.geometry import Box
from neuroconn.metrics import ccq, centreline_ccq, skeleton

BOX = Box((0, 0, 0), (24, 40, 60))
CROSS = Forest([[12, 20, 4], [12, 20, 55], [4, 6, 30], [20, 34, 30]], [-1, 0, -1, 2])


def test_a_tube_is_thinned_to_its_centreline() -> None:
    line = render(CROSS, BOX)
    tube = distance_map(line) < 3

    thin = skeleton(tube)

    assert 0 < thin.sum() < tube.sum() / 5
    assert ccq(thin, line, slack=2).quality > 0.95
    assert ndimage.label(thin, np.ones((3, 3, 3)))[1] == 1


def test_an_empty_mask_has_an_empty_skeleton() -> None:
    for shape in ((5, 6, 7), (6, 7), (0, 4, 4)):
        assert not skeleton(np.zeros(shape, dtype=bool)).any()


def test_one_plane_is_thinned_as_a_picture() -> None:
    picture = np.random.default_rng(0).random((40, 40)) < 0.7
    np.testing.assert_array_equal(skeleton(picture[None])[0], skeleton(picture))


def test_empty_space_around_a_mask_changes_nothing() -> None:
    blob = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(20, 20, 20)), 2) > 0.02

    padded = skeleton(np.pad(blob, 7))

    np.testing.assert_array_equal(padded[7:-7, 7:-7, 7:-7], skeleton(blob))


def test_a_mask_has_two_or_three_axes() -> None:
    with pytest.raises(ValueError, match="mask"):
        skeleton(np.zeros(5, dtype=bool))


def test_the_mask_of_the_truth_scores_1_against_its_distance() -> None:
    distance = distance_map(render(CROSS, BOX))
    assert centreline_ccq(distance < 3, distance).quality > 0.99


def test_half_a_neurite_is_precise_and_half_complete() -> None:
    distance = np.abs(np.arange(31.0) - 15)[None, :, None] * np.ones((31, 1, 100))
    distance = np.hypot(distance, np.abs(np.arange(31.0) - 15)[:, None, None])
    mask = distance < 3
    mask[..., 50:] = False

    counts = centreline_ccq(mask, distance)

    assert counts.truth == 100
    assert counts.correctness == 1.0
    assert 0.45 < counts.completeness < 0.55


def test_a_line_beside_the_truth_is_neither_precise_nor_complete() -> None:
    distance = np.broadcast_to(np.arange(40.0)[:, None, None], (40, 1, 50))
    mask = np.zeros((40, 1, 50), dtype=bool)
    mask[4] = True

    assert centreline_ccq(mask, distance, tolerance=3).quality == 0
    assert centreline_ccq(mask, distance, tolerance=4).quality > 0.9


def test_nothing_predicted_and_nothing_true_score_0() -> None:
    far, nothing = np.full((5, 5, 5), 10.0), np.zeros((5, 5, 5), dtype=bool)

    assert centreline_ccq(nothing, far).quality == 0
    assert centreline_ccq(~nothing, far).predicted > 0
    assert centreline_ccq(nothing, 0 * far).completeness == 0


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        centreline_ccq(np.zeros((3, 3, 3), dtype=bool), np.zeros((3, 3, 4)))
    with pytest.raises(ValueError, match="tolerance"):
        centreline_ccq(np.zeros((3, 3, 3), dtype=bool), np.zeros((3, 3, 3)), tolerance=0.1)
