"""A client that is asked to stop, by whom and whenever: the same command goes on."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes import FIBRE, SETTINGS
from labs import Lab

from neuroconn.cli import main

pytestmark = pytest.mark.cluster

SCRIPT = """
import sys, time
sys.path[:0] = [{here!r}, {above!r}]
from pathlib import Path
from fakes import fake_predictor
from neuroconn.inference import coarse, run, task

def slow(module, name, seconds, from_call):
    usual, calls = getattr(module, name), []
    def slower(*arguments, **options):
        calls.append(None)
        if len(calls) == from_call:
            Path({ready!r}).touch()
            time.sleep(seconds)
        return usual(*arguments, **options)
    setattr(module, name, slower)

slow(*{slow})
usual = run.infer
run.infer = lambda *a, **o: usual(*a, **o, predictor=fake_predictor)
from neuroconn.cli import main
main()
"""


class Client:
    """A command that waits at one place, to be sent signals there."""

    def __init__(self, lab: Lab, slow: str, scheduler: str = "sync", **options: Any) -> None:
        (lab.folder / "settings.yaml").write_text(json.dumps(SETTINGS.model_dump(mode="json")))
        ready = lab.folder / "ready"
        here = Path(__file__).parent
        script = SCRIPT.format(here=str(here), above=str(here.parent), ready=str(ready), slow=slow)
        words = ["infer", str(lab.brain), str(lab.output()), "--model", str(lab.folder / "model")]
        words += ["--preset", str(lab.folder / "settings.yaml"), "--seed", "24", "40", "0"]
        command = [sys.executable, "-c", script, *words, "--scheduler", scheduler]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, **{**pipes, **options})
        until = time.monotonic() + 120
        while not ready.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)

    def ended(self) -> tuple[int, str]:
        """Exit code, and what was said."""
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said or ""


THIRD_CORE = "(task, 'write_region', 0.5, 3)"


def test_a_terminal_that_hangs_up_is_a_request_to_stop(ready: Lab) -> None:
    ours, theirs = os.openpty()
    client = Client(
        ready,
        THIRD_CORE,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    os.close(ours)

    assert client.ended()[0] == 128 + signal.SIGHUP

    assert 3 <= len(ready.records()) < len(FIBRE)
    assert ready.run().complete
    assert ready.bytes() == ready.bytes("calm")


def test_what_nohup_started_hears_no_hangup(ready: Lab) -> None:
    ignoring: Callable[[], Any] = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    client = Client(ready, THIRD_CORE, preexec_fn=ignoring)
    client.process.send_signal(signal.SIGHUP)

    assert client.ended()[0] == 0

    assert ready.bytes() == ready.bytes("calm")


def test_a_second_signal_does_not_wait(ready: Lab) -> None:
    client = Client(ready, "(task, 'write_region', 600, 3)")
    client.process.send_signal(signal.SIGTERM)
    assert client.process.stdout is not None
    while "again to stop at once" not in client.process.stdout.readline():
        pass
    client.process.send_signal(signal.SIGTERM)

    assert client.ended()[0] == 143

    assert len(ready.records()) == 2
    assert ready.run().inferred == len(FIBRE) - 2
    assert ready.bytes() == ready.bytes("calm")


def test_a_signal_while_the_coarse_levels_are_built(ready: Lab) -> None:
    client = Client(ready, "(coarse, 'write_region', 0.5, 2)")
    client.process.send_signal(signal.SIGTERM)

    code, said = client.ended()

    assert code == 143, said
    assert "same command again" in said
    assert len(ready.records()) == len(FIBRE)
    assert ready.run().inferred == 0
    assert ready.bytes() == ready.bytes("calm")


def test_a_signal_before_the_first_chunk_leaves_nothing(ready: Lab) -> None:
    client = Client(ready, "(run, 'prepare', 0.5, 1)")
    client.process.send_signal(signal.SIGTERM)

    code, said = client.ended()

    assert code == 143, said
    assert not ready.output().exists()
    assert ready.run().complete
    assert ready.bytes() == ready.bytes("calm")


def test_a_hangup_reaches_the_workers_too_and_what_they_do_is_kept(ready: Lab) -> None:
    fake = json.dumps({"seconds": 0.7, "log": str(ready.folder / "tiles")})
    slow = {**os.environ, "FAKE": fake}
    prepare = "(run, 'prepare', 0, 1)"
    client = Client(ready, prepare, scheduler="local:1", start_new_session=True, env=slow)
    tiles, until = ready.folder / "tiles", time.monotonic() + 120
    while not tiles.exists() or tiles.read_text().count("\n") < 2:
        assert client.process.poll() is None, client.ended()
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(client.process.pid, signal.SIGHUP)

    code, said = client.ended()

    assert code == 129, said
    assert 2 <= len(ready.records()) < len(FIBRE)
    # No worker died and had its chunks done again by another.
    assert tiles.read_text().count("\n") == len(ready.records())
    assert ready.run().complete
    assert ready.bytes() == ready.bytes("calm")


def test_a_connection_that_breaks_is_neither_a_success_nor_a_sudden_end(
    monkeypatch: pytest.MonkeyPatch, ready: Lab
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("neuroconn.inference.run.infer", gone)

    done = CliRunner().invoke(main, ["infer", str(ready.brain), str(ready.output())])

    assert done.exit_code == 1
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
