"""Intervals of how many chunks hold neurite hold as often as they say."""

from itertools import islice
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from test_bright import phantom
from test_seeds import store

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.rehearsal.visits import Interval, Strata, visits_per_neurite
from neuroconn.inference.seeds.bright import chunk_scores

Look: TypeAlias = tuple[NDArray[np.float32], NDArray[np.bool_]]

SHAPE = (10, 20, 30)
DRAWN = ((1, 3, 1, 5), (2, 6, 3, 5), (3, 12, 1, 5), (4, 6, 1, 0))
"""Seed, contrast, stretch and neurons of each phantom."""


def scores(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).gamma(2, 0.3, SHAPE).astype(np.float32)


def everything(strata: Strata) -> list[int]:
    return list(strata.draw())


def test_every_open_chunk_is_drawn_once_and_no_other() -> None:
    opened = np.random.default_rng(1).random(SHAPE) < 0.3
    strata = Strata.of(scores(), opened, "run")

    assert sorted(everything(strata)) == np.flatnonzero(opened).tolist()
    assert sum(strata.to_json().values()) == opened.sum()
    assert everything(Strata.of(scores(), opened, "run")) == everything(strata)
    assert everything(Strata.of(scores(), opened, "another")) != everything(strata)


def test_strata_are_cut_at_the_scores() -> None:
    values = np.array([[[0.0, 0.79, 0.8, 0.99, 1.0, 1.9, 2.0, 50]]], np.float32)
    strata = Strata.of(values, np.ones(values.shape, bool), "run")

    assert strata.to_json() == {"noise": 2, "doubtful": 2, "likely": 2, "sure": 2}
    assert [sorted(m.tolist()) for m in strata.members] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_short_sample_has_some_of_every_stratum_and_most_of_the_largest() -> None:
    values = scores()
    strata = Strata.of(values, np.ones(SHAPE, bool), "run")
    sizes = list(strata.to_json().values())
    assert min(sizes) > 20

    drawn = set(islice(strata.draw(), 40))
    taken = [len(drawn & set(m.tolist())) for m in strata.members]
    assert min(taken) >= 1
    assert taken[0] == max(taken)


def test_who_has_seen_all_chunks_knows() -> None:
    values = scores()[:3, :4, :5]
    truth = np.random.default_rng(3).random(values.size) < 0.2
    strata = Strata.of(values, np.ones(values.shape, bool), "run")

    seen = [(p, bool(truth[p])) for p in strata.draw()]

    exact = float(truth.sum())
    assert strata.estimate(seen) == Interval(exact, exact, exact)


def test_more_samples_narrow_the_interval() -> None:
    values = scores()
    truth = np.random.default_rng(4).random(values.size) < np.clip(values.ravel() - 0.5, 0, 1)
    strata = Strata.of(values, np.ones(SHAPE, bool), "run")

    widths = []
    for n in (0, 20, 200, 2000):
        found = strata.estimate([(p, bool(truth[p])) for p in islice(strata.draw(), n)])
        assert found.low <= found.likely <= found.high
        assert found.low <= truth.sum() <= found.high
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


def test_a_chunk_that_failed_counts_as_not_inferred() -> None:
    values = scores()
    strata = Strata.of(values, np.ones(SHAPE, bool), "run")
    drawn = list(islice(strata.draw(), 60))
    some = strata.estimate([(p, False) for k, p in enumerate(drawn) if k % 3])
    every = strata.estimate([(p, False) for p in drawn])
    assert some.high > every.high
    assert some.low == every.low == 0


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory) -> list[Look]:
    """Coarse scores and the truth of phantoms from dim to bright, one of them empty."""
    folder, found = tmp_path_factory.mktemp("looks"), []
    for seed, contrast, stretch, neurons in DRAWN:
        drawn = phantom(seed, contrast, stretch, neurons)
        grid = ChunkGrid(drawn.shape, (16, 16, 16))
        held = np.zeros(grid.counts, bool)
        for index in drawn.neurite_chunks(16):
            held[index] = True
        image = store(folder / f"{seed}.ome.zarr", drawn.image(), spacing=(stretch, 1.0, 1.0))
        found.append((chunk_scores(image, grid), held))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [24])
def test_the_interval_holds_in_nine_of_ten_trials_on_each_phantom(
    looks: list[Look], tiles: int
) -> None:
    for values, held in looks:
        truth, holds = held.reshape(-1), 0
        for trial in range(100):
            strata = Strata.of(values, np.ones(values.shape, bool), f"trial {trial}")
            sample = [(p, bool(truth[p])) for p in islice(strata.draw(), tiles)]
            found = strata.estimate(sample)
            holds += found.low <= truth.sum() <= found.high
        assert holds >= 90


def test_rules_cost_what_they_open() -> None:
    rules = ("evidence", 26, 0), ("any", 6, 0), ("any", 18, 0), ("any", 26, 0)
    costs = [visits_per_neurite(*rule).likely for rule in rules]
    assert costs == sorted(costs)
    assert visits_per_neurite("evidence", 26, 1).likely == 2 * costs[0]
    assert visits_per_neurite("any", 26, 0).low == 1


def test_an_interval_scales_and_is_bounded() -> None:
    interval = Interval(1.0, 2.0, 40.0)
    assert interval.times(2) == Interval(2, 4, 80)
    assert interval.times(Interval(1, 2, 3)) == Interval(1, 4, 120)
    assert interval.within(2, 30) == Interval(2, 2, 30)
    assert Interval(1 / 3, 2 / 3, 12345.6).to_json() == {
        "low": 0.3333,
        "likely": 0.6667,
        "high": 12350,
    }
