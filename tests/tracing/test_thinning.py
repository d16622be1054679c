import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scenes import crowded_map
from scipy import ndimage
from skimage.measure import euler_number

from neuroconn.geometry import Box
from neuroconn.tracing.simple import is_simple
from neuroconn.tracing.thinning import GONE, LINE, OUTSIDE, UNKNOWN, reach, thin

Levels = NDArray[np.uint8]


def betti(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    padded = np.pad(mask, 1)
    b0 = ndimage.label(padded, np.ones((3, 3, 3)))[1]
    b2 = ndimage.label(~padded)[1] - 1
    return b0, b0 + b2 - int(euler_number(padded, connectivity=3)), b2


@st.composite
def levels(draw: st.DrawFn, largest: int = 9) -> Levels:
    shape = draw(st.tuples(*[st.integers(1, largest)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    numbers = rng.integers(0, draw(st.integers(1, 4)), shape, dtype=np.uint8)
    share = draw(st.sampled_from([0.1, 0.3, 0.6, 1.0]))
    return np.where(rng.random(shape) < share, numbers, OUTSIDE).astype(np.uint8)


@given(st.integers(0, 2**27 - 1))
def test_a_voxel_is_simple_if_nothing_changes_without_it(around: int) -> None:
    cube = (around >> np.arange(27) & 1).astype(bool).reshape(3, 3, 3)
    filled, emptied = cube.copy(), cube.copy()
    filled[1, 1, 1], emptied[1, 1, 1] = True, False

    assert is_simple(around) == (betti(filled) == betti(emptied))


@given(levels())
def test_thinning_keeps_components_loops_and_cavities(volume: Levels) -> None:
    state = thin(volume)

    assert set(np.unique(state)) <= {GONE, LINE}
    assert not (state[volume == OUTSIDE] == LINE).any()
    assert betti(state == LINE) == betti(volume != OUTSIDE)


def part_of(volume: Levels, box: Box) -> Levels:
    faces = np.stack([np.greater(box.start, 0), np.less(box.stop, volume.shape)], axis=1)
    start = tuple(a + n for a, n in zip((3, 4, 5), box.start, strict=True))
    return thin(np.ascontiguousarray(volume[box.slices]), start=start, open_faces=faces)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("solid", [False, True])
def test_what_is_known_of_a_part_is_what_thinning_the_whole_gives(seed: int, solid: bool) -> None:
    """Of tubes as of thick clots, where more than a few unknown voxels meet."""
    rng = np.random.default_rng(seed)
    shape = (40, 48, 56)
    distance = crowded_map(shape, seed)
    if solid:
        distance = np.abs(ndimage.gaussian_filter(rng.standard_normal(shape), 2)) * 60
    volume = np.where(distance < 3, distance * 2, OUTSIDE).astype(np.uint8)
    whole = thin(volume, start=(3, 4, 5))
    known = 0
    for _ in range(12):
        start = rng.integers(0, np.array(shape) // 2)
        stop = rng.integers(start + 16, np.array(shape) + 1)
        box = Box(tuple(map(int, start)), tuple(map(int, stop)))
        part = part_of(volume, box)
        sure = part != UNKNOWN
        np.testing.assert_array_equal(part[sure], whole[box.slices][sure])
        known += int((sure & (volume[box.slices] != OUTSIDE)).sum())
    assert known > 1000


@pytest.mark.parametrize("seed", range(3))
def test_little_is_unknown_far_from_an_open_face(seed: int) -> None:
    distance = crowded_map((48, 80, 80), seed)
    volume = np.where(distance < 3, distance * 2, OUTSIDE).astype(np.uint8)

    state = thin(volume, open_faces=np.ones((3, 2), dtype=bool))

    assert (state == UNKNOWN).any()
    inner = (slice(12, -12),) * 3
    assert not (state[inner] == UNKNOWN).any()
    assert reach(6) > 12


def test_what_is_near_a_centreline_outlasts_what_is_far() -> None:
    """A bar whose lowest distances run along one of its edges is thinned to that edge."""
    volume = np.full((7, 7, 20), OUTSIDE, dtype=np.uint8)
    z, y = np.mgrid[:4, :4]
    volume[1:5, 1:5, 1:-1] = (z + y)[:, :, None]

    state = thin(volume)

    assert np.argwhere(state == LINE)[:, :2].max(axis=0).tolist() == [1, 1]


def test_the_line_of_a_tube_is_one_voxel_wide_and_nearly_as_long() -> None:
    distance = np.hypot(*np.mgrid[-5:6, -5:6])[:, :, None] * np.ones(40)
    volume = np.where(distance < 3, distance * 2, OUTSIDE).astype(np.uint8)

    state = thin(volume)

    assert (state[5, 5] == LINE).sum() == (state == LINE).sum() >= 36


def test_nothing_stays_nothing() -> None:
    assert not thin(np.full((3, 4, 5), OUTSIDE, dtype=np.uint8)).any()
