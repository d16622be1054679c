import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes import CHUNKS, SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.cli import main
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress


class Run:
    """A run in a thread that goes on chunk by chunk, when told to."""

    def __init__(self, folder: Path) -> None:
        save_brain(folder / "brain.zarr", fibre())
        save_card(folder / "model")
        self.folder = folder
        self.output = folder / "out.zarr"
        self.done = 0
        self._may = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._infer, daemon=True)

    def start(self) -> None:
        self.thread.start()
        self.go_on(0)

    def go_on(self, until: int) -> None:
        """Let the run work until so many chunks are done, and wait for it."""
        while self.thread.is_alive() and self.done <= until:
            self._may.release()
            time.sleep(0.002)

    def finish(self) -> None:
        self.go_on(10**9)
        self.thread.join(60)

    def _infer(self) -> None:
        infer(
            self.folder / "brain.zarr",
            self.output,
            model=self.folder / "model",
            seed_source="all",
            settings=SETTINGS,
            scheduler="sync",
            predictor=fake_predictor,
            progress=self._wait,
        )

    def _wait(self, now: Progress) -> None:
        self.done = now.done
        self._may.acquire(timeout=60)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    run.start()
    yield run
    run.finish()


def invoke(*words: object) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def test_watching_follows_a_run_to_its_end(running: Run) -> None:
    running.go_on(5)
    steps = threading.Thread(target=lambda: (time.sleep(0.3), running.go_on(30), running.finish()))
    steps.start()

    result = invoke("status", running.output, "--watch", "--every", "0.1", "--json")
    steps.join()

    states = [json.loads(line) for line in result.stdout.splitlines()]
    done = [s["chunks"]["neurite"] + s["chunks"]["empty"] for s in states]
    assert states[0]["running"].startswith("process ")
    assert states[-1]["running"] is None
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] == CHUNKS
    assert len(states) > 2
    assert states[-1]["complete"] is True


def test_a_look_at_a_run_under_way_says_pace_and_what_is_left(running: Run) -> None:
    running.go_on(10)

    shown = invoke("status", running.output).stdout
    state = json.loads(invoke("status", running.output, "--json").stdout)

    for words in ("neurite", "running     process", "chunks/s", "left        "):
        assert words in shown
    assert f"{CHUNKS} chunks in all" in shown
    assert state["total"] == [CHUNKS] * 3
    assert state["basis"] == "exact"
    assert state["complete"] is False


def test_without_a_terminal_watching_writes_lines(running: Run) -> None:
    running.go_on(5)
    threading.Timer(0.3, running.finish).start()

    shown = invoke("status", running.output, "--watch", "--every", "0.1").stdout

    assert "waiting;" in shown.splitlines()[0]
    assert shown.splitlines()[-1] == "complete"


def test_watching_a_run_that_is_over_ends_at_once(running: Run) -> None:
    running.finish()

    result = invoke("status", running.output, "--watch", "--json")

    assert len(result.stdout.splitlines()) == 1


def test_the_report_is_made_again_under_way_and_after(running: Run, tmp_path: Path) -> None:
    running.go_on(10)
    under_way = tmp_path / "now.html"

    invoke("report", running.output, under_way)
    running.finish()
    said = invoke("report", running.output).stdout

    assert "Under way: process" in under_way.read_text("utf-8")
    assert said.strip() == f"wrote {running.output / 'run' / 'report.html'}"
    assert "Complete: the visited" in (running.output / "run/report.html").read_text("utf-8")


@pytest.mark.parametrize("command", ["status", "report"])
def test_something_else_is_refused_in_one_line(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, str(tmp_path)])

    assert result.exit_code != 0
    assert "is not an output of" in result.stderr
