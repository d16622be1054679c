"""Warnings come when a walk floods, not when it follows fibres."""

import random

from neuroconn.inference.flood import FloodWatch


def fed(watch: FloodWatch, empty: float, chunks: int) -> FloodWatch:
    rng = random.Random(0)
    for _ in range(chunks):
        watch.saw(neurite=rng.random() >= empty)
    return watch


def test_a_walk_along_fibres_is_left_alone() -> None:
    assert fed(FloodWatch(10**6), 0.25, 5000).warnings() == ()


def test_mostly_empty_chunks_earn_one_warning() -> None:
    watch = fed(FloodWatch(10**6), 0.8, 5000)

    assert len(watch.warnings()) == 1
    assert "flooding" in watch.warnings()[0]
    assert not watch.stop


def test_the_share_is_that_of_the_last_thousand() -> None:
    watch = FloodWatch(10**6)
    for _ in range(3000):
        watch.saw(neurite=True)
    for _ in range(250):
        watch.saw(neurite=False)

    assert watch.empty == 0.25


def test_few_chunks_prove_nothing() -> None:
    assert fed(FloodWatch(10**6), 1.0, 150).warnings() == ()
    assert not fed(FloodWatch(10**6, limit=0.1), 1.0, 150).stop


def test_a_walk_over_much_of_the_grid_is_named() -> None:
    assert "of all chunks" in fed(FloodWatch(1000), 0.1, 500).warnings()[0]


def test_whoever_asks_for_every_chunk_is_not_warned_of_them() -> None:
    assert fed(FloodWatch(1000, sparse=False), 0.99, 1000).warnings() == ()


def test_a_limit_stops_and_says_how_to_go_on() -> None:
    watch = fed(FloodWatch(10**6, limit=0.6), 0.7, 500)

    assert watch.stop
    assert any("raise max_empty" in line for line in watch.warnings())
    assert not fed(FloodWatch(10**6, limit=0.8), 0.7, 500).stop
