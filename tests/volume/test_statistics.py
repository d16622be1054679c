from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.volume import intensity_statistics
from neuroconn.volume.statistics import (
    PERCENTILES,
    pack_histogram,
    unpack_histogram,
    voxel_histogram,
)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    size=st.integers(1, 3000),
    top=st.sampled_from([1, 5, 300, 65536]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
def test_statistics_of_the_histogram_are_those_of_the_voxels(
    seed: int, size: int, top: int, dtype: type[np.uint8] | type[np.uint16]
) -> None:
    top = min(top, np.iinfo(dtype).max + 1)
    voxels = np.random.default_rng(seed).integers(0, top, size).astype(dtype)

    stats = intensity_statistics(voxel_histogram(voxels))

    median = np.quantile(voxels, 0.5, method="inverted_cdf")
    away = np.abs(voxels.astype(int) - int(median))
    assert stats["voxels"] == size
    assert (stats["min"], stats["max"]) == (voxels.min(), voxels.max())
    assert stats["mean"] == pytest.approx(voxels.mean())
    assert stats["mad"] == np.quantile(away, 0.5, method="inverted_cdf")
    assert stats["zeros"] == (voxels == 0).mean()
    assert stats["saturated"] == (voxels == np.iinfo(dtype).max).mean()
    ordered = np.sort(voxels)
    for percent in PERCENTILES:
        # The definition: the smallest value that so many percent do not exceed.
        value = stats["percentiles"][f"{percent:g}"]
        hundredths = round(percent * 100)
        assert (voxels <= value).sum() * 10_000 >= hundredths * size
        assert (ordered < value).sum() * 10_000 < hundredths * size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("part", [np.s_[:], np.s_[1:4, ::2, 3:]])
def test_a_histogram_counts_every_voxel_of_any_view(dtype: Any, part: Any) -> None:
    voxels = np.random.default_rng(1).integers(0, 256, (5, 6, 7)).astype(dtype)[part]

    np.testing.assert_array_equal(
        voxel_histogram(voxels), np.bincount(voxels.ravel(), minlength=np.iinfo(dtype).max + 1)
    )


def test_a_histogram_survives_packing() -> None:
    counts = np.zeros(65536, np.int64)
    counts[[0, 9, 65535]] = 2**40, 1, 3

    text = pack_histogram(counts)

    np.testing.assert_array_equal(unpack_histogram(text), counts)
    assert len(text) < 1000


def test_no_voxels_have_no_statistics() -> None:
    with pytest.raises(ValueError, match="no voxel"):
        intensity_statistics(np.zeros(256, np.int64))
