"""The page on a scheduler that was started by somebody else, with nothing said about us."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import SEED, SETTINGS, fake_predictor, fibre, save_brain, save_card

from neuroconn.inference.journal.journal import Journal
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.view.dashboard import page

LOOPBACK = ("--host", "127.0.0.1")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


@contextmanager
def scheduler(folder: Path, *options: str) -> Iterator[Path]:
    """Start a ``dask scheduler``; yields its file."""
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *LOOPBACK, "--port", "0"]
    dashboard = ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]
    with (folder / "scheduler.log").open("wb") as log:
        process = subprocess.Popen([*command, *dashboard, *options], stderr=log)
    try:
        until = time.monotonic() + 120
        while not file.exists():
            assert process.poll() is None, (folder / "scheduler.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield file
    finally:
        process.terminate()
        process.wait()


def base(file: Path) -> str:
    """Where the pages of a scheduler are."""
    return f"http://127.0.0.1:{json.loads(file.read_text())['services']['dashboard']}"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Path]:
    with scheduler(tmp_path) as file:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", *LOOPBACK, "--no-nanny"]
        options = ["--resources", "GPU=2", "--nthreads", "2", "--no-dashboard", "--name", "w1"]
        tests = str(Path(__file__).parents[1] / "inference")
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [*command, *options, "--scheduler-file", str(file), "--death-timeout", "5"],
                stderr=log,
                env={**os.environ, "PYTHONPATH": tests},
            )
        try:
            yield file
        finally:
            worker.terminate()
            worker.wait()


@pytest.mark.cluster
def test_the_page_says_what_the_journal_says_and_breaks_nothing(
    cluster: Path, tmp_path: Path
) -> None:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    before = get(f"{base(cluster)}/metrics")
    during: list[dict[str, Any]] = []

    def look(now: Progress) -> None:
        if now.done > 20 and not during:
            during.append(json.loads(get(f"{base(cluster)}/neuroconn.json")))

    outputs = [tmp_path / name for name in ("walk.zarr", "dense.zarr")]
    for output, seeds in zip(outputs, ({"seeds": [SEED]}, {"seed_source": "all"}), strict=True):
        infer(
            tmp_path / "brain.zarr",
            output,
            model=tmp_path / "model",
            settings=SETTINGS,
            scheduler=str(cluster),
            predictor=fake_predictor,
            progress=look,
            **seeds,  # type: ignore[arg-type]
        )

    runs = json.loads(get(f"{base(cluster)}/neuroconn.json"))["runs"]
    assert [run["output"] for run in runs] == [str(o) for o in reversed(outputs)]
    assert during[0]["runs"][0]["title"] == "dense.zarr"
    metrics = get(f"{base(cluster)}/metrics")
    for run in runs:
        records = list(Journal.read(Path(run["output"]) / "run").records())
        assert run["ended"] == "done"
        for state in ("neurite", "empty", "failed"):
            count = sum(record.status == state for record in records)
            assert run["chunks"][state] == count
            line = rf'neuroconn_chunks{{run="{run["run"]}",state="{state}"}} {count}\.0'
            assert re.search(line, metrics)
        assert [row[:2] for row in run["workers"]] == [["w1", len(records)]]
        assert get_bytes(f"{base(cluster)}/neuroconn/{run['run']}/z.png").startswith(b"\x89PNG")
    assert "neuroconn_voxels_total" not in before
    assert "neuroconn_chunk_seconds_bucket" in metrics
    assert "dask_scheduler_workers" in metrics
    assert get(f"{base(cluster)}/health") == "ok"
    assert "bokeh" in get(f"{base(cluster)}/status").lower()
    assert get(f"{base(cluster)}/neuroconn") == page()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{base(cluster)}/neuroconn/nobody/z.png")


def get_bytes(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: bytes = answer.read()
        return found


@pytest.mark.cluster
def test_a_preload_has_the_page_ready_before_the_first_run(tmp_path: Path) -> None:
    options = ("--preload", "neuroconn.view.dashboard", "--dashboard-prefix", "/gate/dask")
    with scheduler(tmp_path, *options) as file:
        where = f"{base(file)}/gate/dask"

        assert get(f"{where}/neuroconn") == page()
        assert json.loads(get(f"{where}/neuroconn.json")) == {"runs": []}
        assert get(f"{where}/health") == "ok"


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    html = page()

    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', html)) == {
        "data:,",
        "status",
        "neuroconn.json",
        "metrics",
    }


def test_the_page_never_turns_words_of_a_run_into_markup() -> None:
    assigned = re.findall(r"(\S+)\.innerHTML = ", page())

    # Charts alone, which are made of numbers and our own words.
    assert assigned == ['$("charts")']
