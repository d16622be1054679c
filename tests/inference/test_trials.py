"""Sample chunks: as many at a time as there are slots, and a fair reading of the clock."""

from collections.abc import Iterator

import pytest

from neuroconn.geometry import ChunkGrid
from neuroconn.inference.executors import Batch, Returned
from neuroconn.inference.rehearsal.trials import Trial, _infer
from neuroconn.inference.task import Failure, Outcome
from neuroconn.inference.verdict import Verdict

GRID = ChunkGrid((1, 1, 1000), (1, 1, 1))


class Clockwork:
    """Workers of whose every chunk takes a second, the first of each slot five more."""

    def __init__(self, slots: int, broken: frozenset[int] = frozenset(), *, lost: int = -1) -> None:
        self.slots = slots
        self.now = 0.0
        self.most = 0
        self._free = [0.0] * slots
        self._broken, self._lost = broken, lost
        self._out: list[tuple[float, Batch]] = []
        self._started = 0

    def clock(self) -> float:
        return self.now

    def submit(self, batch: Batch) -> None:
        slot = self._free.index(min(self._free))
        begin = max(self.now, self._free[slot])
        self._free[slot] = begin + (6.0 if self._started < self.slots else 1.0)
        self._started += 1
        self._out.append((self._free[slot], batch))
        self.most = max(self.most, len(self._out))

    def drain(self) -> list[Returned]:
        self._out.sort(key=lambda item: (item[0], item[1].number))
        self.now, batch = self._out.pop(0)
        ((index, attempt),) = batch.chunks
        if index[2] == self._lost:
            return [Returned(batch, lost="killed", reason="worker 3 died")]
        if index[2] in self._broken:
            return [Returned(batch, (Failure(index, attempt, "no luck"),))]
        verdict = Verdict(index[2] % 2 == 0, 0, 0, 0)
        size = 100 if verdict.neurite else 10
        outcome = Outcome(
            index, verdict, 0, attempt, 1.0, 0.7, read_seconds=0.2, rehearsed_bytes=size
        )
        return [Returned(batch, (outcome,))]


def run(workers: Clockwork, draw: Iterator[int], budget_s: float = 20.0) -> Trial:
    return _infer(workers, GRID, draw, budget_s, workers.clock)


@pytest.mark.parametrize("slots", [1, 3])
def test_slots_are_full_and_the_warm_up_is_not_timed(slots: int) -> None:
    workers = Clockwork(slots)

    measured = run(workers, iter(range(1000))).measured(models=slots)

    assert measured is not None
    assert workers.most == slots
    assert measured.chunks_per_second == pytest.approx(slots, rel=0.1)
    assert measured.timed == measured.chunks - slots
    assert workers.now == pytest.approx(21, abs=1)
    assert measured.bottleneck == "model"
    assert (measured.neurite_bytes, measured.empty_bytes) == (100, 10)


def test_time_that_was_up_before_it_began_still_times_one() -> None:
    measured = run(Clockwork(2), iter(range(1000)), budget_s=0).measured(models=1)
    assert measured is not None
    assert measured.timed >= 1


def test_a_small_brain_is_inferred_whole_and_no_more() -> None:
    trial = run(Clockwork(4), iter([5, 8]))
    assert sorted(trial.verdicts(GRID)) == [(5, False), (8, True)]
    measured = trial.measured(models=1)
    assert measured is not None
    assert measured.timed == 0
    assert measured.chunks_per_second == pytest.approx(4)


def test_nothing_to_draw_is_nothing_measured() -> None:
    assert run(Clockwork(2), iter(())).measured(models=1) is None


def test_failures_are_told_and_end_it_when_all_fail() -> None:
    trial = run(Clockwork(2, broken=frozenset(range(1000))), iter(range(1000)))
    assert trial.measured(models=1) is None
    assert len(trial.failed) <= 4
    assert trial.failed[0] == "chunk (0, 0, 0): no luck"


def test_a_worker_that_dies_takes_one_chunk_with_it() -> None:
    trial = run(Clockwork(2, lost=3), iter(range(40)))
    assert len(trial.outcomes) > 20
    assert trial.failed == ["a worker was lost (killed): worker 3 died"]


def test_what_takes_longest_is_named() -> None:
    def named(model: float, read: float) -> str:
        verdict = Verdict(False, 0, 0, 0)
        outcome = Outcome((0, 0, 0), verdict, 0, 1, 1.0, model, read_seconds=read)
        measured = Trial(1, [outcome] * 4, [1.0, 2.0, 3.0, 4.0]).measured(models=1)
        assert measured is not None
        return measured.bottleneck

    assert named(0.8, 0.1) == "model"
    assert named(0.2, 0.7) == "reading"
    assert named(0.2, 0.1) == "verdict and compression"
