"""Where a neurite ends the walk may go on, and only there."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from neuroconn.geometry import DIRECTIONS, ZYX, Box
from neuroconn.inference.ends import outward_ends
from neuroconn.inference.verdict import opened

SIZE = 96
CORE = Box((16, 16, 16), (80, 80, 80))


def tube(*points: ZYX) -> np.ndarray:  # type: ignore[type-arg]
    line = np.zeros((SIZE,) * 3, bool)
    for a, b in pairwise(points):
        for t in np.linspace(0, 1, 2 * SIZE):
            z, y, x = (round(p + (q - p) * t) for p, q in zip(a, b, strict=True))
            line[z, y, x] = True
    return ndimage.distance_transform_edt(~line) < 3  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "points",
    [
        [(48, 48, 0), (48, 48, 95)],
        [(0, 0, 0), (95, 95, 95)],
        [(20, 30, 0), (70, 60, 95)],
        [(48, 0, 48), (48, 48, 60), (48, 95, 48)],
    ],
)
def test_a_neurite_that_passes_has_no_end(points: list[ZYX]) -> None:
    assert outward_ends(tube(*points), CORE) == 0


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_end_points_on_in_every_direction(direction: ZYX) -> None:
    z, y, x = (48 - 47 * d for d in direction)
    mask = opened(outward_ends(tube((z, y, x), (48, 48, 48)), CORE))
    assert direction in mask
    assert tuple(-d for d in direction) not in mask


def test_an_end_in_the_halo_is_the_neighbours_business() -> None:
    assert outward_ends(tube((48, 48, 0), (48, 48, 10)), CORE) == 0


def test_a_fragment_points_both_ways() -> None:
    mask = opened(outward_ends(tube((48, 30, 48), (48, 60, 48)), CORE))
    assert {(0, -1, 0), (0, 1, 0)} <= set(mask)


def test_nothing_has_no_ends() -> None:
    assert outward_ends(np.zeros((32, 32, 32), bool), Box((8, 8, 8), (24, 24, 24))) == 0


def test_a_core_off_the_cells_is_no_trouble() -> None:
    lone = tube((48, 48, 0), (48, 48, 48))[:91, :90, :89]
    mask = opened(outward_ends(lone, Box((15, 14, 13), (80, 79, 78))))
    assert (0, 0, 1) in mask
