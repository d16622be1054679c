"""Levels, tiles and names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.errors import UsageError
from neuroconn.vaa3d.names import block_number, name_tiles, row_number
from neuroconn.vaa3d.partition import (
    LevelPlan,
    Tiling,
    balanced,
    fixed,
    plan_terafly_levels,
)


@given(n=st.integers(1, 5000), tile=st.integers(4, 600))
def test_balanced_tiles_fill_the_axis_and_differ_by_one_at_most(n: int, tile: int) -> None:
    sizes = balanced(n, tile)

    assert sum(sizes) == n
    assert len(sizes) == -(-n // tile)
    assert max(sizes) - min(sizes) <= 1
    assert list(sizes) == sorted(sizes, reverse=True)


@given(n=st.integers(1, 5000), tile=st.integers(4, 600))
def test_fixed_tiles_fill_the_axis_and_none_is_one_voxel_wide(n: int, tile: int) -> None:
    sizes = fixed(n, tile)

    assert sum(sizes) == n
    assert max(sizes) <= tile
    assert n == 1 or min(sizes) >= 2
    assert all(size == tile for size in sizes[:-2])


@pytest.mark.parametrize(
    ("n", "tile", "sizes"),
    [
        (420, 128, (105, 105, 105, 105)),
        (300, 128, (100, 100, 100)),
        (130, 64, (44, 43, 43)),
        (100, 256, (100,)),
    ],
)
def test_balanced_sizes_of_known_volumes(n: int, tile: int, sizes: tuple[int, ...]) -> None:
    assert balanced(n, tile) == sizes


@given(shape=st.tuples(*[st.integers(1, 300)] * 3), tile=st.integers(20, 200))
def test_tiles_cover_every_voxel_once_with_one_z_partition(
    shape: tuple[int, int, int], tile: int
) -> None:
    tiling = Tiling.of(shape, tile)

    boxes = [tiling.box(index) for index in tiling]

    assert len(set(tiling)) == len(tiling) == len(boxes)
    assert sum(box.size for box in boxes) == shape[0] * shape[1] * shape[2]
    assert tiling.shape == shape
    by_column: dict[object, list[object]] = {}
    for box in boxes:
        column = by_column.setdefault((box.start[1:], box.stop[1:]), [])
        column.append((box.start[0], box.stop[0]))
    assert len({tuple(blocks) for blocks in by_column.values()}) == 1


@given(shape=st.tuples(*[st.integers(1, 40_000)] * 3).filter(lambda s: max(s) > 1))
def test_levels_halve_down_to_one_view_and_number_two_at_least(
    shape: tuple[int, int, int],
) -> None:
    levels = plan_terafly_levels(shape)

    assert len(levels) >= 2
    assert max(levels[-1].shape) <= 256
    assert len(levels) == 2 or max(levels[-2].shape) > 256
    for level in levels:
        assert level.shape == tuple(
            max(1, n // f) for n, f in zip(shape, level.factor, strict=True)
        )
    assert len({level.folder for level in levels}) == len(levels)


def test_an_isotropic_pyramid_waits_for_thick_slices() -> None:
    levels = plan_terafly_levels((400, 2048, 2048), (5, 1, 1), isotropic=True)

    sizes = [level.spacing_um((5, 1, 1)) for level in levels]

    assert sizes == [(5, 1, 1), (5, 2, 2), (5, 4, 4), (10, 8, 8)]
    assert levels[-1].folder == "RES(256x256x200)"


def test_a_pyramid_stops_at_ten_levels() -> None:
    assert len(plan_terafly_levels((1 << 20, 4, 4))) == 10


def test_a_single_voxel_is_refused() -> None:
    with pytest.raises(UsageError, match="second level"):
        plan_terafly_levels((1, 1, 1))


def test_half_micrometres_round_up_in_names() -> None:
    assert row_number(150, 1, 0.35) == 530
    assert row_number(150, 2, 0.35) == 1050
    assert block_number(150, 1, 0.35) == 525
    assert block_number(45, 1, 0.35, origin_um=10.04) == 257


def test_names_of_a_known_pyramid() -> None:
    levels = [
        LevelPlan((130, 300, 420), (1, 1, 1), (1, 1, 1)),
        LevelPlan((65, 150, 210), (2, 2, 2), (2, 2, 2)),
    ]
    tilings = [
        Tiling(balanced(z, 64), balanced(y, 128), balanced(x, 128))
        for z, y, x in (level.shape for level in levels)
    ]

    fine, coarse = name_tiles(levels, tilings, (1, 1, 1))

    assert (fine.y, fine.x, fine.z) == ((0, 1000, 2000), (0, 1050, 2100, 3150), (0, 440, 870))
    assert (coarse.y, coarse.x, coarse.z) == ((0, 1500), (0, 2100), (0, 660))
    assert fine.path((1, 2, 3)) == "002000/002000_003150/002000_003150_000440.tif"


@pytest.mark.parametrize("spacing", [1.0, 80.0])
def test_text_order_is_number_order_also_past_ten_centimetres(spacing: float) -> None:
    shape = (300, 1500, 1400)
    levels = plan_terafly_levels(shape)
    tilings = [Tiling.of(level.shape, 64) for level in levels]

    named = name_tiles(levels, tilings, (spacing,) * 3)

    assert len({names.width for names in named}) == 1
    assert named[0].width == (6 if spacing == 1 else 7)
    for tiling, names in zip(tilings, named, strict=True):
        paths = [names.path(index) for index in tiling]
        assert paths == sorted(paths)
        assert len(set(paths)) == len(paths)


def test_names_that_would_collide_are_refused() -> None:
    levels = plan_terafly_levels((64, 64, 64))
    tilings = [Tiling.of(level.shape, 4) for level in levels]

    with pytest.raises(UsageError, match="share a name"):
        name_tiles(levels, tilings, (0.1, 0.1, 0.1))


def test_a_negative_origin_is_refused() -> None:
    levels = plan_terafly_levels((64, 64, 64))

    with pytest.raises(UsageError, match="negative origin"):
        name_tiles(levels, [Tiling.of(level.shape, 64) for level in levels], (1, 1, 1), (0, -1, 0))


@pytest.mark.parametrize(("n", "tile"), [(0, 64), (100, 3), (100, 0)])
def test_impossible_cuts_are_refused(n: int, tile: int) -> None:
    for cut in (fixed, balanced):
        with pytest.raises(UsageError):
            cut(n, tile)
