"""The journal keeps what was written, drops what was torn, and belongs to one process."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import OutputError, StorageError
from neuroconn.geometry import ChunkGrid
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal import file as journal_file
from neuroconn.inference.journal.journal import Journal, Record
from neuroconn.inference.verdict import Verdict

IDENTITY = {"model": "ab12", "rules": {"threshold": 8.0, "rule": "evidence"}, "chunk": (64, 64, 64)}


def some(n: int, seed: int = 0) -> list[Record]:
    rng = random.Random(seed)
    return [
        Record(
            (rng.randrange(99), rng.randrange(99), k),
            rng.choice(["neurite", "empty"]),
            rng.getrandbits(26),
            rng.getrandbits(26),
            rng.randrange(10**6),
            rng.getrandbits(32),
            rng.randint(1, 3),
            round(rng.random() * 10, 3),
            rng.random() < 0.5,
        )
        for k in range(n)
    ]


def written(folder: Path, *records: Record) -> Path:
    with Journal.create(folder, IDENTITY) as journal:
        journal.append(records)
    return journal.path


@given(
    index=st.tuples(*[st.integers(0, 10**5)] * 3),
    status=st.sampled_from(["neurite", "empty", "failed"]),
    masks=st.tuples(st.integers(0, 2**26 - 1), st.integers(0, 2**26 - 1)),
    digest=st.integers(0, 2**32 - 1),
    seconds=st.floats(0, 1e6).map(lambda s: round(s, 3)),
    elided=st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_line_says_all_of_its_record(index, status, masks, digest, seconds, elided) -> None:  # type: ignore[no-untyped-def]
    record = Record(index, status, *masks, 3, digest, 2, seconds, elided)
    line = record.to_line()
    assert Record.from_line(line) == record
    assert line.isascii()
    assert line.count(b"\n") == 1


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    records = some(50)
    with Journal.create(tmp_path / "run", IDENTITY) as journal:
        journal.append(records[:20])
        journal.append([])
        journal.append(records[20:])
        assert list(journal.records()) == records
    assert list(Journal.read(tmp_path / "run").records()) == records
    with Journal.open(tmp_path / "run", IDENTITY) as journal:
        assert list(journal.records()) == records
        assert (journal.dropped, journal.conflicts) == (0, [])


def test_a_tail_torn_at_any_byte_costs_the_torn_record_only(tmp_path: Path) -> None:
    records = some(3)
    path = written(tmp_path, *records)
    whole = path.read_bytes()
    last = len(whole) - len(records[-1].to_line())
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert list(Journal.read(tmp_path).records()) == records[:2]
        with Journal.open(tmp_path, IDENTITY) as journal:
            assert journal.dropped == end - last
            assert path.stat().st_size == last
            journal.append(records[2:])
            assert list(journal.records()) == records
        assert path.read_bytes() == whole


def test_a_flipped_bit_anywhere_stops_the_reading_there_and_keeps_the_rest_aside(
    tmp_path: Path,
) -> None:
    records = some(3)
    path = written(tmp_path, *records)
    whole = path.read_bytes()
    first, second = (len(r.to_line()) for r in records[:2])
    for at in range(first, first + second):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        assert list(Journal.read(tmp_path).records()) == records[:1], at
    Journal.open(tmp_path, IDENTITY).close()
    assert path.read_bytes() == whole[:first]
    assert (tmp_path / "journal.damaged").read_bytes() == bytes(damaged[first:])


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, *some(2))
    path.write_bytes(path.read_bytes()[:-5])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    journal = Journal.read(tmp_path)
    list(journal.records())
    with pytest.raises(ValueError, match="opened for reading"):
        journal.append(some(1))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_first_record_of_a_chunk_wins_and_other_bytes_are_reported(tmp_path: Path) -> None:
    first = Record((0, 0, 1), "empty", digest=1)
    same = Record((0, 0, 1), "empty", digest=1, attempt=2)
    other = Record((0, 0, 1), "neurite", digest=2)
    written(tmp_path, first, same, other)
    journal = Journal.read(tmp_path)
    for _ in range(2):
        assert list(journal.records()) == [first]
        assert journal.conflicts == [(0, 0, 1)]


def test_a_chunk_done_after_it_failed_comes_twice(tmp_path: Path) -> None:
    failed = Record((0, 0, 0), "failed", attempt=3)
    done = Record((0, 0, 0), "neurite", strong=1 << 13, weak=1 << 13, voxels=5, digest=7)
    written(tmp_path, failed, failed, done, failed)
    journal = Journal.read(tmp_path)
    assert list(journal.records()) == [failed, done]
    assert journal.conflicts == []

    grid = ChunkGrid((1, 1, 9), (1, 1, 1))
    frontier = Frontier(grid, [(0, 0, 0)], through_failed="none")
    frontier.fail(failed.index)
    assert len(frontier.record(done.index, done.verdict)) == 1
    with pytest.raises(ValueError, match="no verdict"):
        failed.verdict  # noqa: B018


def test_a_verdict_survives_the_journal() -> None:
    verdict = Verdict(True, 5, 7, 123)
    record = Record.from_verdict((1, 2, 3), verdict, digest=9, attempt=2)
    assert Record.from_line(record.to_line()).verdict == verdict


def test_a_run_with_other_settings_is_refused_by_name_and_both_values(tmp_path: Path) -> None:
    written(tmp_path, *some(1))
    other = {**IDENTITY, "rules": {"threshold": 6.0, "rule": "evidence"}}
    with pytest.raises(OutputError, match=r"rules\.threshold: 8, now 6"):
        Journal.open(tmp_path, other)
    Journal.open(tmp_path, {**IDENTITY, "chunk": np.array([64, 64, 64])}).close()


def test_a_folder_with_a_run_is_not_started_anew_and_one_without_is_not_resumed(
    tmp_path: Path,
) -> None:
    with pytest.raises(OutputError, match="holds no run"):
        Journal.open(tmp_path, IDENTITY)
    with pytest.raises(OutputError, match="holds no run"):
        Journal.read(tmp_path)
    assert not Journal.exists(tmp_path)
    path = written(tmp_path, *some(2))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="holds a run already"):
        Journal.create(tmp_path, IDENTITY)
    assert Journal.exists(tmp_path)
    assert path.read_bytes() == before
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_damaged_identity_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(OutputError, match="cannot tell which run"):
        Journal.open(tmp_path, IDENTITY)


def test_a_start_killed_before_the_identity_was_written_can_be_repeated(tmp_path: Path) -> None:
    tmp_path.joinpath("identity.draft").write_text('{"mod')
    written(tmp_path, *some(2))
    assert len(list(Journal.read(tmp_path).records())) == 2


def test_a_second_client_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with Journal.create(tmp_path, IDENTITY):
        with pytest.raises(OutputError, match=f"process {os.getpid()} on host"):
            Journal.open(tmp_path, IDENTITY)
        Journal.read(tmp_path)
    Journal.open(tmp_path, IDENTITY).close()


def test_the_lock_of_a_dead_process_is_taken_over_and_that_of_another_host_is_not(
    tmp_path: Path,
) -> None:
    written(tmp_path)
    lock = tmp_path / "lock"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = Journal.open(tmp_path, IDENTITY)
    held = json.loads(lock.read_text())
    mine.close()

    lock.write_text(json.dumps({**held, "pid": dead.pid}))
    Journal.open(tmp_path, IDENTITY).close()
    lock.write_text(json.dumps({**held, "started": "1"}))  # the same number, an earlier process
    Journal.open(tmp_path, IDENTITY).close()

    for foreign in (json.dumps({**held, "host": "elsewhere", "pid": 12}), "", "not json"):
        lock.write_text(foreign)
        with pytest.raises(OutputError, match="--force-unlock"):
            Journal.open(tmp_path, IDENTITY)
        assert lock.read_text() == foreign
        Journal.open(tmp_path, IDENTITY, force_unlock=True).close()


def test_who_lost_the_lock_by_force_does_not_remove_it(tmp_path: Path) -> None:
    first = Journal.create(tmp_path, IDENTITY)
    other = '{"host": "elsewhere", "pid": 12}'
    (tmp_path / "lock").write_text(other)
    first.close()
    first.close()
    assert (tmp_path / "lock").read_text() == other


def test_locks_work_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with Journal.create(tmp_path, IDENTITY), pytest.raises(OutputError, match="in use"):
        Journal.open(tmp_path, IDENTITY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["identity.json", "journal.jsonl"]


def test_a_full_disk_leaves_whole_records_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = some(10)
    with Journal.create(tmp_path, IDENTITY) as journal:
        journal.append(records[:4])

        def full(fd: int, data: bytes) -> None:
            os.write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(journal_file, "_write_all", full)
            with pytest.raises(StorageError, match="Make room"):
                journal.append(records[4:])
        assert list(Journal.read(tmp_path).records()) == records[:4]
        journal.append(records[4:])
    assert list(Journal.read(tmp_path).records()) == records


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot start a run"):
        Journal.create(tmp_path / "file" / "run", IDENTITY)


APPEND_FOREVER = """
import sys
from pathlib import Path
from neuroconn.inference.journal.journal import Journal, Record
folder = Path(sys.argv[1])
open_ = Journal.open if Journal.exists(folder) else Journal.create
with open_(folder, {"model": "x"}) as journal:
    k = sum(1 for _ in journal.records())
    while True:
        journal.append([Record((k + i, 0, 0), "empty", digest=k + i) for i in range(7)])
        k += 7
        print(k, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_journal_that_goes_on(tmp_path: Path) -> None:
    acknowledged = 0
    for number in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", APPEND_FOREVER, str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01 * number)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        acknowledged = int(lines[-1]) if lines else acknowledged
        found = [r.index[0] for r in Journal.read(tmp_path / "run").records()]
        assert found == list(range(len(found)))
        assert len(found) >= acknowledged


def test_failures_keep_their_reason_in_a_file_of_their_own(tmp_path: Path) -> None:
    with Journal.create(tmp_path, IDENTITY) as journal:
        journal.note_failure((1, 2, 3), 3, "out of memory", "Traceback\n  here")
        journal.note_failure((1, 2, 4), 1, "damaged")
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["zyx"] for line in lines] == [[1, 2, 3], [1, 2, 4]]
    assert json.loads(lines[0])["traceback"] == "Traceback\n  here"


def test_a_hundred_thousand_records_are_read(tmp_path: Path) -> None:
    with Journal.create(tmp_path, IDENTITY) as journal:
        for z in range(10):
            journal.append(Record((z, k // 100, k % 100), "empty", digest=k) for k in range(10**4))
    assert sum(1 for _ in Journal.open(tmp_path, IDENTITY).records()) == 10**5
