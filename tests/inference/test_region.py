"""Boxes and masks over the chunk grid, against the voxels themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box, ChunkGrid, Frame, plan_levels
from neuroconn.inference.seeds import masks
from neuroconn.inference.seeds.masks import Mask, mask_chunks, mask_factor
from neuroconn.inference.seeds.region import Region, box_chunks, parse_region, seeds_inside
from neuroconn.volume import Image, create_image
from neuroconn.volume.regions import write_region

SHAPE = (40, 61, 50)
GRID = ChunkGrid(SHAPE, (16, 16, 16))
SIDES = st.tuples(*[st.integers(1, 30)] * 3)
STEPS = st.tuples(*[st.integers(1, 4)] * 3)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return create_image(
        tmp_path_factory.mktemp("region") / "brain.ome.zarr",
        levels=plan_levels(SHAPE, smallest=20),
        dtype="uint16",
        frame=Frame((2.0, 0.3, 1.0), (10.0, 0.0, 0.0)),
        chunk=16,
        shard=None,
        kind="brain",
    )


def region(brain: Image, **given: Any) -> Region:
    found = parse_region(brain, GRID, **given)
    assert found is not None
    return found


def slowly(lit: NDArray[np.bool_], grid: ChunkGrid, factor: ZYX) -> NDArray[np.bool_]:
    """Whether a chunk's voxels of level 0 hold one that is lit, chunk by chunk."""
    inside = np.zeros(grid.counts, bool)
    for index in grid:
        ends = zip(index, grid.counts, grid.chunk, factor, lit.shape, strict=True)
        z, y, x = (slice(i * c * f, n if i == k - 1 else (i + 1) * c * f) for i, k, c, f, n in ends)
        inside[index] = lit[z, y, x].any()
    return inside


@given(shape=SIDES, chunk=STEPS, factor=STEPS, data=st.data())
def test_a_chunk_is_in_a_box_if_it_shares_a_voxel_with_it(
    shape: ZYX, chunk: ZYX, factor: ZYX, data: st.DataObject
) -> None:
    first: ZYX = tuple(data.draw(st.integers(0, n - 1)) for n in shape)  # type: ignore[assignment]
    ends = zip(first, shape, strict=True)
    last: ZYX = tuple(data.draw(st.integers(a + 1, n)) for a, n in ends)  # type: ignore[assignment]
    z, y, x = (-(-n // f) for n, f in zip(shape, factor, strict=True))
    grid = ChunkGrid((z, y, x), chunk)
    lit = np.zeros(shape, bool)
    lit[Box(first, last).slices] = True

    np.testing.assert_array_equal(
        box_chunks(Box(first, last), grid, factor), slowly(lit, grid, factor)
    )


@given(
    shape=SIDES, chunk=STEPS, factor=STEPS, coarse=STEPS, up=st.booleans(), seed=st.integers(0, 99)
)
def test_a_chunk_is_in_a_mask_if_a_voxel_of_it_lies_under_one_that_is_not_0(
    shape: ZYX, chunk: ZYX, factor: ZYX, coarse: ZYX, up: bool, seed: int
) -> None:
    sides = zip(shape, coarse, strict=True)
    size: ZYX = tuple(max(1, -(-n // f) if up else n // f) for n, f in sides)  # type: ignore[assignment]
    voxels = np.where(np.random.default_rng(seed).random(size) < 0.05, 7, 0).astype(np.uint8)
    z, y, x = (-(-n // f) for n, f in zip(shape, factor, strict=True))
    grid = ChunkGrid((z, y, x), chunk)
    mask = Mask("", size, (2, 3, 5), coarse, shape, lambda box: voxels[box.slices])

    axes = [
        np.minimum(np.arange(n) // f, m - 1) for n, f, m in zip(shape, coarse, size, strict=True)
    ]
    whole = (voxels > 0)[np.ix_(*axes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_BLOCK", 40)
        np.testing.assert_array_equal(mask_chunks(mask, grid, factor), slowly(whole, grid, factor))


def test_the_whole_brain_is_no_region(brain: Image) -> None:
    assert parse_region(brain, GRID) is None


def test_voxels_and_micrometres_name_the_same_box(brain: Image) -> None:
    voxels = region(brain, box=["0", "20", "0", "16", "40", "16"])
    um = region(brain, box=["10um", "6um", "0um", "42 µm", "12um", "16um"])

    assert (voxels.inside == um.inside).all()
    assert voxels.digest == um.digest
    assert voxels.chunks == 2
    assert [tuple(i) for i in np.argwhere(voxels.inside).tolist()] == [(0, 1, 0), (0, 2, 0)]


def test_the_first_corner_is_in_and_the_second_is_not(brain: Image) -> None:
    assert region(brain, box=[0, 0, 15, 16, 16, 16]).chunks == 1
    assert region(brain, box=[0, 0, 15, 16, 16, 17]).chunks == 2
    assert region(brain, box=[0, 0, 15.5, 16, 16, 16.5]).chunks == 1
    # 120 over 0.3 is a hair above 400 in floating point; here 4.8 over 0.3 is voxel 16.
    assert region(brain, box=[0, "4.8um", 0, 1, "4.81um", 1]).chunks == 1
    assert region(brain, box=[0, "4.5um", 0, 1, "4.8um", 1]).inside[0, 0, 0]


def test_on_a_coarse_level_the_box_still_counts_voxels_of_level_0(brain: Image) -> None:
    grid = ChunkGrid(brain.levels[1].shape, (16, 16, 16))
    factor = brain.levels[1].factor
    found = parse_region(brain, grid, level=1, box=[0, 0, 32, 1, 1, 33])

    assert found is not None
    assert found.inside[0, 0, 32 // (16 * factor[2])]
    assert found.chunks == 1


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 0, 1, 1], "six numbers Z0 Y0 X0 Z1 Y1 X1, got 5"),
        ([0, 0, 9, 1, 1, 9], "empty along x: it starts at voxel 9 and stops before 9"),
        ([5, 0, 0, 1, 1, 9], "empty along z: .*smaller corner first"),
        ([0, 0, 50, 1, 1, 60], r"outside the brain of shape \(40, 61, 50\).*order of the axes"),
        (["0", "0", "here", "1", "1", "2"], "'here' is no coordinate"),
        (["0", "0", "3mm", "1", "1", "2"], "millimetres"),
    ],
)
def test_a_wrong_box_is_named(brain: Image, box: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        region(brain, box=box)


def test_micrometres_need_a_brain_that_says_how_long_a_voxel_is(tmp_path: Path) -> None:
    image = create_image(
        tmp_path / "brain.ome.zarr",
        levels=plan_levels(SHAPE),
        dtype="uint16",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=16,
        shard=None,
        kind="brain",
        spacing_known=False,
    )
    with pytest.raises(UsageError, match=r"9um is in µm.*--spacing"):
        region(image, box=[0, 0, 0, 9, 9, "9um"])


def test_a_box_that_reaches_beyond_the_brain_is_cut_with_a_word(brain: Image) -> None:
    found = region(brain, box=[-5, 0, 0, 99, 1, 1])

    assert found.chunks == 3
    assert "(0, 0, 0) to (40, 1, 1)" in found.warnings[0]
    assert "3 of 48 chunks" in found.description


def volume(shape: ZYX = SHAPE) -> NDArray[np.uint8]:
    voxels = np.zeros(shape, np.uint8)
    voxels[tuple(n // 2 for n in shape)] = 3
    return voxels


def test_masks_of_any_format_size_and_type_name_the_same_chunks(
    brain: Image, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "full.tif", volume())
    np.save(tmp_path / "half.npy", volume((20, 30, 25)).astype(np.float32))
    array = zarr.create_array(str(tmp_path / "b.zarr"), shape=SHAPE, chunks=(8, 8, 8), dtype=bool)
    array[:] = volume().astype(bool)
    image = create_image(
        tmp_path / "mask.ome.zarr",
        levels=plan_levels(SHAPE, smallest=32),
        dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=64,
        shard=None,
        kind="brain",
    )
    for number, level in enumerate(image.levels):
        write_region(image.array(number), Box.of_shape(level.shape), volume(level.shape))

    names = [
        "full.tif",
        "half.npy",
        "b.zarr",
        "mask.ome.zarr",
        "mask.ome.zarr:1",
        "mask.ome.zarr/0",
    ]
    found = {name: region(brain, mask=tmp_path / name) for name in names}

    assert {r.digest for r in found.values()} == {found["full.tif"].digest}
    assert found["full.tif"].inside[20 // 16, 30 // 16, 25 // 16]
    assert found["full.tif"].chunks == 1
    assert "at 1:2" in found["half.npy"].description


def test_a_box_and_a_mask_leave_what_both_share(brain: Image, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones((5, 8, 7), np.uint8))
    both = region(brain, mask=tmp_path / "m.npy", box=[0, 0, 0, 17, 1, 1])
    assert both.chunks == 2
    assert both.digest == region(brain, box=[0, 0, 0, 17, 1, 1]).digest

    np.save(tmp_path / "m.npy", volume())
    with pytest.raises(UsageError, match="leaves no chunk to visit"):
        region(brain, mask=tmp_path / "m.npy", box=[0, 0, 0, 1, 1, 1])


def test_a_nan_in_a_mask_is_outside(brain: Image, tmp_path: Path) -> None:
    voxels = np.full((5, 8, 7), np.nan, np.float32)
    voxels[0, 0, 0] = 1
    np.save(tmp_path / "m.npy", voxels)
    assert region(brain, mask=tmp_path / "m.npy").chunks == 1


@pytest.mark.parametrize(
    ("n", "m", "factor"), [(100, 25, 4), (100, 33, 3), (1000, 8, 125), (1001, 8, 128), (7, 1, 7)]
)
def test_the_factor_of_a_mask_follows_from_its_shape(n: int, m: int, factor: int) -> None:
    assert masks._axis_factor(n, m) == factor


def test_a_mask_of_another_shape_hears_which_would_do(brain: Image, tmp_path: Path) -> None:
    assert mask_factor((10, 61, 25), brain, "m") == (4, 1, 2)
    with pytest.raises(UsageError, match=r"no whole fraction.*x 51 for 50.*\(20, 31, 25\)"):
        mask_factor((40, 61, 51), brain, "m")
    with pytest.raises(VolumeError, match="no mask at"):
        region(brain, mask=tmp_path / "gone.tif")
    np.save(tmp_path / "m.npy", volume())
    with pytest.raises(UsageError, match="holds one array"):
        region(brain, mask=f"{tmp_path}/m.npy:1")


def test_a_distance_map_is_no_mask(brain: Image, tmp_path: Path) -> None:
    create_image(
        tmp_path / "map.ome.zarr",
        levels=plan_levels(SHAPE),
        dtype="uint8",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=16,
        kind="distance",
        shard=None,
        fill_value=255,
    )
    with pytest.raises(UsageError, match="distance map"):
        region(brain, mask=tmp_path / "map.ome.zarr")


def test_seeds_outside_are_left_out_and_all_of_them_are_an_error(brain: Image) -> None:
    found = region(brain, box=[0, 0, 0, 16, 16, 16])

    kept, warnings = seeds_inside(found, [(0, 0, 0), (1, 1, 1), (2, 0, 0)])
    assert kept == ((0, 0, 0),)
    assert "2 of 3 seed chunks lie outside the region" in warnings[0]
    assert seeds_inside(found, [(0, 0, 0)]) == (((0, 0, 0),), [])
    with pytest.raises(UsageError, match=r"every seed lies outside.*\(1, 1, 1\)"):
        seeds_inside(found, [(1, 1, 1)])


def test_the_digest_depends_on_the_chunks_and_the_grid(brain: Image) -> None:
    one = region(brain, box=[0, 0, 0, 16, 16, 16])
    same = region(brain, box=[1, 1, 1, 2, 2, 2])
    other = region(brain, box=[0, 0, 0, 16, 16, 17])
    finer = parse_region(brain, ChunkGrid(SHAPE, (8, 8, 8)), box=[0, 0, 0, 8, 8, 8])

    assert one.digest == same.digest
    assert finer is not None
    assert len({one.digest, other.digest, finer.digest}) == 3
    assert (one.outside == ~one.inside).all()
