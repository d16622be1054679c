"""``neuroconn infer`` on a cluster where everything is killed, and run again until it is done."""

import math
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from clusters import Cluster, save_brain_and_network, wait_until
from fakes import SHAPE, stored_bytes

from neuroconn.cli import main
from neuroconn.geometry import ZYX
from neuroconn.inference.journal.line import Record

pytestmark = pytest.mark.cluster


class Chaos:
    """A run under attack: its cluster, its client, and who is killed next.

    Parameters
    ----------
    folder : Path
        Where everything happens.
    seed : int
        Of the choice of victims and moments.
    chunk : int
        Side of a chunk in voxels.
    slow : float
        Seconds that a chunk takes.
    """

    WORKERS = ("one", "two")

    def __init__(self, folder: Path, *, seed: int, chunk: int, slow: float) -> None:
        self.chunks = math.prod(SHAPE) // chunk**3
        self.output = folder / "wild/out.zarr"
        self.executed = folder / "executed"
        self.exits: list[int] = []
        self.killed: Counter[str] = Counter()
        self._command = save_brain_and_network(folder, chunk)
        self._random = random.Random(seed)
        self._folder = folder
        slowly = {"DASK_DISTRIBUTED__WORKER__PRELOAD": "slow_chunks", "SLOW": str(slow)}
        self.cluster = Cluster(
            folder, environment={**slowly, "EXECUTED": str(self.executed), "OMP_NUM_THREADS": "1"}
        )
        self.client: subprocess.Popen[bytes] | None = None

    def calm_bytes(self) -> dict[str, bytes]:
        self.here("calm", "sync")
        return stored_bytes(self._folder / "calm/out.zarr")

    def here(self, name: str, scheduler: str) -> str:
        """Run to the end in this process; return what it says."""
        words = [*self._command(name)[3:], "--scheduler", scheduler]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        return done.output

    def repair(self) -> None:
        """Start what is dead; the same command again, if the client ended before the end."""
        if not self.cluster.alive("scheduler"):
            self.cluster.scheduler()
        for name in self.WORKERS:
            if not self.cluster.alive(name):
                self.cluster.worker(name)
        if self.client is None or self.client.poll() is not None:
            if self.client is not None:
                self.exits.append(self.client.returncode)
            command = [*self._command("wild"), "--scheduler", self.cluster.address, "--wait", "60"]
            with (self._folder / "client.log").open("ab") as log:
                self.client = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, victim: str) -> None:
        self.killed[victim] += 1
        if victim == "client":
            assert self.client is not None
            self.client.kill()
            self.client.wait()
        else:
            self.cluster.kill(victim)
        if victim == "scheduler":  # the client must notice by itself
            assert self.client is not None
            expected = {75} if len(self.journalled()) < self.chunks else {0, 75}
            assert self.client.wait(90) in expected, self.log()

    def journalled(self) -> list[ZYX]:
        """Chunks of the journal, in order, repeats and all; a torn last line is none."""
        path = self.output / "run/journal.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [chunk for line in lines if (chunk := _chunk(line))]

    def wait_for_progress(self) -> None:
        """Wait until a few more chunks are done than now."""
        goal = min(len(self.journalled()) + self._random.randint(2, 5), self.chunks)
        wait_until(
            lambda: len(self.journalled()) >= goal or self.ended(),
            f"the run stands still:\n{self.log()}",
        )

    def ended(self) -> bool:
        return self.client is not None and self.client.poll() is not None

    def log(self) -> str:
        return (self._folder / "client.log").read_text()

    def __enter__(self) -> "Chaos":
        return self

    def __exit__(self, *error: object) -> None:
        if self.client is not None and self.client.poll() is None:
            self.client.kill()
            self.client.wait()
        self.cluster.__exit__(None, None, None)


def _chunk(line: bytes) -> ZYX | None:
    """The chunk of a line of the journal; None for its head."""
    try:
        return Record.from_line(line + b"\n").index
    except (ValueError, KeyError, TypeError):
        return None


@pytest.mark.parametrize(
    ("kills", "chunk", "slow"),
    [
        (4, 16, 0.25),
        pytest.param(20, 8, 0.1, marks=[pytest.mark.chaos, pytest.mark.timeout(1500)]),
    ],
)
def test_a_run_that_is_killed_at_random_ends_in_the_bytes_of_a_calm_one(
    tmp_path: Path, kills: int, chunk: int, slow: float
) -> None:
    kinds = ["client", "one", "scheduler", "two"]
    with Chaos(tmp_path, seed=kills, chunk=chunk, slow=slow) as chaos:
        expected = chaos.calm_bytes()
        victims = [kinds[n % len(kinds)] for n in range(kills)]
        chaos._random.shuffle(victims)

        for victim in victims:
            chaos.repair()
            chaos.wait_for_progress()
            done_before = chaos.journalled()
            chaos.kill(victim)
            assert chaos.journalled()[: len(done_before)] == done_before
        chaos.repair()
        wait_until(chaos.ended, chaos.log())
        assert chaos.client is not None
        assert chaos.client.returncode == 0, chaos.log()

        journalled = chaos.journalled()
        executed_by_then = chaos.executed.read_text().splitlines()
        assert sorted(journalled) == sorted(set(journalled))
        assert len(journalled) == chaos.chunks
        assert stored_bytes(chaos.output) == expected
        assert sum(chaos.killed.values()) == kills
        assert set(chaos.exits) <= {-signal.SIGKILL, 75, 0}

        assert "; 0 inferred now" in chaos.here("wild", chaos.cluster.address)
        assert chaos.executed.read_text().splitlines() == executed_by_then
        redone = len(executed_by_then) - chaos.chunks
        print(f"{kills} kills {dict(chaos.killed)}: {redone} of {chaos.chunks} chunks redone")
