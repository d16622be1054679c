"""Lines on an object store: nothing is lost between two requests, and two clients notice."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from neuroconn.inference.journal import segments
from neuroconn.inference.journal.segments import Segment, Segments, SegmentTail, choose, groups


class Crash(BaseException):
    pass


class Held:
    """Objects in memory; may die before the n-th change."""

    at = "s3://nowhere/run"

    def __init__(self, objects: dict[str, bytes] | None = None, before: int = 10**9) -> None:
        self.objects = {} if objects is None else objects
        self.before = before
        self.changes = 0

    def _step(self) -> None:
        if self.changes >= self.before:
            raise Crash
        self.changes += 1

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        # In the worst order: nothing is promised of one.
        keys = sorted((k for k in self.objects if k.startswith(prefix)), reverse=True)
        yield from [(key, len(self.objects[key])) for key in keys]

    def size(self, key: str) -> int | None:
        return len(self.objects[key]) if key in self.objects else None

    def get(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def create(self, key: str, data: bytes) -> bool:
        if key in self.objects:
            return self.objects[key] == data
        self._step()
        self.objects[key] = data
        return True

    def delete(self, *keys: str) -> None:
        for key in random.Random(len(keys)).sample(keys, len(keys)):
            self._step()
            self.objects.pop(key, None)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "GATHERED", 4)
    monkeypatch.setattr(segments, "SCATTERED", 3)


def opened(held: Held) -> Segments:
    found: Any = held
    return Segments(found, "journal")


def read(held: Held) -> list[str]:
    return b"".join(opened(held).blocks()).decode().split()


def words(n: int, start: int = 0) -> list[str]:
    return [f"line-{k}" for k in range(start, start + n)]


def write(held: Held, lines: list[str]) -> None:
    log = opened(held)
    log.tidy()
    for line in lines:
        assert log.append(f"{line}\n".encode())


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 17])
def test_what_is_appended_is_read_in_order_and_merged_on_the_way(n: int) -> None:
    held = Held()
    write(held, words(n))
    write(held, words(n, start=n))

    assert read(held) == words(2 * n)
    assert len(held.objects) <= 3 + 2 * n // 4 + 3


def test_every_moment_between_two_requests_shows_what_was_acknowledged() -> None:
    total = Held()
    write(total, words(9))
    write(total, words(9, start=9))

    for before in range(total.changes):
        objects: dict[str, bytes] = {}
        held = Held(objects, before)
        acknowledged = 0
        try:
            for start in (0, 9):
                log = opened(held)
                log.tidy()
                for line in words(9, start):
                    log.append(f"{line}\n".encode())
                    acknowledged += 1
        except Crash:
            pass
        # A line whose answer never came may be there too.
        found = read(Held(objects))
        assert found in (words(acknowledged), words(acknowledged + 1)), before
        write(Held(objects), words(18 - len(found), start=len(found)))
        assert read(Held(objects)) == words(18), before


def test_lines_are_replaced_whole_or_not_at_all() -> None:
    for before in range(40):
        held = Held()
        write(held, words(7))
        new = words(3, start=100)
        held.before = held.changes + before
        try:
            done = opened(held).replace(f"{line}\n".encode() for line in new)
        except Crash:
            done = False
        found = read(Held(held.objects))
        assert found == new if done else found in (words(7), new), before
        write(Held(held.objects), ["more"])
        assert read(Held(held.objects)) == [*found, "more"], before
        if done:
            return
    raise AssertionError("never got to the end")


def test_lines_of_an_empty_log_can_be_replaced_too() -> None:
    held = Held()
    assert opened(held).replace([])
    assert read(held) == []
    assert opened(held).replace([b"a\n"])
    assert read(held) == ["a"]


def test_of_two_clients_only_the_first_gets_a_number() -> None:
    held = Held()
    write(held, words(2))
    one, other = opened(held), opened(held)

    assert one.append(b"mine\n")
    assert not other.append(b"mine\n")  # the same bytes, and yet not its own
    assert one.append(b"more\n")
    assert not other.append(b"again\n")
    assert not other.replace([b"all new\n"])

    assert read(held) == [*words(2), "mine", "more"]
    other.look()
    assert other.append(b"after\n")
    assert read(held) == [*words(2), "mine", "more", "after"]


def test_a_client_that_was_overtaken_merges_nothing_of_the_others() -> None:
    held = Held()
    one, other = opened(held), opened(held)
    expected = []
    for k in range(6):
        for log, name in ((one, "one"), (other, "other")):
            while not log.append(f"{name}-{k}\n".encode()):
                log.look()
            expected.append(f"{name}-{k}")

    assert read(held) == expected


def test_a_reader_meets_a_merge_and_misses_nothing() -> None:
    held = Held()
    write(held, words(7))
    reader = opened(held)
    blocks = reader.blocks()
    log = opened(held)
    log.tidy()
    for line in words(6, start=7):
        log.append(f"{line}\n".encode())
    # What it listed has gone by now.
    assert not any(k.endswith("/00000005.jsonl") for k in held.objects)

    found = b"".join(blocks).decode().split()

    assert found == words(13)


def test_a_tail_gives_every_line_once_whatever_is_merged_meanwhile() -> None:
    held: Any = Held()
    tail = SegmentTail(opened(held))
    found: list[str] = []
    assert tail.block() == b""
    for start in range(0, 40, 5):
        write(held, words(5, start))
        found += tail.block().decode().split()
        assert tail.block() == b""
    assert found == words(40)
    assert not tail.cut

    opened(held).replace([b"new\n"])
    tail.block()
    assert tail.cut


@pytest.mark.parametrize("every", [1, 2, 3, 5])
def test_a_tail_goes_on_in_the_middle_of_what_was_merged_since(every: int) -> None:
    held: Any = Held()
    tail, log = SegmentTail(opened(held)), opened(held)
    found: list[str] = []
    for number, line in enumerate(words(17)):
        assert log.append(f"{line}\n".encode())
        if number % every == 0:
            found += tail.block().decode().split()
            assert found == words(number + 1)


def test_a_tail_fetches_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    held: Any = Held()
    write(held, words(6))
    tail = SegmentTail(opened(held), keep=lambda line: line != b"line-7\n")
    tail.block()
    got: list[str] = []
    monkeypatch.setattr(held, "get", lambda key: got.append(key) or held.objects[key])
    assert opened(held).append(b"line-6\n")
    assert opened(held).append(b"line-7\n")

    assert tail.block() == b"line-6\n"

    assert got == ["journal/00000007.jsonl", "journal/00000008.jsonl"]


def test_a_lost_object_is_told_and_costs_its_own_lines_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held = Held()
    write(held, words(3))
    del held.objects["journal/00000002.jsonl"]

    assert read(held) == ["line-0", "line-2"]
    assert "lacks numbers 2 to 2" in caplog.text
    write(held, ["more"])
    assert read(held) == ["line-0", "line-2", "more"]


def test_a_file_that_was_copied_from_a_disk_comes_first_and_is_merged_like_others() -> None:
    held = Held({"journal.jsonl": b"old-0\nold-1\n"})
    write(held, words(2))
    assert read(held) == ["old-0", "old-1", *words(2)]
    write(held, words(9, start=2))
    write(held, [])

    assert read(held) == ["old-0", "old-1", *words(11)]
    assert "journal.jsonl" not in held.objects
    assert opened(held).replace([b"new\n"])
    assert read(held) == ["new"]


def test_other_objects_under_the_prefix_are_left_alone() -> None:
    held = Held({"journal/README": b"mine", "journal/1.jsonl": b"x"})
    write(held, words(9))

    assert read(held) == words(9)
    assert held.objects["journal/README"] == b"mine"


def test_segments_that_overlap_without_covering_are_both_read() -> None:
    whole, covered = choose([Segment(2, 4, 1), Segment(1, 3, 1), Segment(2, 3, 1)])

    assert [(s.first, s.last) for s in whole] == [(1, 3), (2, 4)]
    assert [(s.first, s.last) for s in covered] == [(2, 3)]


def test_groups_do_not_reach_across_a_gap() -> None:
    scattered = [Segment(k, k, 1) for k in (1, 2, 4, 5, 6, 9)]

    assert [[s.first for s in group] for group in groups(scattered)] == [[1, 2], [4, 5, 6]]
