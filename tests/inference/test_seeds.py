"""Seeds from the command line, from files, from bright places."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuroconn.annotation.points import write_marker
from neuroconn.errors import AnnotationError, UsageError
from neuroconn.geometry import ZYX, ChunkGrid, Frame, plan_levels
from neuroconn.inference.seeds.find import find_seeds, parse_points, voxel_chunks
from neuroconn.volume import Image, create_image, intensity_statistics
from neuroconn.volume.pyramid import reduce_block
from neuroconn.volume.regions import write_region
from neuroconn.volume.statistics import voxel_histogram

SHAPE = (64, 96, 80)
FRAME = Frame((2.0, 1.0, 0.5))
GRID = ChunkGrid(SHAPE, (32, 32, 32))


def store(
    path: Path,
    voxels: NDArray[np.uint16],
    smallest: int = 48,
    spacing: tuple[float, float, float] = FRAME.spacing_um,
) -> Image:
    levels = plan_levels(voxels.shape, smallest=smallest)  # type: ignore[arg-type]
    image = create_image(
        path,
        levels=levels,
        dtype="uint16",
        frame=Frame(spacing),
        chunk=32,
        shard=None,
        kind="brain",
    )
    for number, level in enumerate(image.levels):
        if number:
            voxels = reduce_block(voxels, level.step, "max")
        array = image.array(number)
        for index in image.grid(number):
            box = image.grid(number).core(index)
            write_region(array, box, voxels[box.slices])
    return image


def noise(shape: ZYX = SHAPE, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).poisson(100, shape).astype(np.uint16)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Noise with a fibre in chunk (1, 2, 0) and a soma in chunk (0, 1, 2)."""
    voxels = noise()
    voxels[48:50, 80:82, 4:28] = 900
    z, y, x = np.ogrid[:64, :96, :80]
    voxels[(z - 16) ** 2 + (y - 48) ** 2 + (x - 72) ** 2 < 25] = 2000
    return store(tmp_path_factory.mktemp("seeds") / "brain.ome.zarr", voxels)


def test_voxels_and_micrometres_name_the_same_place(brain: Image) -> None:
    voxels = find_seeds(brain, GRID, points=[("10", "40", "70")])
    um = find_seeds(brain, GRID, points=[("20um", "40um", "35µm")])
    mixed = find_seeds(brain, GRID, points=[("20um", "40", "35μm")])
    assert voxels.chunks == um.chunks == mixed.chunks == ((0, 1, 2),)


def test_micrometres_need_a_brain_that_says_how_long_a_voxel_is(tmp_path: Path) -> None:
    image = create_image(
        tmp_path / "brain.ome.zarr",
        levels=plan_levels(SHAPE),
        dtype="uint16",
        frame=Frame((1.0, 1.0, 1.0)),
        chunk=32,
        shard=None,
        kind="brain",
        spacing_known=False,
    )

    with pytest.raises(UsageError, match="--spacing"):
        find_seeds(image, GRID, points=[("20um", "40", "35")])
    with pytest.raises(UsageError, match="--spacing"):
        find_seeds(image, GRID, source="nodes.swc", units="um")
    assert find_seeds(image, GRID, points=[("20", "40", "35")]).chunks == ((0, 1, 1),)


def test_the_same_chunk_is_a_seed_once(brain: Image) -> None:
    points = [("1", "1", "1"), ("40", "1", "1"), ("2", "2", "2")]
    assert find_seeds(brain, GRID, points=points).chunks == ((0, 0, 0), (1, 0, 0))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (("10", "20", "80"), r"\(10, 20, 80\) lies outside the volume of shape \(64, 96, 80\)"),
        (("-1", "20", "3"), r"\(-1, 20, 3\) lies outside"),
        (("10", "20", "40um"), r"\(10, 20, 80\) lies outside"),
        (("ten", "20", "3"), "'ten' is no coordinate"),
        (("nan", "20", "3"), "'nan' is no coordinate"),
        (("1", "20"), "three coordinates Z Y X, got '1 20'"),
    ],
)
def test_a_wrong_seed_is_named(brain: Image, point: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_seeds(brain, GRID, points=[("1", "1", "1"), point])


def test_no_seed_at_all_is_an_error(brain: Image) -> None:
    with pytest.raises(UsageError, match="needs a seed"):
        find_seeds(brain, GRID)


def test_every_chunk_is_the_grid_itself(brain: Image) -> None:
    assert find_seeds(brain, GRID, source="all").chunks is GRID


@given(voxel=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), chunk=st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_a_seed_opens_the_chunk_that_owns_its_voxel(voxel: ZYX, chunk: int) -> None:
    grid = ChunkGrid(SHAPE, (chunk, chunk, chunk + 1))
    assert list(voxel_chunks([voxel], grid)) == [grid.index_of(voxel)]


def test_integers_are_the_middle_of_a_voxel() -> None:
    assert list(voxel_chunks([[31.4, 31.5, 0]], GRID)) == [(0, 1, 0)]


@given(voxel=st.tuples(*(st.integers(0, n - 1) for n in SHAPE)))
@settings(max_examples=50, deadline=None)
def test_on_a_coarse_level_a_seed_opens_the_chunk_that_covers_it(voxel: ZYX) -> None:
    coarse = ChunkGrid((32, 48, 80), (16, 16, 16))
    z, y, x = voxel
    assert list(voxel_chunks([voxel], coarse, (2, 2, 1))) == [coarse.index_of((z // 2, y // 2, x))]


def test_files_give_voxels_or_micrometres(brain: Image, tmp_path: Path) -> None:
    marker = tmp_path / "s.marker"
    write_marker(marker, [[10, 40, 70], [50, 81, 5]])
    assert find_seeds(brain, GRID, source=marker).chunks == ((0, 1, 2), (1, 2, 0))

    table = tmp_path / "s.csv"
    table.write_text("x,y,z\n35,40,20\n")
    assert find_seeds(brain, GRID, source=str(table), units="um").chunks == ((0, 1, 2),)
    with pytest.raises(AnnotationError):
        find_seeds(brain, GRID, source=tmp_path / "missing.swc")


def test_a_tracing_may_leave_a_cropped_brain_but_not_lie_outside_it(
    brain: Image, tmp_path: Path
) -> None:
    tracing = tmp_path / "s.swc"
    tracing.write_text("1 2 70 40 10 1 -1\n2 2 200 40 10 1 1\n")
    seeds = find_seeds(brain, GRID, source=tracing)
    assert seeds.chunks == ((0, 1, 2),)
    assert "1 of 2 nodes lie outside" in seeds.warnings[0]

    tracing.write_text("1 2 700 40 10 1 -1\n")
    with pytest.raises(UsageError, match=r"s\.swc: seed \(10, 40, 700\) lies outside"):
        find_seeds(brain, GRID, source=tracing)

    marker = tmp_path / "s.marker"
    write_marker(marker, [[10, 40, 70], [10, 40, 700]])
    with pytest.raises(UsageError, match=r"\(10, 40, 700\)"):
        find_seeds(brain, GRID, source=marker)


def test_a_seed_on_background_earns_a_warning_and_one_on_a_neurite_does_not(brain: Image) -> None:
    statistics = intensity_statistics(voxel_histogram(np.asarray(brain.array(0)[:])))
    percentiles = statistics["percentiles"]
    points = [("49", "81", "15"), ("16", "48", "72"), ("5", "5", "5"), ("63", "0", "79")]
    seeds = find_seeds(brain, GRID, points=points, percentiles=percentiles)
    assert [w.split(" looks")[0] for w in seeds.warnings] == ["seed (5, 5, 5)", "seed (63, 0, 79)"]
    assert "percentile" in seeds.warnings[0]


def test_auto_takes_bright_places_inside_the_region(brain: Image) -> None:
    assert set(find_seeds(brain, GRID, source="auto").chunks) == {(1, 2, 0), (0, 1, 2)}
    within = np.ones(GRID.counts, bool)
    within[0] = False
    assert find_seeds(brain, GRID, source="auto", within=within).chunks == ((1, 2, 0),)


@pytest.mark.parametrize(
    ("points", "hint"),
    [
        ([("70", "80", "10")], "Read as X Y Z or .*neuroconn wants Z Y X, or write 120um"),
        ([("90", "99", "90")], "Check the order of the axes"),
        ([("10um", "80um", "45um")], "Read as X Y Z or as voxels all of them"),
        ([("100", "40", "35")], r"Read as µm .*all of them lie inside: write 120um"),
        ([("60um", "90", "70um")], r"Read as voxels all of them lie inside: leave out um"),
    ],
)
def test_seeds_outside_hear_the_likely_mistake(
    brain: Image, points: list[tuple[str, ...]], hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        find_seeds(brain, GRID, points=points)


def test_a_marker_that_counts_from_0_is_recognised(brain: Image, tmp_path: Path) -> None:
    path = tmp_path / "s.marker"
    path.write_text("##x,y,z\n0, 40, 10\n5, 6, 7\n")
    with pytest.raises(
        UsageError, match=r"\(9, 39, -1\).*Counted from 0 .* a \.marker counts from 1"
    ):
        find_seeds(brain, GRID, source=path)


def test_many_dark_seeds_hear_of_a_reading_that_lies_on_bright_voxels(tmp_path: Path) -> None:
    voxels = noise((60, 60, 60))
    voxels[10:12, 30:33, 5:55] = 3000
    image = store(tmp_path / "brain.ome.zarr", voxels)
    percentiles = intensity_statistics(voxel_histogram(voxels))["percentiles"]
    grid = ChunkGrid((60, 60, 60), (20, 20, 20))

    def warnings(points: list[tuple[int, int, int]]) -> str:
        words = [[str(v) for v in point] for point in points]
        return "\n".join(find_seeds(image, grid, points=words, percentiles=percentiles).warnings)

    at = range(15, 55, 4)
    assert warnings([(10, 31, x) for x in at]) == ""
    swapped = warnings([(x, 31, 10) for x in at])
    assert "10 of the 10 seeds looked at lie on background" in swapped
    assert "read as X Y Z, 100% of the seeds would lie on bright voxels" in swapped


def test_a_point_keeps_its_fraction() -> None:
    assert parse_points([("1.5", "2um", "0")], FRAME).tolist() == [[1.5, 2.0, 0.0]]
    assert parse_points([], FRAME).shape == (0, 3)
