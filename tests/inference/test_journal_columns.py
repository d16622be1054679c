"""Columns say what records say, and a fast replay ends where a slow one does."""

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import NeuroconnError
from neuroconn.geometry import ZYX, ChunkGrid
from neuroconn.inference.frontier.frontier import Frontier
from neuroconn.inference.journal.columns import ROW, Ledger, parse_lines, sound_end, with_gaps
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.journal.line import STATUSES, Record
from neuroconn.inference.journal.replay import replay

ALL = (1 << 26) - 1
GRID = ChunkGrid((3, 4, 5), (1, 1, 1))
IDENTITY = {"grid": GRID}

records = st.builds(
    Record,
    index=st.tuples(*[st.integers(0, 10**6)] * 3),
    status=st.sampled_from(STATUSES),
    strong=st.integers(0, ALL),
    weak=st.integers(0, ALL),
    voxels=st.integers(0, 2**40),
    digest=st.integers(0, 2**32 - 1),
    attempt=st.integers(1, 10**6),
    seconds=st.floats(0, 1e20) | st.floats(0, 1e-2) | st.floats(0, 1e4),
    elided=st.booleans(),
    absent=st.integers(0, 10**9) | st.just(0),
    damaged=st.lists(st.tuples(*[st.integers(0, 99)] * 3), max_size=1).map(tuple),
)


def line(text: str) -> bytes:
    data = text.encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def expected(record: Record) -> tuple[object, ...]:
    said = {name: getattr(record, name) for name in ROW.names or () if hasattr(record, name)}
    said |= dict(zip("zyx", record.index, strict=True), status=STATUSES.index(record.status))
    return tuple(said[name] for name in ROW.names or ())


@given(st.lists(records, max_size=6))
@settings(max_examples=150, deadline=None)
def test_columns_hold_what_the_lines_say(written: list[Record]) -> None:
    lines = [record.to_line() for record in written]

    rows = parse_lines(b"".join(lines))

    assert [row.item() for row in rows] == [expected(Record.from_line(one)) for one in lines]


@pytest.mark.parametrize(
    "text",
    [
        '{"status":"empty","zyx":[1,2,3]}',
        '{"zyx": [1, 2, 3], "status": "empty"}',
        '{"zyx":[1,2,3],"status":"empty","strong":0,"weak":0,"voxels":0,"digest":0,"attempt":1,'
        '"seconds":1e-05,"elided":1}',
        '{"zyx":[1,2,3],"status":"empty","strong":0,"weak":0,"voxels":0,"digest":0,"attempt":1,'
        '"seconds":3,"elided":0}',
        '{"zyx":[1,2,3],"status":"empty","strong":0,"weak":0,"voxels":0,"digest":0,"attempt":1,'
        '"seconds":0.5}',
    ],
)
def test_lines_written_otherwise_are_read_too(text: str) -> None:
    plain = Record((0, 0, 1), "neurite", 1, 3, 9).to_line()

    rows = parse_lines(plain + line(text) + plain)

    assert rows[1].item() == expected(Record.from_line(line(text)))
    assert rows[0] == rows[2] == parse_lines(plain)[0]


def test_a_line_that_says_more_than_a_record_is_refused() -> None:
    plain = Record((0, 0, 1), "neurite", 1, 3, 9).to_line()
    more = plain[9:-1].decode() + "}"
    with pytest.raises(ValueError, match="Extra data"):
        parse_lines(line(more))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_journal_ends_before_the_first_line_that_is_not_sound(data: st.DataObject) -> None:
    lines = [r.to_line() for r in data.draw(st.lists(records, min_size=1, max_size=5))]
    whole = b"".join(lines)
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    flipped = whole[:at] + bytes([whole[at] ^ 1 << data.draw(st.integers(0, 7))]) + whole[at + 1 :]
    hurt = whole[:at] if cut else flipped
    ends = np.cumsum([0, *map(len, lines)]).tolist()

    assert sound_end(whole) == len(whole)
    assert sound_end(hurt) == max(end for end in ends if end <= at)
    if sound_end(hurt) != len(hurt):
        with pytest.raises(ValueError, match="torn or damaged"):
            parse_lines(hurt)


def history(rng: random.Random, conflicts: bool = True) -> Iterator[Record]:
    """Duplicates, failures before and after a result, now and then two results of a chunk."""
    chunks = list(GRID)
    field = {c: (rng.random() < 0.5, rng.getrandbits(26), rng.getrandbits(32)) for c in chunks}
    for _ in range(rng.randrange(80)):
        index = rng.choice(chunks)
        neurite, mask, digest = field[index]
        if rng.random() < 0.3:
            yield Record(index, "failed", attempt=3)
            continue
        if conflicts and rng.random() < 0.02:
            digest = rng.getrandbits(32)
        if conflicts and rng.random() < 0.02:
            mask ^= 1 << rng.randrange(26)
        status = STATUSES[0] if neurite else STATUSES[1]
        yield Record(index, status, mask & rng.choice([mask]), mask, int(neurite) * 5, digest)


def slow_replay(journal: Journal, seeds: list[ZYX], **how: object) -> Frontier:
    """One record after the other."""
    frontier = Frontier(GRID, seeds, **how)  # type: ignore[arg-type]
    for record in journal.records():
        if record.status == "failed":
            frontier.fail(record.index)
        else:
            frontier.record(record.index, record.verdict)
    return frontier


@pytest.mark.parametrize("torn", [False, True])
def test_a_fast_replay_ends_where_a_slow_one_does(tmp_path: Path, torn: bool) -> None:
    refused = 0
    for number in range(120):
        rng = random.Random(number)
        folder = tmp_path / f"{number}"
        with Journal.create(folder, IDENTITY) as journal:
            journal.append(list(history(rng)))
        if torn:
            size = journal.path.stat().st_size
            with journal.path.open("rb+") as file:
                file.truncate(rng.randint(0, size))
        journal = Journal.read(folder)
        how = {"bridge": number % 3, "through_failed": rng.choice(["all", "bridge", "none"])}
        seeds = rng.sample(list(GRID), 2)
        slow = slow_replay(journal, seeds, **how)

        if journal.conflicts or slow.conflicts:
            refused += 1
            with pytest.raises(NeuroconnError, match=f"holds {len(journal.conflicts) or '1'}"):
                replay(journal, GRID, seeds, **how)  # type: ignore[arg-type]
            continue
        fast = replay(journal, GRID, seeds, **how)  # type: ignore[arg-type]

        assert np.array_equal(fast.state, slow.state), number
        assert fast.take(99) == slow.take(99), number
    assert 5 < refused < 115


def test_a_ledger_keeps_the_records_a_journal_keeps(tmp_path: Path) -> None:
    for number in range(60):
        written = list(history(random.Random(number)))
        with Journal.create(tmp_path / f"{number}", IDENTITY) as journal:
            journal.append(written)
            kept = [expected(record) for record in journal.records()]
        ledger = Ledger(GRID)
        # A line a block: what was seen carries over from one to the next.
        parts = [rows for rows, _ in ledger.rows(record.to_line() for record in written)]

        assert [row.item() for rows in parts for row in rows] == kept
        assert ledger.conflicts == journal.conflicts


@given(st.lists(records, max_size=8), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_gaps_are_those_of_the_records_each_chunk_once(written: list[Record], cut: int) -> None:
    lines = [record.to_line() for record in written]
    expected = {r.index: r for r in reversed(written) if r.absent or r.damaged}

    found = list(with_gaps([b"".join(lines[:cut]), b"".join(lines[cut:])]))

    assert {record.index: record.absent for record in found} == {
        index: record.absent for index, record in expected.items()
    }
    assert len(found) == len(expected)


def test_a_record_of_another_grid_is_refused() -> None:
    with pytest.raises(IndexError, match="no chunk"):
        list(Ledger(GRID).rows([Record((3, 0, 0), "empty").to_line()]))


def test_blocks_are_whole_lines_and_leave_out_the_torn_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [Record((0, 0, x), "empty", seconds=x / 3) for x in range(5)]
    with Journal.create(tmp_path / "run", IDENTITY) as journal:
        journal.append(written)
    lines = b"".join(record.to_line() for record in written)
    with journal.path.open("ab") as file:
        file.write(json.dumps({"zyx": [0, 0, 0]}).encode())
    for size in (1, 150, 10**6):
        monkeypatch.setattr("neuroconn.inference.journal.journal._BLOCK", size)

        blocks = list(Journal.read(tmp_path / "run").blocks())

        assert b"".join(blocks) == lines
        assert all(block.endswith(b"\n") for block in blocks)
