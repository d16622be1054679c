"""Trees through an independent reader: a thousand boxes of every kind of tree, bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from slow_pyramid import slow_levels

from neuroconn.geometry import ZYX
from neuroconn.vaa3d import partition
from neuroconn.vaa3d.plan import TeraflyOptions, TeraflyPlan
from neuroconn.vaa3d.terafly import write_terafly

BOXES = 170
"""Of each tree, over its levels: more than a thousand in all."""


def volume_of(shape: ZYX, dtype: Any, *, sparse: bool) -> NDArray[Any]:
    rng = np.random.default_rng(sum(shape))
    values = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    if sparse:
        values[:, : shape[1] // 2] = 0
        values[shape[0] // 3 :, :, shape[2] // 4 :] = 0
    return np.asarray(values)


@pytest.mark.parametrize(
    ("shape", "dtype", "cut", "compression", "downsample", "sparse"),
    [
        ((29, 45, 61), np.uint16, "fixed", "none", "max", False),
        ((31, 45, 51), np.uint8, "balanced", "lzw", "mean", False),
        ((40, 40, 64), np.uint16, "fixed", "lzw", "mean", False),
        ((37, 65, 129), np.uint16, "balanced", "none", "max", True),
        ((37, 65, 129), np.uint8, "fixed", "none", "mean", True),
        ((33, 50, 99), np.uint16, "balanced", "lzw", "max", True),
    ],
)
def test_random_boxes_of_every_level_are_what_was_written(
    shape: ZYX,
    dtype: Any,
    cut: Any,
    compression: Any,
    downsample: Any,
    sparse: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interface = pytest.importorskip("v3dpy.terafly").TeraflyInterface
    monkeypatch.setattr(partition, "VIEW", 24)
    options = TeraflyOptions(20, cut, compression, downsample, avoid_powers_of_two=True)
    plan = TeraflyPlan(shape, np.dtype(dtype).name, options=options)  # type: ignore[arg-type]
    volume, rng = volume_of(shape, dtype, sparse=sparse), np.random.default_rng(1)
    write_terafly(lambda box: volume[box.slices].copy(), tmp_path / "out", plan, threads=2)

    levels = slow_levels(volume, plan)
    trees = [interface(tmp_path / "out" / level.folder) for level in plan.levels]
    assert [t.get_dim() for t in trees] == [(*v.shape[::-1], 1) for v in levels]
    for number in range(BOXES):
        level = number % len(levels)
        expected = levels[level]
        if number < len(levels):
            start, stop = (0, 0, 0), expected.shape
        else:
            start = tuple(int(rng.integers(0, n)) for n in expected.shape)
            stop = tuple(
                int(rng.integers(a + 1, n + 1)) for a, n in zip(start, expected.shape, strict=True)
            )
        (z0, y0, x0), (z1, y1, x1) = start, stop

        found = trees[level].get_sub_volume(x0, x1, y0, y1, z0, z1)

        assert found.dtype == dtype
        np.testing.assert_array_equal(found[0], expected[z0:z1, y0:y1, x0:x1])
