"""What little is known of real tissue, as bounds of the distance."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from neuroconn.annotation import distance_map
from neuroconn.metrics.skeleton import skeleton
from neuroconn.training.bounds import Bounds, bounds_of_map, bounds_of_plane
from neuroconn.training.mirror import mirror_faces
from neuroconn.training.sample import Batch, Sample
from neuroconn.training.targets import targets

SHAPE = (20, 24, 40)


def line(y: int, first: int, last: int) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[10, y, first:last] = True
    return mask


def read(distance: NDArray[np.float32]) -> Bounds:
    return bounds_of_map(distance, clip=10, sure=3.0, shortest=12)


def test_a_long_line_of_the_map_is_a_neurite_and_its_distance_is_known() -> None:
    truth = distance_map(line(12, 0, 40), clip=10)
    bounds = read(truth)
    near = truth < 8
    np.testing.assert_allclose(bounds.low[near], bounds.high[near])
    np.testing.assert_allclose(bounds.high[near], truth[near], atol=2.5)  # thinning shortens ends


def test_a_speck_of_the_map_may_be_a_neurite_or_none() -> None:
    bounds = read(distance_map(line(12, 18, 23), clip=10))
    assert bounds.high.min() == 10
    assert bounds.low[10, 12, 20] < 2


def test_a_dip_of_the_map_above_what_is_sure_may_be_a_neurite() -> None:
    bounds = read(distance_map(line(12, 0, 40), clip=10) / np.float32(2) + np.float32(4))
    assert bounds.high.min() == 10
    assert bounds.low[10, 12, 20] < 2


def test_a_flat_map_says_that_there_is_no_neurite() -> None:
    bounds = read(np.full(SHAPE, 9.5, np.float32))
    assert bounds.low.min() == bounds.high.min() == 10


def test_low_never_lies_above_high() -> None:
    noise = np.random.default_rng(0).uniform(0, 10, SHAPE).astype(np.float32)
    bounds = read(noise)
    assert (bounds.low <= bounds.high).all()


def test_a_labelled_plane_bounds_near_lines_from_above_and_background_from_below() -> None:
    label = np.zeros((24, 40), np.uint8)
    label[:20] = 1
    label[8:11, 5:35] = 2
    low, high = bounds_of_plane(label, neurite=2, background=1, clip=10)
    thin = skeleton(label == 2)
    assert (high[thin] == 1).all()
    assert (low[label != 1] == 0).all()
    assert low[2, 20] == 4
    assert low[11, 20] == 1
    assert (high[0] == 10).all()
    assert (low[21:] == 0).all()
    assert (high[21:] == 10).all()
    assert (low <= high).all()


def test_of_two_neurites_the_nearer_counts() -> None:
    known = Bounds.exact(distance_map(line(4, 0, 40), clip=10))
    other = distance_map(line(18, 0, 40), clip=10)
    both = distance_map(line(4, 0, 40) | line(18, 0, 40), clip=10)
    np.testing.assert_array_equal(known.beside(other).high, both)
    np.testing.assert_array_equal(known.beside(other).low, both)


@pytest.mark.parametrize("seed", range(20))
def test_faces_are_mirrored_as_numpy_pads_by_reflection(seed: int) -> None:
    image = np.random.default_rng(seed).random((16, 18, 20), np.float32)
    mirrored, outside = mirror_faces(image, np.random.default_rng(seed))
    rest = [tuple(i for i in range(3) if i != axis) for axis in range(3)]
    inside = [np.flatnonzero(~outside.all(axis=others)) for others in rest]
    faces = tuple(slice(int(i[0]), int(i[-1]) + 1) for i in inside)
    padding = [(f.start, n - f.stop) for f, n in zip(faces, image.shape, strict=True)]
    assert any(before or after for before, after in padding)
    assert not outside[faces].any()
    np.testing.assert_array_equal(mirrored, np.pad(mirrored[faces], padding, mode="reflect"))


@pytest.mark.parametrize("seed", range(10))
def test_rims_are_two_voxels_deep_and_only_add_light(seed: int) -> None:
    image = np.random.default_rng(seed).random((24, 24, 24), np.float32)
    mirrored, outside = mirror_faces(image, np.random.default_rng(seed))
    added = np.where(outside, 0, mirrored - image)
    assert (added >= 0).all()
    deep = distance_map(outside, clip=10)
    assert not added[deep > 2].any()


def batch(bounds: Bounds | None) -> Batch:
    distance = distance_map(line(12, 0, 40), clip=10)
    low = distance if bounds is None else bounds.low
    exact = Sample(distance, distance)
    return Batch.of([Sample(distance, low, bounds=bounds), exact])


def test_targets_of_known_distances_are_these_and_all_weigh_the_same() -> None:
    known = batch(None)
    target, extra = targets(torch.zeros_like(known.distances), known, near=0.0)
    assert target is known.distances
    assert extra is None


def test_targets_of_bounds_follow_the_prediction_between_them() -> None:
    distance = distance_map(line(12, 0, 40), clip=10)
    everything = np.ones(SHAPE, bool)
    mixed = batch(Bounds.exact(distance).without(everything))
    prediction = torch.full_like(mixed.distances, 4.0)
    target, extra = targets(prediction, mixed, near=0.0)
    assert (target[0] == 4).all()
    torch.testing.assert_close(target[1, 0], torch.from_numpy(distance))
    assert extra is not None
    assert (extra == 0).all()


def test_voxels_near_a_neurite_weigh_more_on_top_of_their_own_weight() -> None:
    distance = distance_map(line(12, 0, 40), clip=10)
    heavy = batch(Bounds(distance, distance, np.full(SHAPE, 16, np.float32)))
    _, extra = targets(torch.zeros_like(heavy.distances), heavy, near=1.5)
    assert extra is not None
    near = torch.from_numpy(distance < 3)
    assert (extra[0, 0][near] == 16 * 2.5 - 1).all()
    assert (extra[0, 0][~near] == 15).all()
    assert (extra[1, 0][near] == 1.5).all()
    assert (extra[1, 0][~near] == 0).all()


def test_bounds_are_closed_where_nothing_is_open() -> None:
    known = Bounds.exact(distance_map(line(12, 0, 40), clip=10))
    open_somewhere = known.without(line(12, 3, 4))

    assert known.closed
    assert known.beside(distance_map(line(5, 0, 40), clip=10)).closed
    assert not open_somewhere.closed
