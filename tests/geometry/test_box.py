"""Boxes of voxels."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.geometry import ZYX, Box

corners = st.tuples(*[st.integers(-8, 8)] * 3)
sizes = st.tuples(*[st.integers(0, 6)] * 3)
blocks = st.tuples(*[st.integers(1, 5)] * 3)


def box(corner: ZYX, size: ZYX) -> Box:
    return Box(corner, tuple(a + n for a, n in zip(corner, size, strict=True)))


boxes = st.builds(box, corners, sizes)


def voxels(b: Box) -> set[ZYX]:
    """The slow twin: every voxel by name."""
    return set(itertools.product(*map(range, b.start, b.stop)))


@given(boxes)
def test_size_counts_the_voxels(b: Box) -> None:
    assert b.size == len(voxels(b)) == np.prod(b.shape)


@given(boxes, boxes)
def test_clip_is_the_intersection(a: Box, b: Box) -> None:
    assert voxels(a.clip(b)) == voxels(a) & voxels(b)


@given(boxes, boxes)
def test_contains_agrees_with_the_voxels(a: Box, b: Box) -> None:
    if b.size:
        assert a.contains(b) == (voxels(b) <= voxels(a))
    for voxel in list(voxels(b))[:5]:
        assert a.contains(voxel) == (voxel in voxels(a))


@given(boxes, st.integers(0, 3))
def test_growing_and_shrinking_back_is_nothing(b: Box, halo: int) -> None:
    grown = b.grow(halo)

    assert grown.contains(b)
    assert grown.grow(-halo) == b


@given(boxes, corners)
def test_a_shift_there_and_back_is_nothing(b: Box, offset: ZYX) -> None:
    back = tuple(-o for o in offset)

    assert b.shift(offset).shift(back) == b
    assert b.shift(offset).shape == b.shape


@given(boxes, blocks)
def test_split_covers_every_voxel_once(b: Box, shape: ZYX) -> None:
    parts = list(b.split(shape))

    covered = [v for part in parts for v in voxels(part)]
    assert len(covered) == len(set(covered))
    assert set(covered) == voxels(b)
    assert all(n <= m for part in parts for n, m in zip(part.shape, shape, strict=True))


@given(sizes, boxes)
def test_within_cuts_the_same_voxels(size: ZYX, b: Box) -> None:
    whole = Box.of_shape(size)
    inner = b.clip(whole)
    labels = np.arange(whole.size).reshape(size)

    cut = labels[inner.within(whole)]

    expected = [labels[v] for v in sorted(voxels(inner))]
    assert cut.ravel().tolist() == expected


def test_within_refuses_an_index_that_would_wrap() -> None:
    with pytest.raises(ValueError, match="is not inside"):
        Box((-1, 0, 0), (2, 2, 2)).within(Box.of_shape((4, 4, 4)))


def test_slices_index_the_whole_volume() -> None:
    b = Box((1, 2, 3), (4, 5, 6))

    assert b.slices == (slice(1, 4), slice(2, 5), slice(3, 6))


def test_a_halo_may_differ_by_axis() -> None:
    assert Box.of_shape((2, 2, 2)).grow((1, 2, 3)) == Box((-1, -2, -3), (3, 4, 5))


@pytest.mark.parametrize("corner", [(0, 0), (0, 0, 0, 0)])
def test_a_box_has_three_axes(corner: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="three axes"):
        Box(corner, corner)


def test_boxes_are_values() -> None:
    import pickle

    b = Box((1, 2, 3), (4, 5, 6))

    assert pickle.loads(pickle.dumps(b)) == b
    assert len({b, Box((1, 2, 3), (4, 5, 6))}) == 1
