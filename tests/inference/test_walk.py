"""The loop against executors that lose, repeat, reorder and kill what they are given."""

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroconn.errors import InterruptedRunError, StorageError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.executors import Batch, Returned, SerialExecutor, ThreadExecutor
from neuroconn.inference.failures import Retries
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.journal.replay import replay
from neuroconn.inference.task import Failure, Outcome
from neuroconn.inference.verdict import Verdict, opened
from neuroconn.inference.walk import Walk, window
from neuroconn.inference.watching.events import EventLog, Progress

GRID = ChunkGrid((4, 5, 6), (1, 1, 1))
SEED = (1, 2, 3)


def field(seed: int) -> Callable[[ZYX, int], Outcome | Failure]:
    """A random field of verdicts, each a pure function of its chunk."""

    def run(index: ZYX, attempt: int) -> Outcome:
        rng = random.Random(f"{seed} {index}")
        strong = sum(1 << k for k in range(26) if rng.random() < 0.09)
        verdict = Verdict(strong > 0, strong, strong, voxels=rng.randrange(100))
        return Outcome(index, verdict, rng.getrandbits(32), attempt, seconds=0.01)

    return run


def closure(run: Callable[[ZYX, int], Outcome | Failure]) -> set[ZYX]:
    """The slow twin: breadth first, no frontier, no window."""
    found, queue = {SEED}, [SEED]
    while queue:
        z, y, x = queue.pop(0)
        outcome = run((z, y, x), 1)
        assert isinstance(outcome, Outcome)
        for dz, dy, dx in opened(outcome.verdict.strong):
            near = (z + dz, y + dy, x + dx)
            if near in GRID and near not in found:
                found.add(near)
                queue.append(near)
    return found


WIDE = next(n for n in range(100) if len(closure(field(n))) > 40)


class WildExecutor:
    """Returns batches in any order; forgets some, raises in some, kills some."""

    slots = 3

    def __init__(self, run: Callable[[ZYX, int], Outcome | Failure], seed: int) -> None:
        self.random = random.Random(seed)
        self.run = run
        self.out: list[Batch] = []
        self.most = 0
        self.ran: list[ZYX] = []

    def submit(self, batch: Batch) -> None:
        self.out.append(batch)
        self.most = max(self.most, len(self.out))

    def drain(self) -> list[Returned]:
        self.random.shuffle(self.out)
        count = self.random.randint(1, len(self.out))
        back, self.out = self.out[:count], self.out[count:]
        return [self.one(batch) for batch in back]

    def one(self, batch: Batch) -> Returned:
        chance = self.random.random()
        if chance < 0.1:
            return Returned(batch, lost="cancelled", reason="forgotten")
        first = all(attempt == 1 for _, attempt in batch.chunks)
        if first and chance < 0.2:
            return Returned(batch, lost="killed", reason="worker died")
        if first and chance < 0.3:
            return Returned(batch, lost="error", reason="ValueError: once")
        self.ran += [index for index, _ in batch.chunks]
        return Returned(batch, tuple(self.run(*chunk) for chunk in batch.chunks))


def walk(folder: Path, executor: object, **options: object) -> tuple[Walk, Frontier]:
    """One run into a folder, new or resumed."""
    identity = {"test": 1}
    make = Journal.open if Journal.exists(folder) else Journal.create
    with make(folder, identity) as journal:
        frontier = replay(journal, GRID, [SEED])
        loop = Walk(frontier, executor, journal, EventLog(folder / "events"), **options)  # type: ignore[arg-type]
        loop.run()
    return loop, frontier


def visited(folder: Path) -> dict[ZYX, tuple[str, int]]:
    return {r.index: (r.status, r.digest) for r in Journal.read(folder).records()}


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10**6), luck=st.integers(0, 10**6))
def test_the_visited_set_does_not_depend_on_what_goes_wrong(
    tmp_path_factory: pytest.TempPathFactory, seed: int, luck: int
) -> None:
    run, folder = field(seed), tmp_path_factory.mktemp("run")

    executor = WildExecutor(run, luck)
    walk(folder, executor)

    found = visited(folder)
    assert set(found) == closure(run)
    assert all(status != "failed" for status, _ in found.values())
    assert executor.most <= window(3)


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10**6), cut=st.integers(0, 4000))
def test_a_run_cut_anywhere_resumes_to_the_same_journal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: int
) -> None:
    run, folder = field(seed), tmp_path_factory.mktemp("run")
    walk(folder, SerialExecutor(run))
    whole, file = visited(folder), folder / "journal.jsonl"
    file.write_bytes(file.read_bytes()[: cut % (file.stat().st_size + 1)])
    kept = len(visited(folder))

    again = WildExecutor(run, seed)
    walk(folder, again)

    assert visited(folder) == whole
    assert len(set(again.ran)) == len(whole) - kept
    third = WildExecutor(run, seed)
    walk(folder, third)
    assert third.ran == []


def test_threads_find_what_one_thread_finds(tmp_path: Path) -> None:
    walk(tmp_path / "one", SerialExecutor(field(WIDE)))
    with ThreadExecutor(field(WIDE), 4) as executor:
        walk(tmp_path / "four", executor)

    assert visited(tmp_path / "four") == visited(tmp_path / "one")


def test_a_chunk_that_always_raises_is_given_up_after_three_attempts(tmp_path: Path) -> None:
    tried = []

    def run(index: ZYX, attempt: int) -> Outcome | Failure:
        if index == SEED:
            tried.append(attempt)
            return Failure(index, attempt, "ValueError: always", details="Traceback ...")
        return field(WIDE)(index, attempt)

    walk(tmp_path / "run", SerialExecutor(run))

    assert tried == [1, 2, 3]
    assert visited(tmp_path / "run")[SEED][0] == "failed"
    assert "ValueError: always (3 attempts)" in (tmp_path / "run" / "failures.jsonl").read_text()


def test_a_poison_chunk_takes_no_innocent_with_it(tmp_path: Path) -> None:
    reached = closure(field(WIDE))
    poison = sorted(reached - {SEED})[0]

    class Killing(WildExecutor):
        def one(self, batch: Batch) -> Returned:
            if poison in [index for index, _ in batch.chunks]:
                return Returned(batch, lost="killed", reason="worker died")
            return Returned(batch, tuple(self.run(*chunk) for chunk in batch.chunks))

    walk(tmp_path / "run", Killing(field(WIDE), 0))

    found = visited(tmp_path / "run")
    assert [i for i, (status, _) in found.items() if status == "failed"] == [poison]


def test_a_suspect_runs_with_nothing_else_in_flight(tmp_path: Path) -> None:
    company = []

    class Watching(WildExecutor):
        def one(self, batch: Batch) -> Returned:
            if any(attempt > 1 for _, attempt in batch.chunks):
                company.append(len(self.out))
            return super().one(batch)

        def drain(self) -> list[Returned]:
            if len(self.out) > 1:
                batches, self.out = self.out, []
                return [Returned(b, lost="killed", reason="worker died") for b in batches]
            return [Returned(b, tuple(self.run(*c) for c in b.chunks)) for b in [self.out.pop()]]

    walk(tmp_path / "run", Watching(field(WIDE), 0))

    assert set(company) <= {0}
    assert set(visited(tmp_path / "run")) == closure(field(WIDE))


def test_a_refusing_storage_stops_the_run_and_keeps_the_journal(tmp_path: Path) -> None:
    done = []

    def run(index: ZYX, attempt: int) -> Outcome | Failure:
        if len(done) == 3:
            return Failure(index, attempt, "StorageError: the disk is full", storage=True)
        done.append(index)
        return field(WIDE)(index, attempt)

    with pytest.raises(StorageError, match=r"disk is full.*same command"):
        walk(tmp_path / "run", SerialExecutor(run))

    assert set(visited(tmp_path / "run")) == set(done)
    walk(tmp_path / "run", SerialExecutor(field(WIDE)))
    assert set(visited(tmp_path / "run")) == closure(field(WIDE))


def test_asked_to_stop_it_journals_what_is_in_flight(tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def listen(progress: Progress) -> None:
        seen.append(progress)
        if progress.done >= 2:
            stop.set()

    with pytest.raises(InterruptedRunError, match="same command again"):
        walk(tmp_path / "run", SerialExecutor(field(WIDE)), stop=stop, listener=listen)

    assert seen[-1].in_flight == 0
    assert seen[-1].done == len(visited(tmp_path / "run")) < len(closure(field(WIDE)))
    assert all(p.known == p.done + p.failed + p.queued + p.in_flight for p in seen)


def test_max_chunks_is_a_limit_for_the_whole_run(tmp_path: Path) -> None:
    for _ in range(2):
        _, frontier = walk(tmp_path / "run", SerialExecutor(field(WIDE)), max_chunks=5)

        assert len(visited(tmp_path / "run")) == 5
        assert frontier.counts()["queued"] > 0

    walk(tmp_path / "run", SerialExecutor(field(WIDE)))
    assert set(visited(tmp_path / "run")) == closure(field(WIDE))


def test_cheap_chunks_travel_together_once_the_frontier_is_wide(tmp_path: Path) -> None:
    sizes = []

    class Counting(SerialExecutor):
        def submit(self, batch: Batch) -> None:
            sizes.append(len(batch.chunks))
            super().submit(batch)

    with Journal.create(tmp_path / "run", {"test": 1}) as journal:
        frontier = Frontier(GRID, GRID)
        Walk(frontier, Counting(field(WIDE)), journal, EventLog(tmp_path / "events")).run()

    assert sizes[0] == 1
    assert max(sizes) == 32
    assert sum(sizes) == len(GRID)


def test_a_lost_batch_is_tried_again_without_limit_only_if_the_scheduler_forgot_it() -> None:
    retries = Retries(attempts=2)
    batch = Batch(1, (((0, 0, 0), 1),))

    for _ in range(10):
        assert retries.lost(Returned(batch, lost="cancelled"), alone=False) == []
        assert retries.take(5) == [(0, 0, 0)]
    assert retries.lost(Returned(batch, lost="error", reason="x"), alone=False) == []
    assert retries.take(5) == [(0, 0, 0)]
    (failure,) = retries.lost(Returned(batch, lost="error", reason="x"), alone=False)
    assert failure.reason == "x (2 attempts)"


def test_memory_of_chunks_that_succeeded_is_let_go() -> None:
    retries = Retries()
    assert [retries.attempt((0, 0, 1)), retries.attempt((0, 0, 1))] == [1, 2]

    retries.forget((0, 0, 1))

    assert retries.attempt((0, 0, 1)) == 1
