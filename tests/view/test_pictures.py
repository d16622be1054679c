"""Pictures show what the arrays hold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroconn.geometry import ChunkGrid
from neuroconn.view import chunk_map, nearness, projection, save_png, side_by_side, stretch
from neuroconn.view.pictures import COLOURS


def test_a_projection_keeps_the_brightest_voxel_of_each_ray() -> None:
    volume = np.random.default_rng(0).integers(0, 1000, (5, 6, 7))

    for axis in range(3):
        np.testing.assert_array_equal(projection(volume, axis=axis), volume.max(axis))


def test_a_minimum_projection_skips_what_nobody_explored() -> None:
    distance = np.array([[[np.nan, np.nan, 7.0]], [[3.0, np.nan, 2.0]]])

    np.testing.assert_array_equal(projection(distance, minimum=True), [[3.0, np.nan, 2.0]])


def test_stretching_is_monotone_and_spans_black_to_white() -> None:
    picture = stretch(np.linspace(0, 5000, 200).reshape(10, 20))

    assert (picture.min(), picture.max()) == (0, 255)
    assert (np.diff(picture.ravel().astype(int)) >= 0).all()


def test_a_flat_plane_is_black_not_a_crash() -> None:
    assert stretch(np.full((3, 3), 7.0)).max() == 0


def test_the_soft_curve_lifts_dim_values() -> None:
    plane = np.arange(1001.0).reshape(7, 143)

    soft, linear = (stretch(plane, low=0, high=1000, softness=s) for s in (5, 0))

    assert soft[1, 57] > linear[1, 57]


def test_neurites_are_white_far_is_black_and_unexplored_is_blue() -> None:
    picture = nearness(np.array([[0.0, 10.0, 99.0, np.nan]]), clip=10)

    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[0, 1].tolist() == picture[0, 2].tolist() == [0, 0, 0]
    assert picture[0, 3, 2] > picture[0, 3, 0]


def test_the_chunk_map_shows_neurites_over_empty_chunks() -> None:
    grid = ChunkGrid((20, 30, 40), (10, 10, 10))

    picture = chunk_map(grid, {"neurite": [(0, 1, 2)], "empty": [(1, 1, 2), (0, 0, 0)]}, pixels=8)

    assert picture.shape == (24, 32, 3)
    assert tuple(picture[12, 20]) == COLOURS["neurite"]
    assert tuple(picture[4, 4]) == COLOURS["empty"]
    assert tuple(picture[20, 28]) == COLOURS["unexplored"]


def test_pictures_in_a_row_keep_their_pixels() -> None:
    grey, colour = np.full((3, 2), 9, np.uint8), np.full((3, 4, 3), 5, np.uint8)

    row = side_by_side([grey, colour], gap=1)

    assert row.shape == (3, 7, 3)
    assert (row[:, :2] == 9).all()
    assert (row[:, 2] == 255).all()
    assert (row[:, 3:] == 5).all()


def test_pictures_of_different_height_do_not_fit_in_a_row() -> None:
    with pytest.raises(ValueError, match="one height"):
        side_by_side([np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)])


def test_a_saved_picture_reads_back_enlarged(tmp_path: Path) -> None:
    picture = np.array([[0, 255], [128, 3]], np.uint8)

    path = save_png(tmp_path / "a.png", picture, enlarge=3)

    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.kron(picture, np.ones((3, 3))))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
