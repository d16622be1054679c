"""Results that come twice, too late, or from another life: neither frontier nor journal moves."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.executors import Batch, Returned, SerialExecutor
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.journal.replay import replay
from neuroconn.inference.task import Failure, Outcome
from neuroconn.inference.verdict import Verdict
from neuroconn.inference.walk import Walk
from neuroconn.inference.watching.events import EventLog

GRID = ChunkGrid((4, 5, 6), (1, 1, 1))
SEED = (1, 2, 3)
Run = Callable[[ZYX, int], Outcome | Failure]


def field(index: ZYX, attempt: int) -> Outcome:
    """A random field of verdicts, each a pure function of its chunk."""
    rng = random.Random(f"late {index}")
    strong = sum(1 << k for k in range(26) if rng.random() < 0.12)
    verdict = Verdict(strong > 0, strong, strong, voxels=rng.randrange(100))
    return Outcome(index, verdict, rng.getrandbits(32), attempt, seconds=0.01)


class LateExecutor:
    """Gives batches up as lost and returns them later, repeats old ones, invents others."""

    slots = 3

    def __init__(self, run: Run, luck: int) -> None:
        self.random = random.Random(luck)
        self.run = run
        self.out: list[Batch] = []
        self.old: list[Returned] = []
        self.late = 0

    def submit(self, batch: Batch) -> None:
        self.out.append(batch)

    def drain(self) -> list[Returned]:
        batch = self.out.pop(self.random.randrange(len(self.out)))
        done = Returned(batch, tuple(self.run(*chunk) for chunk in batch.chunks))
        now = self._lost(batch) if self.random.random() < 0.3 else done
        self.old.append(done)
        extra = [r for r in self.old if self.random.random() < 0.3 and r is not now]
        if self.random.random() < 0.3:  # a client that died had numbers of its own
            chunks = tuple((index, 9) for index in self.random.sample(list(GRID), 3))
            stranger = Batch(10**6 + batch.number, chunks)
            extra.append(Returned(stranger, tuple(field(*chunk) for chunk in chunks)))
        self.late += len(extra)
        return [now, *extra] if self.random.random() < 0.5 else [*extra, now, now]

    def _lost(self, batch: Batch) -> Returned:
        lost = self.random.choice(["cancelled", "killed"])
        return Returned(batch, lost=lost, reason="given up")  # type: ignore[arg-type]


def walk(folder: Path, executor: object, run: Run = field) -> Frontier:
    """Walk into a folder, new or resumed."""
    make = Journal.open if Journal.exists(folder) else Journal.create
    with make(folder, {"test": 1}) as journal:
        frontier = replay(journal, GRID, [SEED], through_failed="none")
        Walk(frontier, executor, journal, EventLog(folder / "events.jsonl")).run()  # type: ignore[arg-type]
    return frontier


def lines(folder: Path) -> dict[ZYX, tuple[str, int]]:
    """What the journal says, by chunk; every line counts."""
    return {r.index: (r.status, r.digest) for r in Journal.read(folder).records()}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(luck=st.integers(0, 10**6))
def test_late_and_repeated_results_change_neither_journal_nor_frontier(
    tmp_path_factory: pytest.TempPathFactory, luck: int
) -> None:
    calm, wild = (tmp_path_factory.mktemp(name) / "run" for name in ("calm", "wild"))
    want = walk(calm, SerialExecutor(field))
    poisoned = 0

    executor = LateExecutor(field, luck)
    found = walk(wild, executor)

    poisoned = found.counts()["failed"]  # killed with nothing else in flight, twice
    written = (wild / "journal.jsonl").read_bytes().count(b"\n")
    assert written == len(lines(wild))
    assert executor.late
    if not poisoned:
        assert found.counts() == want.counts()
        assert lines(wild) == lines(calm)
    for index, line in lines(wild).items():
        assert line in (lines(calm).get(index), ("failed", 0))


def test_a_result_after_the_chunk_was_given_up_does_not_count(tmp_path: Path) -> None:
    class Slow(SerialExecutor):
        late: tuple[Returned, ...] = ()

        def drain(self) -> list[Returned]:
            batch = self._waiting.popleft()
            now = Returned(batch, tuple(field(*chunk) for chunk in batch.chunks))
            if [index for index, _ in batch.chunks] != [SEED]:
                return [*self.late, now]
            self.late = (now,)
            gone = Failure(SEED, batch.chunks[0][1], "VolumeError: lost", final=True)
            return [Returned(batch, (gone,)), now]

    frontier = walk(tmp_path / "run", Slow(field))

    assert lines(tmp_path / "run") == {SEED: ("failed", 0)}
    assert frontier.counts()["failed"] == 1
    assert frontier.counts()["neurite"] == 0


def test_what_came_late_is_told_to_people(tmp_path: Path) -> None:
    class Twice(SerialExecutor):
        def drain(self) -> list[Returned]:
            (returned,) = super().drain()
            return [returned, returned]

    walk(tmp_path / "run", Twice(field))

    assert '"late batch"' in (tmp_path / "run/events.jsonl").read_text()
