"""The chunk grid and its neighbours."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.geometry import DIRECTIONS, ZYX, Box, ChunkGrid, directions

grids = st.builds(
    ChunkGrid,
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    chunk=st.tuples(*[st.integers(1, 5)] * 3),
)


@given(grids)
def test_cores_cover_the_volume_once(grid: ChunkGrid) -> None:
    count = np.zeros(grid.shape, int)

    for index in grid:
        count[grid.core(index).slices] += 1

    assert (count == 1).all()


@given(grids)
def test_a_voxel_lies_in_the_core_of_its_chunk(grid: ChunkGrid) -> None:
    for voxel in itertools.product(*map(range, grid.shape)):
        assert grid.core(grid.index_of(voxel)).contains(voxel)


@given(grids)
def test_ravel_is_the_position_in_iteration_order(grid: ChunkGrid) -> None:
    indices = list(grid)

    assert len(indices) == len(grid) == np.prod(grid.counts)
    assert [grid.ravel(i) for i in indices] == list(range(len(grid)))
    assert [grid.unravel(n) for n in range(len(grid))] == indices


@given(grids, st.integers(0, 4))
def test_every_tile_has_the_same_shape(grid: ChunkGrid, halo: int) -> None:
    shapes = {grid.tile(index, halo).shape for index in grid}

    assert shapes == {tuple(n + 2 * halo for n in grid.chunk)}


@given(grids, st.sampled_from([6, 18, 26]))
def test_neighbourhood_is_mutual_and_inside(grid: ChunkGrid, connectivity: int) -> None:
    for index in grid:
        for other in grid.neighbours(index, connectivity):
            assert other in grid
            assert other != index
            assert index in grid.neighbours(other, connectivity)


@given(
    grids,
    st.tuples(*[st.integers(-6, 14)] * 3),
    st.tuples(*[st.integers(0, 8)] * 3),
)
def test_overlapping_finds_the_chunks_that_share_a_voxel(
    grid: ChunkGrid, start: ZYX, size: ZYX
) -> None:
    box = Box(start, tuple(a + n for a, n in zip(start, size, strict=True)))

    found = list(grid.overlapping(box))

    assert found == [i for i in grid if grid.core(i).clip(box).size]


@pytest.mark.parametrize(("connectivity", "reach"), [(6, 1), (18, 2), (26, 3)])
def test_directions_step_along_so_many_axes(connectivity: int, reach: int) -> None:
    found = directions(connectivity)

    assert len(found) == connectivity
    assert all(1 <= sum(map(abs, d)) <= reach for d in found)
    assert set(found) <= set(DIRECTIONS)


def test_the_order_of_directions_never_changes() -> None:
    # Evidence masks on disk number the neighbours by it.
    assert DIRECTIONS[0] == (-1, -1, -1)
    assert DIRECTIONS[12] == (0, 0, -1)
    assert DIRECTIONS[13] == (0, 0, 1)
    assert sorted(DIRECTIONS) == list(DIRECTIONS)
    assert DIRECTIONS[::-1] == tuple(tuple(-n for n in d) for d in DIRECTIONS)


@pytest.mark.parametrize("connectivity", [0, 4, 8, 27])
def test_other_connectivities_are_refused(connectivity: int) -> None:
    with pytest.raises(ValueError, match="6, 18 or 26"):
        directions(connectivity)


def test_chunks_outside_the_grid_are_refused() -> None:
    grid = ChunkGrid((10, 10, 10), (4, 4, 4))

    for wrong in [(3, 0, 0), (0, -1, 0)]:
        assert wrong not in grid
        for method in (grid.core, grid.ravel, lambda i: grid.tile(i, 2)):
            with pytest.raises(IndexError, match="no chunk"):
                method(wrong)
    with pytest.raises(IndexError, match="no chunk number 27"):
        grid.unravel(27)
    with pytest.raises(IndexError, match="outside the volume"):
        grid.index_of((10, 0, 0))


@pytest.mark.parametrize(("shape", "chunk"), [((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (1, 0, 1))])
def test_empty_grids_are_refused(shape: ZYX, chunk: ZYX) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ChunkGrid(shape, chunk)


def test_a_grid_holds_indices_only() -> None:
    grid = ChunkGrid((4, 4, 4), (4, 4, 4))

    assert (0, 0, 0) in grid
    for other in ("000", (0, 0), [0, 0, 0], None):
        assert other not in grid
