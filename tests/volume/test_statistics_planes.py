from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.geometry import ZYX, Box
from neuroconn.volume.statistics_planes import (
    EDGES,
    SLAB,
    PlaneCounts,
    lattice,
    plane_counts,
    unevenness,
)


def counted(voxels: Any, every: int, cuts: ZYX) -> PlaneCounts:
    """Counts of a volume, added up from blocks."""
    whole = PlaneCounts.empty(Box.of_shape(voxels.shape))
    for box in Box.of_shape(voxels.shape).split(cuts):
        whole.add(plane_counts(np.ascontiguousarray(voxels[box.slices]), box, every))
    return whole


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 150), st.integers(1, 150)),
    cuts=st.tuples(*[st.sampled_from([4, 64, 128, 200])] * 3),
    every=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
)
def test_counts_do_not_depend_on_how_a_volume_is_cut(
    shape: ZYX, cuts: ZYX, every: int, seed: int
) -> None:
    voxels = np.random.default_rng(seed).integers(0, 65536, shape).astype(np.uint16)

    parts, whole = counted(voxels, every, cuts), counted(voxels, every, shape)

    for a, b in zip(parts.counts, whole.counts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.counts[0].sum() == voxels[:, ::every, ::every].size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_medians_are_those_of_the_lattice(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    planes = rng.integers(1, np.iinfo(dtype).max // 3, 6)
    noise = rng.normal(1.0, 0.1, (6, 300, 200))
    voxels = (planes[:, None, None] * noise).clip(0).astype(dtype)

    z, y, x = counted(voxels, 3, (4, 128, 64)).medians()

    seen = voxels[:, ::3, ::3]
    rows, columns = np.arange(0, 300, 3) // SLAB, np.arange(0, 200, 3) // SLAB
    exact = [
        [np.median(p) for p in seen],
        [np.median(seen[:, rows == k]) for k in range(5)],
        [np.median(seen[:, :, columns == k]) for k in range(4)],
    ]
    for found, wanted in zip((z, y, x), exact, strict=True):
        assert found == pytest.approx(wanted, rel=0.016, abs=1)


def test_bins_cover_every_value_once_and_small_ones_exactly() -> None:
    assert EDGES[0] == 0
    assert EDGES[-1] == 65536
    assert (np.diff(EDGES[:129]) == 1).all()
    assert (np.diff(EDGES)[129:] / EDGES[129:-1] <= 1 / 32).all()


def test_counts_survive_packing() -> None:
    counts = plane_counts(
        np.random.default_rng(0).integers(0, 900, (5, 70, 66)).astype(np.uint16),
        Box((10, 64, 128), (15, 134, 194)), 3,
    )  # fmt: skip

    again = PlaneCounts.unpack(counts.pack())

    assert again.start == counts.start == (10, 1, 2)
    for a, b in zip(again.counts, counts.counts, strict=True):
        np.testing.assert_array_equal(a, b)


@given(y=st.integers(1, 60_000), x=st.integers(1, 60_000))
def test_the_lattice_is_odd_and_misses_no_slab(y: int, x: int) -> None:
    assert lattice((9, y, x)) % 2 == 1
    assert 3 <= lattice((9, y, x)) < SLAB


def test_flicker_and_seams_are_numbers() -> None:
    voxels = np.full((8, 200, 200), 100, np.uint8)
    voxels[3] = 130
    voxels[:, :, 64:] += 20

    z, y, x = counted(voxels, 3, (8, 64, 64)).medians()

    assert z[3] == pytest.approx(150, rel=0.016)
    assert unevenness(z) == pytest.approx(30 / 120, abs=0.02)
    assert unevenness(y) == 0
    assert unevenness(x) == pytest.approx(20 / 120, abs=0.02)
    assert unevenness([None, 5.0]) is None
