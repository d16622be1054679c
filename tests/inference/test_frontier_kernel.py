"""The compiled frontier does what the plain one does: sets, budgets, conflicts, order."""

import random

import numpy as np
import pytest
from plain_frontier import ALL, PlainFrontier

from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.verdict import Verdict


def random_verdict(rng: random.Random, density: float) -> Verdict:
    strong = sum(1 << k for k in range(26) if rng.random() < density)
    weak = strong | sum(1 << k for k in range(26) if rng.random() < 0.3)
    neurite = rng.random() < 0.5
    return Verdict(neurite, strong, weak if neurite else ALL, rng.randrange(4))


class Both:
    """Does everything to both frontiers, and compares what they answer."""

    def __init__(self, number: int) -> None:
        self.rng = rng = random.Random(number)
        self.grid = ChunkGrid(tuple(rng.randint(1, 4) for _ in range(3)), (1, 1, 1))  # type: ignore[arg-type]
        self.chunks = list(self.grid)
        masked = [c for c in self.chunks if rng.random() < 0.1]
        mask = np.zeros(self.grid.counts, bool)
        for index in masked:
            mask[index] = True
        through = rng.choice(["all", "bridge", "none"])
        seeds = rng.sample(self.chunks, min(2, len(self.chunks)))
        bridge = rng.choice([0, 1, 2, 254])
        self.field = {c: random_verdict(rng, rng.choice([0.02, 0.1])) for c in self.chunks}
        self.fast = Frontier(self.grid, seeds, bridge=bridge, mask=mask, through_failed=through)  # type: ignore[arg-type]
        self.plain = PlainFrontier(
            self.grid, seeds, bridge=bridge, masked=masked, through_failed=through
        )

    def step(self) -> None:
        rng, index = self.rng, self.rng.choice(self.chunks)
        verdict = self.field[index] if rng.random() < 0.9 else random_verdict(rng, 0.1)
        match rng.randrange(7):
            case 0:
                n = rng.randrange(4)
                assert self.fast.take(n) == self.plain.take(n)
            case 1:
                assert self.fast.record(index, verdict) == self.plain.record(index, verdict)
            case 2:
                assert self.fast.fail(index) == self.plain.fail(index)
            case 3 if self.plain.state[index] not in ("unexplored", "masked"):
                self.fast.requeue(index)
                self.plain.requeue(index)
            case 4:
                assert self.fast.add_seeds([index]) == self.plain.add_seeds([index])
            case 5:
                assert self.fast.add_probes([index]) == self.plain.add_probes([index])
            case 6:
                self.many()

    def many(self) -> None:
        chosen = self.rng.choices(self.chunks, k=self.rng.randrange(6))
        results = [(c, self.field[c]) for c in chosen]
        opened = [len(self.plain.record(*result)) for result in results]
        assert self.fast.record_many(results) == opened

    def compare(self) -> None:
        states = [self.fast.states[int(self.fast.state[c])] for c in self.chunks]
        assert states == list(self.plain.state.values())
        assert self.fast.conflicts == self.plain.conflicts
        histogram = {name: states.count(name) for name in self.fast.states}
        assert self.fast.counts() == histogram
        assert self.fast.take(10**6) == self.plain.take(10**6)


@pytest.mark.parametrize("block", range(4))
def test_compiled_and_plain_frontier_agree_on_any_history(block: int) -> None:
    for number in range(block * 100, block * 100 + 100):
        both = Both(number)
        for _ in range(both.rng.randint(5, 60)):
            both.step()
        both.compare()


def test_many_at_once_are_one_after_the_other() -> None:
    rng = random.Random(0)
    grid = ChunkGrid((6, 7, 8), (1, 1, 1))
    results = [(c, random_verdict(rng, 0.1)) for c in rng.choices(list(grid), k=500)]
    single, whole = (Frontier(grid, [(0, 0, 0)], bridge=2) for _ in range(2))

    opened = [len(single.record(*result)) for result in results]

    assert whole.record_many(results) == opened
    assert whole.record_many([]) == []
    assert whole.conflicts == single.conflicts
    assert whole.take(999) == single.take(999)


def test_what_is_outside_the_grid_is_refused_before_anything_changes() -> None:
    frontier = Frontier(ChunkGrid((1, 1, 3), (1, 1, 1)), [(0, 0, 0)])
    inside: tuple[ZYX, Verdict] = ((0, 0, 0), Verdict(True, 0, 0, 5))
    with pytest.raises(IndexError, match="no chunk"):
        frontier.record_many([inside, ((0, 0, 3), Verdict(True, 0, 0, 5))])
    with pytest.raises(IndexError, match="no chunk"):
        frontier.record((0, -1, 0), Verdict(True, 0, 0, 5))
    assert frontier.counts()["queued"] == 1


def test_evidence_beyond_any_count_still_goes_first() -> None:
    frontier = Frontier(ChunkGrid((1, 3, 3), (1, 1, 1)), [(0, 0, 0), (0, 1, 0), (0, 2, 0)])
    frontier.take(3)
    right = 1 << 13
    for y, voxels in ((0, 2**40), (1, 7), (2, 2**31)):
        frontier.record((0, y, 0), Verdict(True, right, right, voxels))

    assert frontier.take(9) == [(0, 0, 1), (0, 2, 1), (0, 1, 1)]
