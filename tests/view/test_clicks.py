"""The picture of what a click sees."""

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroconn.evaluation.marker_scores import Example, Landed
from neuroconn.metrics.clicks import Rays
from neuroconn.view.clicks import INK, draw_clicks

SHAPE = (8, 20, 28)
WIDE = 20 * SHAPE[2]


def example(raw_hits: list[bool], hits: list[bool]) -> Example:
    """Rays along x, one below the other, aimed at x = 10; misses land at x = 20, or nowhere."""
    views = np.zeros((2, *SHAPE), np.uint8)
    views[1, 4, :, 9:12] = 255
    rows = np.arange(2.0, 2 + len(hits))
    start, stop, aim = (
        np.stack([np.full_like(rows, 4), rows, np.full_like(rows, x)], axis=1) for x in (0, 27, 10)
    )
    markers, landed = [], []
    for good in (raw_hits, hits):
        places = np.where(np.array(good)[:, None], aim, aim + np.array([0, 0, 10]))
        far = np.where(good, 0.0, 10.0)
        markers.append(places)
        landed.append(Landed(far, far))
    return Example(
        "clip-6", (views[0], views[1]), Rays(start, stop, aim), tuple(markers), tuple(landed)
    )


def pixels(picture: NDArray[np.uint8], ink: str) -> NDArray[np.int64]:
    """Rows and columns painted so."""
    return np.argwhere((picture == INK[ink]).all(axis=-1))


def test_misses_are_on_the_left_and_hits_on_the_right() -> None:
    picture = draw_clicks(example([False, False], [True, True]))

    assert picture.dtype == np.uint8
    assert picture.shape[1] == 2 * WIDE + 12
    assert pixels(picture, "miss")[:, 1].max() < WIDE < pixels(picture, "hit")[:, 1].min()


def test_a_ring_is_where_the_marker_is() -> None:
    picture = draw_clicks(example([True], [True]))  # no ray was mended: no plots below

    rows, columns = pixels(picture, "hit").T
    left = columns < WIDE
    assert picture.shape[0] < 20 * SHAPE[1] + 60
    assert rows.mean() == pytest.approx(30 + 2.5 * 20, abs=1)
    assert columns[left].mean() == pytest.approx(10.5 * 20, abs=1)


@pytest.mark.parametrize(("mended", "plots"), [(0, 0), (2, 2), (5, 3)])
def test_mended_rays_are_plotted_below(mended: int, plots: int) -> None:
    raw = [False] * mended + [True] * (6 - mended)

    picture = draw_clicks(example(raw, [True] * 6))

    bare = draw_clicks(example([True] * 6, [True] * 6)).shape[0]
    words = 18 if plots else 0
    assert picture.shape[0] == bare + plots * 102 + words
    assert bool(len(pixels(picture, "aim"))) == bool(plots)


def test_a_click_into_nothing_leaves_no_ring() -> None:
    empty = example([False], [True])
    empty.markers[0][:] = np.nan

    picture = draw_clicks(empty, profiles=0)

    assert not len(pixels(picture, "miss"))
