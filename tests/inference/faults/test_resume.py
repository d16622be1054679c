"""What a resumed run finds: kills at every step, power cuts, other clients, things that moved."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FIBRE, fibre, save_brain
from labs import ENVIRONMENT, HARMS, Lab, flip

from neuroconn.errors import InterruptedRunError, OutputError, StorageError
from neuroconn.inference import durable
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output.recheck import LAST, lost_cores
from neuroconn.inference.output.verify import verify
from neuroconn.network.card import load_card
from neuroconn.volume.store import open_image

SCRIPT = Path(__file__).with_name("killed_client.py")


@pytest.mark.slow
def test_a_client_killed_at_any_step_resumes_to_the_calm_map(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    for step, found in told.items():
        assert found["ended"] == -9, step
        assert found["calm"], step
        assert found["sound"]
        assert found["journalled"] + found["inferred"] == found["visited"] == len(FIBRE)
        assert found["third"] == 0
        assert found["left"] == []
    lines = {step: found["journalled"] for step, found in told.items()}
    assert lines["between core and journal"] == lines["in the middle of a line"] == 2
    assert lines["between journal and frontier"] == 3
    assert lines["between pyramid and report"] == len(FIBRE)


@pytest.mark.parametrize("harm", HARMS)
def test_cores_lost_in_a_power_cut_are_done_again(calm: Lab, harm: Callable[[Path], None]) -> None:
    harm(calm.output() / "0/c/1/2/2")

    report = calm.run()

    assert report.inferred == 1
    assert verify(calm.output()).sound
    assert calm.bytes() == calm.bytes("calm")
    assert calm.run().inferred == 0


@pytest.mark.parametrize("harm", HARMS)
def test_a_core_torn_before_it_was_journalled_is_written_over(
    calm: Lab, harm: Callable[[Path], None]
) -> None:
    # Of the last chunk journalled, and of one at the far face, which zarr decodes before it writes.
    journal = calm.output() / "run/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    z, y, x = list(Journal.read(journal.parent).records())[-1].index
    journal.write_bytes(b"".join(lines[:-2]))
    for file in (calm.output() / f"0/c/{z}/{y}/{x}", calm.output() / "0/c/1/0/2"):
        harm(file)

    assert calm.run().complete

    assert calm.bytes() == calm.bytes("calm")


def test_one_lost_core_is_a_reason_to_read_all_of_the_last(
    calm: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroconn.inference.output.recheck.READ", 1)
    image, journal = open_image(calm.output()), Journal.read(calm.output() / "run")
    first, *_, last = calm.records()
    flip(calm.output() / "0/c" / "/".join(map(str, first)))
    assert lost_cores(journal, image) == {}

    (calm.output() / "0/c" / "/".join(map(str, last))).unlink()

    assert set(lost_cores(journal, image)) == {first, last}
    assert LAST >= 1000


def test_a_power_cut_takes_coarse_levels_too(calm: Lab) -> None:
    (calm.output() / "0/c/1/2/2").unlink()
    shutil.rmtree(calm.output() / "1/c")

    assert calm.run().inferred == 1

    assert calm.bytes() == calm.bytes("calm")


def test_a_damaged_line_costs_what_was_journalled_after_it(calm: Lab) -> None:
    journal = calm.output() / "run/journal.jsonl"
    flip(journal, journal.read_bytes().index(b"\n") + 30)

    assert calm.run().inferred == len(FIBRE) - 1
    assert calm.bytes() == calm.bytes("calm")
    assert verify(calm.output()).sound


def test_fsync_waits_for_the_core_and_every_folder_above_it_and_changes_no_byte(
    calm: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[set[Path]] = []
    monkeypatch.setattr(durable, "make_durable", lambda paths: synced.append(set(paths)))

    calm.run("durable", fsync=True)

    assert calm.bytes("durable") == calm.bytes("calm")
    array = calm.output("durable") / "0/c"
    chains = {
        frozenset([array / f"{z}/{y}/{x}", array / f"{z}/{y}", array / f"{z}", array])
        for z, y, x in FIBRE
    }
    assert {frozenset(paths) for paths in synced} == chains
    monkeypatch.undo()
    assert calm.run("again", fsync=True).complete


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_an_output_that_goes_away_ends_the_run_and_is_not_made_anew(ready: Lab, what: str) -> None:
    def harm(progress: Any) -> None:
        if progress.done == 2 and not (ready.folder / "taken").exists():
            ready.output().rename(ready.folder / "taken")
            if what == "replaced":
                shutil.copytree(ready.output("calm"), ready.output())

    with pytest.raises(
        StorageError, match=r"the output .* is gone|journal.* was removed or replaced"
    ):
        ready.run(progress=harm)

    if what == "removed":
        assert not ready.output().exists()
    else:
        assert len(ready.records()) == len(FIBRE)
        shutil.rmtree(ready.output())
    (ready.folder / "taken").rename(ready.output())
    # The lock went with it, and names this process, which lives on.
    assert ready.run(force_unlock=True).inferred == len(FIBRE) - 2
    assert ready.bytes() == ready.bytes("calm")


def test_a_journal_that_is_not_at_its_place_takes_no_lines(calm: Lab) -> None:
    path = calm.output() / "run"
    record = next(iter(calm.records().values()))
    with Journal.open(path, Journal.read(path).identity) as journal:
        (path / "journal.jsonl").rename(path / "elsewhere")

        with pytest.raises(StorageError, match="was removed or replaced"):
            journal.append([record])


def test_a_client_that_was_shut_out_stops(ready: Lab) -> None:
    other: list[Any] = []

    def take_over(progress: Any) -> None:
        if progress.done == 2 and not other:
            path = ready.output() / "run"
            other.append(Journal.open(path, Journal.read(path).identity, force_unlock=True))
            (path / "lock").write_text('{"host": "elsewhere", "pid": 7}')

    with pytest.raises(OutputError, match="taken over"):
        ready.run(progress=take_over)

    assert len(ready.records()) == 2
    other[0].close()
    assert ready.run(force_unlock=True).inferred == len(FIBRE) - 2
    assert ready.bytes() == ready.bytes("calm")


def test_two_clients_at_once_make_one_calm_map(ready: Lab) -> None:
    refused: list[str] = []

    def second(progress: Any) -> None:
        if progress.done == 2:
            with pytest.raises(OutputError, match=f"process {os.getpid()} on host") as caught:
                ready.run()
            refused.append(str(caught.value))

    assert ready.run(progress=second).inferred == len(FIBRE)
    assert refused
    assert ready.bytes() == ready.bytes("calm")


def test_other_weights_are_refused_by_name(calm: Lab) -> None:
    card = calm.folder / "model/model.json"
    card.write_text(card.read_text().replace("0" * 64, "1" * 64))
    assert load_card(calm.folder / "model").sha256 == "1" * 64

    with pytest.raises(OutputError, match=r'model: "000.*", now "111'):
        calm.run()

    assert calm.bytes() == calm.bytes("calm")


def test_clocks_that_jump_change_nothing(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: float((next(times) * 7919) % 10007 - 5000))
    stop = threading.Event()

    with pytest.raises(InterruptedRunError):
        ready.run(stop=stop, progress=lambda p: stop.set() if p.done == 2 else None)

    assert ready.run().inferred == len(FIBRE) - 2
    assert ready.bytes() == ready.bytes("calm")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_that_may_not_be_written_is_one_line(lab: Lab) -> None:
    save_brain(lab.brain, fibre())
    (lab.folder / "out").mkdir(mode=0o500)

    with pytest.raises(StorageError, match="Permission denied"):
        lab.run()


def test_a_refusal_of_the_system_is_one_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    save_brain(lab.brain, fibre())

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(StorageError, match=r"cannot write .*map\.ome\.zarr: Permission denied"):
        lab.run()
    assert not lab.output().exists()
