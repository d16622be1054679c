import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.geometry import ZYX, Box
from neuroconn.metrics import Segments, segments_at

SHAPE = (14, 17, 19)


def slow(mask: NDArray[np.bool_], points: NDArray[np.float64], slack: float) -> list[int]:
    """Label the whole, then look at every voxel for every point; ids by first appearance."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    voxels, seen, ids = np.argwhere(mask), {0: 0}, []
    for point in np.floor(points + 0.5):
        square = ((voxels - point) ** 2).sum(axis=1)
        best = 0
        if len(voxels) and square.min() <= slack**2:
            best = int(labels[tuple(voxels[square.argmin()])])  # ties: the first in array order
        ids.append(seen.setdefault(best, len(seen)))
    return ids


def blockwise(
    mask: NDArray[np.bool_], points: NDArray[np.float64], slack: float, size: ZYX
) -> NDArray[np.int64]:
    z, y, x = mask.shape
    volume = Box.of_shape((z, y, x))
    segments = Segments(points, volume.shape, slack=slack)
    cores = list(volume.split(size))
    for n in np.random.default_rng(0).permutation(len(cores)):
        block = cores[n].grow(segments.halo).clip(volume)
        segments.add(mask[block.slices], block, cores[n])
    return segments.ids()


@given(
    seed=st.integers(0, 2**32 - 1),
    slack=st.sampled_from([0.0, 1.0, 2.5, 3.0]),
    density=st.sampled_from([0.01, 0.05, 0.15]),
)
@settings(max_examples=40, deadline=None)
def test_points_get_the_components_of_the_slow_twin(
    seed: int, slack: float, density: float
) -> None:
    rng = np.random.default_rng(seed)
    mask, points = rng.random(SHAPE) < density, rng.uniform(-4, 23, (40, 3))

    assert segments_at(mask, points, slack=slack).tolist() == slow(mask, points, slack)


@given(
    seed=st.integers(0, 2**32 - 1),
    slack=st.sampled_from([0.0, 1.7, 3.0]),
    size=st.tuples(*[st.integers(1, 20)] * 3),
    density=st.sampled_from([0.02, 0.1, 0.2]),
)
@settings(max_examples=40, deadline=None)
def test_blocks_of_any_size_in_any_order_give_the_components_of_the_whole(
    seed: int, slack: float, size: ZYX, density: float
) -> None:
    rng = np.random.default_rng(seed)
    mask, points = rng.random(SHAPE) < density, rng.uniform(-4, 23, (40, 3))

    blocks = blockwise(mask, points, slack, size)

    np.testing.assert_array_equal(blocks, segments_at(mask, points, slack=slack))


def test_a_snake_through_all_blocks_is_one_piece() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[0, ::2] = True
    for y in range(1, 9, 2):
        mask[0, y, 0 if y % 4 == 3 else -1] = True

    points = np.argwhere(mask).astype(float)

    assert set(blockwise(mask, points, 0.0, (2, 1, 3))) == {1}


def test_voxels_at_a_corner_are_connected_across_blocks() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1, 1, 2] = mask[2, 2, 1] = True

    found = blockwise(mask, np.array([[1.0, 1, 2], [2, 2, 1]]), 0.0, (2, 2, 2))

    assert found.tolist() == [1, 1]


def test_nothing_has_no_component() -> None:
    points = np.zeros((3, 3))
    for shape in ((0, 3, 3), (3, 3, 3)):
        assert segments_at(np.zeros(shape, dtype=bool), points, slack=2).tolist() == [0, 0, 0]
    assert segments_at(np.ones((3, 3, 3), dtype=bool), np.empty((0, 3))).tolist() == []


def test_a_block_without_its_halo_is_refused() -> None:
    segments = Segments(np.zeros((1, 3)), (8, 8, 8), slack=2)
    core = Box((0, 0, 0), (4, 8, 8))

    with pytest.raises(ValueError, match="less than 4 voxels"):
        segments.add(np.zeros((7, 8, 8), bool), Box((0, 0, 0), (7, 8, 8)), core)
    with pytest.raises(ValueError, match="slack"):
        Segments(np.zeros((1, 3)), (8, 8, 8), slack=-1)
