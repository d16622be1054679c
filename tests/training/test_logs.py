"""Rows of a run: CSV, JSON lines, TensorBoard."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconn.errors import StorageError, UsageError
from neuroconn.training import logs as logs_module
from neuroconn.training.logs import Board, Logs


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def row(iteration: int, **more: float) -> dict[str, float]:
    return {"iteration": float(iteration), "loss": 1 / 3 + iteration, "seconds": 0.5, **more}


def test_rows_go_to_both_logs(logs: Logs) -> None:
    logs.append(row(1))
    logs.append(row(2))

    csv = logs.csv.read_text().splitlines()
    assert csv == ["iteration,loss,seconds", "1,1.33333,0.5", "2,2.33333,0.5"]
    assert [json.loads(line) for line in logs.jsonl.read_text().splitlines()] == [row(1), row(2)]


def test_a_term_that_joins_late_gets_a_column_and_the_rest_empty_cells(logs: Logs) -> None:
    logs.append(row(1))
    logs.append(row(2, loss_l_conn=0.25))
    logs.append(row(3))

    assert logs.csv.read_text().splitlines() == [
        "iteration,loss,seconds,loss_l_conn",
        "1,1.33333,0.5,",
        "2,2.33333,0.5,0.25",
        "3,3.33333,0.5,",
    ]


def test_rows_after_the_checkpoint_are_dropped(logs: Logs) -> None:
    for n in (2, 4, 6):
        logs.append(row(n))

    logs.cut(4)
    logs.append(row(6))

    assert len(logs.rows()) == 3
    assert logs.csv.read_text().splitlines()[1:] == [
        "2,2.33333,0.5",
        "4,4.33333,0.5",
        "6,6.33333,0.5",
    ]


def test_without_a_checkpoint_the_logs_start_again(logs: Logs) -> None:
    logs.append(row(2))

    logs.cut(0)

    assert not logs.csv.exists()
    assert logs.jsonl.read_text() == ""


def test_a_line_that_was_cut_off_is_dropped(logs: Logs) -> None:
    logs.append(row(2))
    with logs.jsonl.open("a") as file:
        file.write('{"iteration": 3.0, "lo')

    logs.cut(8)

    assert logs.jsonl.read_text() == json.dumps(row(2)) + "\n"


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_a_full_disk_is_said_in_one_line(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    logs.append(row(1))
    whole = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        if path.name == name and mode == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match=f"{name}: No space left"):
        logs.append(row(2))


def test_a_board_that_is_wanted_and_not_installed_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "find_spec", lambda _: None)

    with pytest.raises(UsageError, match=r"pip install 'neuroconn\[tensorboard\]'"):
        Board(tmp_path, wanted=True, first=0)

    silent = Board(tmp_path, wanted=None, first=0)
    silent.add(row(1))
    silent.show(np.zeros((2, 2, 3), np.uint8), 1)
    silent.close()
    assert not list(tmp_path.iterdir())


class Writer:
    """TensorBoard's writer, as it is called."""

    calls: list[tuple[Any, ...]]

    def __init__(self, folder: str, *, purge_step: int) -> None:
        Writer.calls = [("open", Path(folder).name, purge_step)]

    def add_scalar(self, *words: Any) -> None:
        self.calls.append(words)

    def add_image(self, name: str, picture: Any, step: int, dataformats: str) -> None:
        self.calls.append((name, picture.shape, step, dataformats))

    def close(self) -> None:
        self.calls.append(("close",))


@pytest.mark.parametrize("wanted", [True, None])
def test_a_board_shows_a_curve_a_column_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool | None
) -> None:
    monkeypatch.setattr(logs_module, "find_spec", lambda _: object())
    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)

    board = Board(tmp_path, wanted=wanted, first=4)
    board.add({"iteration": 6.0, "validation_mse": 2.0})
    board.show(np.zeros((2, 3, 3), np.uint8), 6)
    board.close()

    assert Writer.calls == [
        ("open", "tensorboard", 5),
        ("validation/mse", 2.0, 6),
        ("crops", (2, 3, 3), 6, "HWC"),
        ("close",),
    ]
