import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import CHUNKS, SETTINGS, fake_predictor, fibre, save_brain, save_card, stored_bytes

from neuroconn.inference.backends import LocalBackend
from neuroconn.inference.run import infer
from neuroconn.inference.watching.events import Progress
from neuroconn.inference.watching.listeners import run_name
from neuroconn.inference.watching.quiet import Quiet
from neuroconn.inference.watching.samples import Sampler
from neuroconn.view.board import Board


@pytest.fixture
def brain(tmp_path: Path) -> Path:
    save_brain(tmp_path / "brain.zarr", fibre())
    save_card(tmp_path / "model")
    return tmp_path


def run(folder: Path, name: str, **more: Any) -> Any:
    return infer(
        folder / "brain.zarr",
        folder / name / "out.zarr",
        model=folder / "model",
        seed_source="all",
        settings=SETTINGS,
        scheduler="threads",
        predictor=fake_predictor,
        **more,
    )


def warned(log: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in log.records if r.levelno >= logging.WARNING]


def test_a_page_that_fails_changes_no_byte(
    brain: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(brain, "calm")

    def fail(run: str, fields: Mapping[str, Any]) -> None:
        raise OSError("the scheduler knows no neuroconn")

    monkeypatch.setattr(LocalBackend, "publish", staticmethod(fail))
    report = run(brain, "failing")

    assert report.complete
    assert stored_bytes(brain / "calm/out.zarr") == stored_bytes(brain / "failing/out.zarr")
    assert len(warned(caplog)) == 1
    assert "the scheduler knows no neuroconn" in warned(caplog)[0]


def test_samples_and_a_report_that_fail_change_nothing_either(
    brain: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Sampler, "__call__", fail)
    monkeypatch.setattr("neuroconn.view.report.gather", fail)

    report = run(brain, "out")

    assert report.visited == CHUNKS
    assert len(warned(caplog)) == 2
    assert not (brain / "out/out.zarr/run/report.html").exists()


def test_what_the_callers_own_listener_raises_is_raised(brain: Path) -> None:
    def fail(now: Progress) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(brain, "out", progress=fail)


def test_the_page_hears_the_whole_run_and_how_it_ended(
    brain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, stop = Board(), threading.Event()
    monkeypatch.setattr(LocalBackend, "publish", staticmethod(board.merge))

    with pytest.raises(Exception, match="stopped as asked"):
        run(brain, "cut", stop=stop, progress=lambda now: stop.set() if now.done > 20 else None)
    report = run(brain, "whole")

    cut, whole = sorted(board.runs(), key=lambda run: run["output"])
    assert cut["ended"].startswith("InterruptedRunError: stopped as asked")
    assert whole["ended"] == "done"
    assert whole["chunks"] == {name: report.chunks[name] for name in whole["chunks"]}
    assert sum(whole["times"]["counts"]) == CHUNKS
    assert whole["voxels"] == 48 * 64 * 80
    assert whole["counts"] == [3, 4, 5]
    assert whole["spacing_um"] == [2.0, 1.0, 1.0]


def test_one_error_is_enough_to_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def fail(now: Progress) -> None:
        calls.append(now)
        raise ValueError("no")

    quiet = Quiet("somebody", fail)
    for _ in range(3):
        quiet(Progress(0, 0, 0, 0, 0, 0, 1, 0, 0.0, 0.0))

    assert len(calls) == len(warned(caplog)) == 1


def test_the_name_of_a_run_is_safe_in_a_path_and_a_label() -> None:
    names = {
        run_name(output, run_id)
        for output in ("/a/d.zarr", "/b/d.zarr", "s3://bucket/d.zarr", "/c/ü <d>/")
        for run_id in ("1", "2")
    }

    assert len(names) == 8
    for name in names:
        assert name.isascii()
        assert all(c.isalnum() or c in "._-" for c in name)
