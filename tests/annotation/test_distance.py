import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.annotation import Forest, distance_block, distance_map, render
from neuroconn.geometry import Box

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 1.3, 1.3), (0.7, 1.1, 0.913)]


def forest_of(seed: int) -> Forest:
    rng = np.random.default_rng(seed)
    nodes = rng.uniform(-4, [24, 32, 36], size=(rng.integers(1, 5), 3))
    return Forest(nodes, np.arange(-1, len(nodes) - 1))


@given(
    seed=st.integers(0, 2**32 - 1), halo=st.integers(4, 8), density=st.sampled_from([0.001, 0.01])
)
@settings(max_examples=60, deadline=None)
def test_a_halo_of_clip_hides_the_block_border(seed: int, halo: int, density: float) -> None:
    brain = Box((0, 0, 0), (16, 16, 16))
    centreline = np.random.default_rng(seed).random((16, 16, 16)) < density
    core = Box((4, 8, 0), (8, 16, 8))
    block = core.grow(halo).clip(brain)

    blockwise = distance_map(centreline[block.within(brain)], clip=4)[core.within(block)]

    whole = distance_map(centreline, clip=4)[core.within(brain)]
    np.testing.assert_array_equal(blockwise, whole)


@pytest.mark.parametrize("spacing", SPACINGS)
@given(seed=st.integers(0, 2**32 - 1), clip=st.sampled_from([3.0, 4.5, 10.0]))
@settings(max_examples=25, deadline=None)
def test_blockwise_is_the_whole_bit_for_bit(
    spacing: tuple[float, float, float], seed: int, clip: float
) -> None:
    brain = Box((0, 0, 0), (20, 28, 32))
    forest = forest_of(seed)
    whole = distance_map(render(forest, brain), spacing=spacing, clip=clip)

    for core in brain.split((9, 16, 13)):
        block = distance_block(forest, core, spacing=spacing, clip=clip, volume=brain)
        np.testing.assert_array_equal(block, whole[core.within(brain)])


@pytest.mark.parametrize("spacing", SPACINGS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_map_is_scipys(spacing: tuple[float, float, float], seed: int) -> None:
    centreline: NDArray[np.bool_] = np.random.default_rng(seed).random((9, 12, 14)) < 0.01
    centreline[4, 4, 4] = True

    ours = distance_map(centreline, spacing=spacing, clip=5.0)

    theirs = np.minimum(ndimage.distance_transform_edt(~centreline, sampling=spacing), 5.0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert ours.dtype == np.float32


def test_a_neurite_just_outside_the_block_is_seen() -> None:
    forest = Forest([[0, 8, -3], [15, 8, -3]], [-1, 0])

    distance = distance_block(forest, Box((0, 0, 0), (16, 16, 16)))

    assert distance[:, 8, 0].tolist() == [3.0] * 16


def test_outside_the_volume_there_are_no_neurites() -> None:
    forest = Forest([[0, 8, -3], [15, 8, -3]], [-1, 0])
    box = Box((0, 0, 0), (16, 16, 16))

    assert (distance_block(forest, box, volume=box) == 10).all()


def test_without_a_neurite_the_map_is_flat() -> None:
    assert (distance_map(np.zeros((3, 4, 5), dtype=bool), clip=7.5) == 7.5).all()
    assert distance_map(np.zeros((0, 4, 5), dtype=bool)).shape == (0, 4, 5)


def test_a_crop_that_is_not_contiguous_is_measured_right() -> None:
    centreline = np.zeros((8, 8, 8), dtype=bool)
    centreline[2, 3, 4] = True

    turned = distance_map(centreline.transpose(2, 0, 1))

    np.testing.assert_array_equal(turned, distance_map(centreline).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 4), {}), ((4, 4, 4), {"clip": 0}), ((4, 4, 4), {"spacing": (1, 0, 1)})],
)
def test_what_has_no_distance_is_refused(
    shape: tuple[int, ...], options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="must be"):
        distance_map(np.zeros(shape, dtype=bool), **options)  # type: ignore[arg-type]
