"""Pictures of a dataset."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconn.training.dataset import open_dataset
from neuroconn.training.dataset.figures import crop_panels, cumulative, table, voxels_per_cube
from neuroconn.training.dataset.plan import Cubes
from neuroconn.view.pictures import save_png

ORANGE, BLUE = (213, 94, 0), (0, 114, 178)


def cubes(voxels: list[int], minimum: int = 100) -> Cubes:
    counts = np.array(voxels, dtype=np.int64)
    return Cubes(
        np.arange(3 * len(counts)).reshape(-1, 3),
        counts,
        np.zeros(len(counts), dtype=np.int64),
        counts >= minimum,
        total=2 * len(counts),
        regions=(),
        minimum=minimum,
    )


@given(st.lists(st.integers(0, 500), max_size=60))
def test_the_histogram_counts_cubes_with_at_most_so_many_voxels(voxels: list[int]) -> None:
    values, counts = cumulative(np.array(voxels, dtype=np.int64))

    assert values.tolist() == sorted(set(voxels))
    assert counts.tolist() == [sum(v <= value for v in voxels) for value in sorted(set(voxels))]


@pytest.mark.parametrize("minimum", [100, 250])
def test_the_curve_rises_to_the_number_of_cubes_and_the_minimum_is_marked(minimum: int) -> None:
    picture = voxels_per_cube(cubes(list(range(1, 401)), minimum), "brain.ome.zarr")

    blue, orange = (np.argwhere((picture == colour).all(axis=-1)) for colour in (BLUE, ORANGE))
    by_column = {x: blue[blue[:, 1] == x, 0].mean() for x in np.unique(blue[:, 1])}
    rows = [by_column[x] for x in sorted(by_column)]
    assert all(a >= b for a, b in pairwise(rows))  # upwards is a lower row
    columns = np.unique(orange[:, 1])
    assert np.ptp(columns) <= 2
    # The straight curve crosses the mark at the share of cubes below the minimum.
    share = (max(rows) - by_column[columns.min() - 2]) / (max(rows) - min(rows))
    assert share == pytest.approx(minimum / 400, abs=0.02)


@pytest.mark.parametrize("voxels", [[], [3], [0, 0], [10**6] * 3])
def test_odd_datasets_are_drawn_too(voxels: list[int]) -> None:
    assert voxels_per_cube(cubes(voxels), "brain").shape == (420, 720, 3)


def test_the_table_has_a_line_for_every_cube() -> None:
    text = table([cubes([120, 7])], [{"name": "a,b.zarr"}])

    assert text.splitlines() == [
        "brain,z,y,x,neurite_voxels,split,chosen",
        '"a,b.zarr",0,1,2,120,train,1',
        '"a,b.zarr",3,4,5,7,train,0',
    ]


def test_panels_show_the_centreline_where_it_is(made: Path) -> None:
    stored = open_dataset(made)
    statistics = stored.brains[0]["intensity"]

    picture = crop_panels(stored.group, [2], statistics, clip=stored.clip)

    pixels = 160 // stored.size
    line = stored.centreline(2).any(axis=0).repeat(pixels, axis=0).repeat(pixels, axis=1)
    side = stored.size * pixels
    drawn = picture[:, side + 4 : 2 * side + 4]
    np.testing.assert_array_equal(drawn[..., 0] == 255, line)
    over = picture[:, -side:]
    np.testing.assert_array_equal((over == ORANGE).all(axis=-1), line)


def test_pictures_of_large_noisy_crops_stay_below_300_kb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    group = {
        "image": rng.integers(0, 60_000, (3, 64, 128, 128)).astype(np.uint16),
        "centreline": rng.random((3, 64, 128, 128)) < 1e-3,
        "distance": rng.integers(0, 255, (3, 64, 128, 128)).astype(np.uint8),
    }

    picture = crop_panels(group, [0, 1, 2], {"percentiles": {"50": 100}}, clip=10.0)  # type: ignore[arg-type]

    assert save_png(tmp_path / "crops.png", picture).stat().st_size <= 300_000
