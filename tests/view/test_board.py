import logging
import sys
import time

import pytest

from neuroconn.view.board import Board

prometheus_client = pytest.importorskip("prometheus_client")

CHUNKS = {"neurite": 3, "empty": 2, "failed": 1, "queued": 4, "in_flight": 5}
FIELDS = {
    "chunks": CHUNKS,
    "voxels": 640,
    "model_seconds": 2.5,
    "busy": 0.5,
    "slots": 4,
    "times": {"bounds": [1, 2], "counts": [3, 0, 2], "sum": 9.5, "slowest": []},
}


def test_two_runs_are_kept_apart_and_a_new_start_forgets_the_old_one() -> None:
    board = Board()
    board.merge("a", {"title": "one", "inferred": 3, "ended": "done"})
    board.merge("b", {"title": "two"})
    board.merge("a", {"title": "one", "new": True})

    found = {run["run"]: run for run in board.runs()}

    assert found["b"]["title"] == "two"
    assert not found["a"].keys() & {"inferred", "ended", "new"}


def test_runs_under_way_come_first_then_the_latest() -> None:
    board = Board()
    for name, started, more in (("a", 1, {}), ("b", 2, {"ended": "done"}), ("c", 3, {})):
        board.merge(name, {"started": started, **more})

    assert [run["run"] for run in board.runs()] == ["c", "a", "b"]


def test_a_client_that_fell_silent_is_said_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    board.merge("a", {})
    board.merge("b", {"ended": "done"})
    later = time.time() + 3600

    monkeypatch.setattr("neuroconn.view.board.time.time", lambda: later)

    assert {run["run"]: run["ended"] for run in board.runs()} == {"a": "lost", "b": "done"}


def test_old_runs_make_room() -> None:
    board = Board()
    for n in range(100):
        board.merge(f"run-{n}", {})

    assert len(board.runs()) == 12
    assert "run-99" in {run["run"] for run in board.runs()}


def test_series_follow_the_conventions_of_prometheus() -> None:
    from neuroconn.view.metrics import RunCollector

    registry = prometheus_client.CollectorRegistry()
    collector, board = RunCollector(), Board()
    collector.boards.add(board)
    board.merge("a", FIELDS)
    board.merge("silent", {"title": "nothing yet"})
    registry.register(collector)

    text = prometheus_client.generate_latest(registry).decode()

    for state, count in CHUNKS.items():
        labels = {"run": "a", "state": state}
        assert registry.get_sample_value("neuroconn_chunks", labels) == count
    assert registry.get_sample_value("neuroconn_voxels_total", {"run": "a"}) == 640
    assert registry.get_sample_value("neuroconn_busy_ratio", {"run": "a"}) == 0.5
    counts = [
        registry.get_sample_value("neuroconn_chunk_seconds_bucket", {"run": "a", "le": le})
        for le in ("1.0", "2.0", "+Inf")
    ]
    assert counts == [3, 3, 5]
    assert registry.get_sample_value("neuroconn_chunk_seconds_count", {"run": "a"}) == 5
    assert registry.get_sample_value("neuroconn_chunk_seconds_sum", {"run": "a"}) == 9.5
    assert "silent" not in text
    for line in text.splitlines():
        assert line.split(" ", 3)[2 if line.startswith("#") else 0].startswith("neuroconn_")


def test_a_scheduler_without_prometheus_has_the_page_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from neuroconn.view import metrics

    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with caplog.at_level(logging.INFO):
        assert metrics.register(Board()) is False

    assert "neuroconn[prometheus]" in caplog.text


def test_boards_that_are_gone_leave_no_series() -> None:
    from neuroconn.view.metrics import RunCollector

    collector = RunCollector()
    collector.boards.add(Board())

    assert all(not family.samples for family in collector.collect())
