"""Runs on real worker processes, and what happens when those die."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from clusters import start_client, wait_for_records
from fakes import (
    CHUNKS,
    FIBRE,
    SEED,
    SETTINGS,
    fake_predictor,
    fibre,
    save_brain,
    save_card,
    stored_bytes,
)

from neuroconn.errors import ClusterError, InterruptedRunError
from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.output import verify
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress

pytestmark = pytest.mark.cluster


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    return tmp_path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda **settings: monkeypatch.setenv("FAKE", json.dumps(settings))


def run(folder: Path, name: str, **options: Any) -> Any:
    usual: dict[str, Any] = {"scheduler": "local:1", "seeds": [SEED], "settings": SETTINGS}
    return infer(
        folder / "brain.zarr",
        folder / name / "out.zarr",
        model=folder / "model",
        predictor=fake_predictor,
        **{**usual, **options},
    )


def workers() -> list[psutil.Process]:
    """The worker processes of this test, not their nannies."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if any("spawn_main" in word for word in p.cmdline())]


def test_processes_write_the_bytes_that_one_thread_writes(brain: Path) -> None:
    run(brain, "sync", scheduler="sync", seeds=(), seed_source="all")

    for name in ("local:1", "local:2"):
        report = run(brain, name.replace(":", ""), scheduler=name, seeds=(), seed_source="all")

        assert report.visited == CHUNKS
        assert stored_bytes(brain / name.replace(":", "") / "out.zarr") == stored_bytes(
            brain / "sync/out.zarr"
        )


def test_killed_workers_change_no_byte(brain: Path, fake: Callable[..., None]) -> None:
    run(brain, "calm", scheduler="sync", seeds=(), seed_source="all")
    fake(seconds=0.01)
    kills = [8, 25]

    def kill(progress: Progress) -> None:
        if kills and progress.done >= kills[0]:
            kills.pop(0)
            workers()[0].kill()

    report = run(brain, "wild", scheduler="local:2", seeds=(), seed_source="all", progress=kill)

    assert kills == []
    assert report.complete
    assert report.visited == CHUNKS
    assert stored_bytes(brain / "wild/out.zarr") == stored_bytes(brain / "calm/out.zarr")
    assert verify.verify(brain / "wild/out.zarr").sound


def test_a_poison_chunk_fails_alone(brain: Path, fake: Callable[..., None]) -> None:
    # Only the tile of the last chunk holds the speck in full.
    volume = fibre()
    volume[-2, -2, -2] = 777
    save_brain(brain / "poisoned.zarr", volume)
    fake(poison=777)

    report = infer(
        brain / "poisoned.zarr",
        brain / "out.zarr",
        model=brain / "model",
        predictor=fake_predictor,
        scheduler="local:1",
        seeds=[SEED, (46, 62, 78)],
        settings=SETTINGS,
    )

    assert [index for index, _ in report.failed] == [(2, 3, 4)]
    assert "poison" in report.failed[0][1]
    assert report.chunks["neurite"] == len(FIBRE)
    assert report.exit_code == 1


def test_a_stopped_run_resumes_on_other_workers_to_the_same_bytes(brain: Path) -> None:
    run(brain, "whole", scheduler="sync", seeds=(), seed_source="all")
    stop = threading.Event()

    def halfway(progress: Progress) -> None:
        if progress.done > 25:
            stop.set()

    with pytest.raises(InterruptedRunError):
        run(brain, "cut", seeds=(), seed_source="all", progress=halfway, stop=stop)
    done = len(list(Journal.read(brain / "cut/out.zarr/run").records()))
    report = run(brain, "cut", scheduler="threads", seeds=(), seed_source="all")

    assert report.inferred == CHUNKS - done
    assert stored_bytes(brain / "cut/out.zarr") == stored_bytes(brain / "whole/out.zarr")


def test_a_client_killed_outright_resumes_to_the_same_bytes(brain: Path) -> None:
    run(brain, "whole", scheduler="sync", seeds=(), seed_source="all")
    client = start_client(brain, "local:1")
    try:
        wait_for_records(brain, 10)
    finally:
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
    done = len(list(Journal.read(brain / "out.zarr/run").records()))

    report = infer(
        brain / "brain.zarr",
        brain / "out.zarr",
        model=brain / "model",
        seed_source="all",
        settings=SETTINGS,
        scheduler="sync",
        predictor=fake_predictor,
    )

    assert 10 <= done < CHUNKS
    assert report.inferred == CHUNKS - done
    assert stored_bytes(brain / "out.zarr") == stored_bytes(brain / "whole/out.zarr")


def test_a_scheduler_that_dies_leaves_a_run_that_resumes(brain: Path) -> None:
    with_scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    file = brain / "scheduler.json"
    loopback = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*with_scheduler, *loopback, "--scheduler-file", str(file)], stderr=subprocess.DEVNULL
    )
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)),
            *("--resources", "GPU=2", "--nthreads", "2", "--no-nanny", "--host", "127.0.0.1"),
            *("--no-dashboard", "--death-timeout", "5"),
        ],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    client = start_client(brain, str(file))
    try:
        wait_for_records(brain, 10)
        scheduler.kill()
        client.wait(timeout=200)
    finally:
        for process in (scheduler, worker, client):
            process.kill()
            process.wait()
    assert client.returncode != 0
    errors = (brain / "client.log").read_text()
    assert "InterruptedRunError" in errors
    assert "same command again to resume" in errors
    assert list(Journal.read(brain / "out.zarr/run").records())


def test_a_worker_that_cannot_take_the_run_is_named(
    brain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuroconn.inference import prepare

    monkeypatch.setattr(prepare, "versions", lambda: (("torch", "0.1"),))

    with pytest.raises(ClusterError, match=r"client: 0\.1"):
        run(brain, "other")
