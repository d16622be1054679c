import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.tracing.ridge import ridge_offsets

GRID = np.stack(np.mgrid[:7, :7, :7], axis=-1).astype(float)
CENTRE = np.array([[3, 3, 3]])
share = st.floats(-0.5, 0.5)


def distance_to_line(through: np.ndarray, way: np.ndarray) -> np.ndarray:
    off = GRID - through
    along = off @ way / (way @ way)
    return np.linalg.norm(off - along[..., None] * way, axis=-1)


@given(st.tuples(share, share, share), st.tuples(*[st.integers(-3, 3)] * 3).filter(any))
def test_a_straight_line_is_found_between_the_voxels(
    shift: tuple[float, float, float], way: tuple[int, int, int]
) -> None:
    direction = np.array(way, dtype=float)
    distance = distance_to_line(CENTRE[0] + shift, direction)

    place = CENTRE[0] + ridge_offsets(distance, CENTRE)[0]

    off = place - (CENTRE[0] + shift)
    away = off - (off @ direction) / (direction @ direction) * direction
    assert np.linalg.norm(away) < 1e-6
    assert abs(ridge_offsets(distance, CENTRE)[0] @ direction) < 1e-6  # and not moved along it


def test_past_an_end_the_end_is_found() -> None:
    distance = np.linalg.norm(GRID - (3.3, 2.8, 3.1), axis=-1)

    np.testing.assert_allclose(ridge_offsets(distance, CENTRE)[0], (0.3, -0.2, 0.1), atol=1e-9)


def test_no_voxel_moves_farther_than_one() -> None:
    distance = np.linalg.norm(GRID - (6.0, 3.0, 3.0), axis=-1)

    assert np.linalg.norm(ridge_offsets(distance, CENTRE)) == pytest.approx(1.0)


def test_a_flat_map_moves_nothing() -> None:
    assert not ridge_offsets(np.full((7, 7, 7), 2.0), CENTRE).any()


def test_faces_and_unknown_neighbours_move_nothing() -> None:
    distance = distance_to_line(np.array([3.3, 3.3, 3.3]), np.array([0.0, 0.0, 1.0]))
    distance[2, 3, 3] = np.nan
    voxels = np.array([[3, 3, 3], [0, 3, 3], [3, 3, 6], [4, 3, 3]])

    moved = ridge_offsets(distance, voxels).any(axis=1)

    assert moved.tolist() == [False, False, False, True]


def test_stored_numbers_are_decoded() -> None:
    distance = distance_to_line(np.array([3.2, 3.0, 3.0]), np.array([0.0, 0.0, 1.0]))
    codes = np.rint(distance * 25).astype(np.uint8)

    offset = ridge_offsets(codes, CENTRE, lambda stored: stored.astype(np.float32) / 25)

    np.testing.assert_allclose(offset[0], (0.2, 0, 0), atol=0.02)
