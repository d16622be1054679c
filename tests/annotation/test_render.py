import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.annotation import Forest, neurite_voxels, read_forest, read_swc, render
from neuroconn.errors import AnnotationError
from neuroconn.geometry import Box, Frame

EVERYWHERE = np.ones((3, 3, 3))
# halves too: where rounding has to choose
coordinate = st.floats(-6, 30, allow_nan=False) | st.integers(-12, 60).map(lambda n: n / 2)
point = st.tuples(coordinate, coordinate, coordinate)
HALL = Box((-8, -8, -8), (33, 33, 33))


@st.composite
def chains(draw: st.DrawFn) -> Forest:
    nodes = draw(st.lists(point, min_size=1, max_size=6))
    return Forest(np.asarray(nodes), np.arange(-1, len(nodes) - 1))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    start = draw(st.tuples(*[st.integers(-8, 30)] * 3))
    size = draw(st.tuples(*[st.integers(1, 20)] * 3))
    stop = tuple(min(a + n, 33) for a, n in zip(start, size, strict=True))
    return Box(start, (stop[0], stop[1], stop[2]))


def slow_line(a: NDArray[np.float64], b: NDArray[np.float64]) -> set[tuple[int, ...]]:
    """Voxels of a segment in exact fractions, plane after plane: slow, but plain to see."""
    half = Fraction(1, 2)
    p, q = ([Fraction(math.floor(v * 1024 + 0.5), 1024) for v in end] for end in (a, b))
    steps = [abs(v - u) for u, v in zip(p, q, strict=True)]
    major = steps.index(max(steps))
    if steps[major] == 0:
        return {tuple(math.floor(u + half) for u in p)}
    if p[major] > q[major]:
        p, q = q, p
    line = {tuple(math.floor(u + half) for u in end) for end in (p, q)}
    for plane in range(math.floor(p[major] + half), math.floor(q[major] + half) + 1):
        at = min(max(Fraction(plane), p[major]), q[major])
        share = (at - p[major]) / (q[major] - p[major])
        voxel = [math.floor(u + share * (v - u) + half) for u, v in zip(p, q, strict=True)]
        line.add(tuple(voxel))
    return line


def found(mask: NDArray[np.bool_], box: Box) -> set[tuple[int, ...]]:
    return {tuple(v) for v in (np.argwhere(mask) + box.start).tolist()}


@given(forest=chains())
@settings(max_examples=150, deadline=None)
def test_a_segment_is_the_digital_line_of_its_slow_twin(forest: Forest) -> None:
    expected: set[tuple[int, ...]] = set()
    for start, end in forest.segments:
        expected |= slow_line(start, end)

    assert found(render(forest, HALL), HALL) == expected


@given(forest=chains(), box=boxes())
@settings(max_examples=150, deadline=None)
def test_rendering_a_box_is_cropping_the_whole(forest: Forest, box: Box) -> None:
    np.testing.assert_array_equal(render(forest, box), render(forest, HALL)[box.within(HALL)])


@given(forest=chains())
@settings(max_examples=100, deadline=None)
def test_a_chain_is_26_connected_and_passes_its_nodes(forest: Forest) -> None:
    mask = render(forest, HALL)

    assert ndimage.label(mask, EVERYWHERE)[1] == 1
    snapped = np.floor(forest.positions * 1024 + 0.5) / 1024
    nodes = np.floor(snapped + 0.5).astype(int) - HALL.start
    assert mask[tuple(nodes.T)].all()


@given(forest=chains())
@settings(max_examples=60, deadline=None)
def test_which_end_is_the_parent_does_not_matter(forest: Forest) -> None:
    backwards = Forest(forest.positions[::-1], forest.parents)
    np.testing.assert_array_equal(render(forest, HALL), render(backwards, HALL))


@given(forest=chains(), shift=st.tuples(*[st.integers(-50, 50)] * 3))
@settings(max_examples=60, deadline=None)
def test_moving_by_whole_voxels_moves_the_picture(
    forest: Forest, shift: tuple[int, int, int]
) -> None:
    # on the grid of 1/1024 voxel, so that the sum is exact
    grid = forest.at(np.round(forest.positions * 1024) / 1024)

    moved = render(grid.transform(1.0, shift), HALL.shift(shift))

    np.testing.assert_array_equal(moved, render(grid, HALL))


@given(forest=chains())
@settings(max_examples=60, deadline=None)
def test_every_voxel_lies_within_half_a_diagonal_of_its_segment(forest: Forest) -> None:
    voxels = np.argwhere(render(forest, HALL)) + HALL.start
    nearest = np.full(len(voxels), np.inf)
    for a, b in forest.segments:
        along = np.clip((voxels - a) @ (b - a) / max(((b - a) ** 2).sum(), 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(voxels - a - along[:, None] * (b - a), axis=1))

    assert nearest.max() <= math.sqrt(3) / 2 + 2 / 1024


LINE = ["1 1 0 0 0 1 -1", "2 2 10 0 0 1 1"]


@pytest.mark.parametrize(
    "rows", [LINE, LINE[::-1], ["0 1 0 0 0 1 -1", "7 2 10 0 0 1 0"]], ids=["a", "b", "c"]
)
def test_a_link_along_x_renders_its_eleven_voxels(tmp_path: Path, rows: list[str]) -> None:
    (tmp_path / "a.swc").write_text("\n".join(rows))
    box = Box((-3, -3, -3), (4, 4, 14))

    mask = render(read_swc(tmp_path / "a.swc"), box)

    assert found(mask, box) == {(0, 0, x) for x in range(11)}


def test_25_um_units_render_at_their_voxels(tmp_path: Path) -> None:
    (tmp_path / "a.swc").write_text("1 1 1 0 0 1 -1\n2 2 0 0 1 1 -1")

    forest = read_forest(tmp_path / "a.swc", units=25, frame=Frame((2.5, 1.3, 1.3)))

    box = Box((0, 0, 0), (20, 20, 30))
    assert found(render(forest, box), box) == {(0, 0, 19), (10, 0, 0)}


def test_a_long_link_is_drawn_through_a_box_far_from_its_nodes() -> None:
    forest = Forest([[0, 0, 0], [0, 40_000, 80_000]], [-1, 0])
    box = Box((0, 20_000, 40_000), (1, 20_005, 40_008))

    assert render(forest, box)[0].any(axis=0).all()


def test_a_link_of_no_length_is_one_voxel() -> None:
    forest = Forest([[1.4, 1.5, 2.0]] * 2, [-1, 0])
    assert found(render(forest, HALL), HALL) == {(1, 2, 2)}


def test_links_touch_where_they_meet_between_two_planes() -> None:
    corner = [0, 1.5, 0.5]
    forest = Forest([[0, 0, 3], corner, [0, 3, 3]], [-1, 0, 1])

    mask = render(forest, HALL)

    assert (0, 2, 1) in found(mask, HALL)
    assert ndimage.label(mask, EVERYWHERE)[1] == 1


def test_nothing_renders_nothing() -> None:
    empty = Forest(np.empty((0, 3)), np.empty(0, dtype=int))

    assert neurite_voxels(empty, HALL) == 0
    assert render(empty, Box((0, 0, 0), (0, 5, 5))).shape == (0, 5, 5)


def test_voxels_are_counted_once_where_links_meet() -> None:
    forest = Forest([[0, 0, 0], [0, 0, 4], [0, 0, 2]], [-1, 0, 1])
    assert neurite_voxels(forest, HALL) == 5


def test_a_node_beyond_any_brain_is_an_error() -> None:
    with pytest.raises(AnnotationError, match="units"):
        render(Forest([[0, 0, 2.0**20]], [-1]), HALL)


def test_the_largest_coordinates_do_not_overflow() -> None:
    end = 2.0**20 - 1
    forest = Forest([[-end, -end, -end], [end, end, end]], [-1, 0])

    for corner in (-int(end), -1000, 77, int(end) - 3):
        box = Box((corner,) * 3, (corner + 3,) * 3)
        np.testing.assert_array_equal(
            render(forest, box), np.eye(3)[:, None] * np.eye(3)[..., None]
        )
