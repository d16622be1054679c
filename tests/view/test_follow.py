import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import CHUNKS, SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.errors import InterruptedRunError, OutputError
from neuroconn.inference.output.status import status
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.view.follow import Follower, Snapshot
from neuroconn.view.tail import FileTail


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    return tmp_path


def run(folder: Path, progress: Callable[[Progress], None] | None = None, **more: Any) -> None:
    usual: dict[str, Any] = {"seed_source": "all", "settings": SETTINGS}
    infer(
        folder / "brain.zarr",
        folder / "out.zarr",
        model=folder / "model",
        scheduler="sync",
        predictor=fake_predictor,
        progress=progress,
        **{**usual, **more},
    )


def test_at_every_moment_it_says_what_a_fresh_look_says(brain: Path) -> None:
    followers: list[Follower] = []
    compared: list[int] = []

    def compare(now: Progress) -> None:
        if not followers:
            followers.append(Follower(brain / "out.zarr"))
        if compared and now.done - compared[-1] < 7:
            return
        followers[0].refresh()
        found, fresh = followers[0].snapshot(), status(brain / "out.zarr")
        waiting = found.chunks["queued"] + found.chunks["in_flight"]
        for name in ("neurite", "empty", "failed", "unexplored", "masked"):
            assert found.chunks[name] == fresh.chunks[name]
        assert waiting == fresh.chunks["queued"]
        assert found.running == fresh.running
        compared.append(now.done)

    run(brain, compare)
    followers[0].refresh()

    last = followers[0].snapshot()
    assert len(compared) > 3
    assert last.complete
    assert last.running is None
    assert last.chunks == status(brain / "out.zarr").chunks
    assert last.last["inferred"] == CHUNKS


class Counted(FileTail):
    """A tail that keeps account of what it read."""

    def __init__(self, path: Path, read: list[int]) -> None:
        super().__init__(path)
        self.account = read

    def block(self) -> bytes:
        block = super().block()
        self.account.append(len(block))
        return block


def test_each_line_is_read_once(brain: Path) -> None:
    stop = threading.Event()
    with pytest.raises(InterruptedRunError):
        run(brain, lambda now: stop.set() if now.done > 20 else None, stop=stop)
    follower = Follower(brain / "out.zarr")
    folder, blocks = brain / "out.zarr/run", list[int]()
    follower._journal = Counted(folder / "journal.jsonl", blocks)
    follower._events = Counted(folder / "events.jsonl", blocks)

    follower.refresh()
    assert follower.refresh() is False
    run(brain)
    follower.refresh()

    whole = sum((folder / f"{name}.jsonl").stat().st_size for name in ("journal", "events"))
    assert sum(blocks) == whole
    assert follower.snapshot().complete


def test_the_pace_comes_from_the_samples_and_only_while_somebody_works(brain: Path) -> None:
    snapshots = []

    def look(now: Progress) -> None:
        if now.done >= 40 and not snapshots:
            follower = Follower(brain / "out.zarr")
            follower.refresh()
            snapshots.append(follower.snapshot())

    run(brain, look)
    follower = Follower(brain / "out.zarr")
    follower.refresh()

    (during,), after = snapshots, follower.snapshot()
    assert during.running
    assert during.total == (CHUNKS, CHUNKS, CHUNKS)
    assert after.rates == (0.0, 0.0)
    assert after.eta_text == "nobody is at work"
    assert after.seconds > 0
    assert after.task_seconds == pytest.approx(status(brain / "out.zarr").task_seconds, abs=0.01)


def test_seeds_that_another_client_brings_are_known(brain: Path) -> None:
    run(brain, seed_source=None, seeds=[SEED])
    follower = Follower(brain / "out.zarr")
    follower.refresh()
    before = follower.snapshot()
    stop = threading.Event()

    with pytest.raises(InterruptedRunError):
        run(brain, lambda now: stop.set() if now.done > 20 else None, stop=stop)
    follower.refresh()

    after = follower.snapshot()
    assert before.complete
    assert after.chunks == status(brain / "out.zarr").chunks
    assert after.chunks["queued"] > 0


def test_a_repaired_journal_is_read_again_from_its_start(brain: Path) -> None:
    run(brain)
    follower = Follower(brain / "out.zarr")
    follower.refresh()
    journal = brain / "out.zarr/run/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    part = journal.with_suffix(".part")
    part.write_bytes(b"".join(lines[:-3]))
    part.replace(journal)

    assert follower.refresh()

    assert follower.snapshot().chunks["queued"] == 3


def test_what_lies_behind_a_damaged_line_is_not_believed(brain: Path) -> None:
    run(brain)
    journal = brain / "out.zarr/run/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[30] = b"0" + lines[30][1:] if lines[30][:1] != b"0" else b"1" + lines[30][1:]
    journal.write_bytes(b"".join(lines))
    follower = Follower(brain / "out.zarr")

    follower.refresh()

    assert follower.damaged
    assert follower.snapshot().chunks["queued"] == CHUNKS - 30


def test_something_else_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not an output of"):
        Follower(tmp_path)


def test_the_state_is_plain_values(brain: Path) -> None:
    run(brain, seed_source=None, seeds=[SEED])
    follower = Follower(brain / "out.zarr")
    follower.refresh()

    found = follower.snapshot()

    assert {f.name for f in dataclasses.fields(found)} | {"complete"} == set(found.to_json())


def test_a_run_on_an_object_store_is_followed_and_reported(brain: Path, bucket: str) -> None:
    output = f"{bucket}/out.zarr"
    followers: list[Follower] = []
    during: list[Snapshot] = []

    def look(now: Progress) -> None:
        if now.done > 20 and not followers:
            followers.append(Follower(output))
            followers[0].refresh()
            during.append(followers[0].snapshot())

    infer(
        brain / "brain.zarr",
        output,
        model=brain / "model",
        scheduler="sync",
        predictor=fake_predictor,
        progress=look,
        seed_source="all",
        settings=SETTINGS,
    )
    (under_way,) = during
    followers[0].refresh()
    after = followers[0].snapshot()

    done = under_way.chunks["neurite"] + under_way.chunks["empty"]
    assert 20 < done < CHUNKS
    assert under_way.running
    assert (after.complete, after.running) == (True, None)
    page = followers[0].folder.read_bytes("report.html")
    assert page is not None
    assert f"{CHUNKS}</b><span>chunks stored, 100 % of the grid" in page.decode()
