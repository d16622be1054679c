"""The slow and obvious way to a pyramid: every level from the whole level before, as it is read."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import Box
from neuroconn.vaa3d.halving import halve
from neuroconn.vaa3d.overlay import avoid_powers_of_two
from neuroconn.vaa3d.plan import TeraflyPlan
from neuroconn.vaa3d.reader import TeraflyVolume


def slow_levels(volume: NDArray[Any], plan: TeraflyPlan) -> list[NDArray[Any]]:
    """What each level of a tree should hold."""
    options, levels = plan.options, [volume]
    for level in plan.levels[1:]:
        before = avoid_powers_of_two(levels[-1]) if options.avoid_powers_of_two else levels[-1]
        levels.append(halve(before, level.step, options.downsample))
    return [avoid_powers_of_two(v) if options.avoid_powers_of_two else v for v in levels]


def check_levels(output: Path, volume: NDArray[Any], plan: TeraflyPlan) -> None:
    """Compare a tree with the slow way; tiles without voxels must have no file."""
    levels = TeraflyVolume(output).levels
    expected = slow_levels(volume, plan)
    assert len(levels) == len(expected)
    for level, voxels in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(level.read(Box.of_shape(level.shape)), voxels)
        for box, path in level.tiles():
            assert (path is not None) == voxels[box.slices].any()
