"""The record of finished tiles survives crashes and keeps others out."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroconn.errors import OutputError
from neuroconn.vaa3d.journal import Block, Made, TileJournal

TILES = [
    Made(0, (0, 0, 0), 512, Block.STORED, stamp=2**64 - 1),
    Made(0, (1, 2, 3), 0, Block.ZERO),
    Made(2, (0, 0, 1), 70_000, Block.OLD),
]


def write(path: Path) -> None:
    with TileJournal(path) as journal:
        for made in TILES:
            journal.record(made)


def test_what_is_recorded_is_remembered(tmp_path: Path) -> None:
    write(tmp_path / "journal")

    with TileJournal(tmp_path / "journal") as journal:
        assert list(journal.records()) == TILES


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 80))
def test_a_torn_line_is_dropped_and_later_lines_are_whole(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal"
    write(path)
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    kept = TILES[: path.read_bytes().count(b"\n")]
    more = Made(5, (9, 9, 9), 1, Block.STORED)

    with TileJournal(path) as journal:
        assert list(journal.records()) == kept
        journal.record(more)

    with TileJournal(path) as journal:
        assert list(journal.records()) == [*kept, more]


def test_a_flipped_bit_ends_the_record_there(tmp_path: Path) -> None:
    write(tmp_path / "journal")
    data = bytearray((tmp_path / "journal").read_bytes())
    data[data.index(b"\n") + 15] ^= 1
    (tmp_path / "journal").write_bytes(data)

    with TileJournal(tmp_path / "journal") as journal:
        assert list(journal.records()) == TILES[:1]


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with TileJournal(tmp_path / "journal"), pytest.raises(OutputError, match="another export"):
        TileJournal(tmp_path / "journal")

    TileJournal(tmp_path / "journal").__exit__(None, None, None)
