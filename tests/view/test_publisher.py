import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuroconn.inference.watching.events import Progress
from neuroconn.view.board import Board
from neuroconn.view.projection import View
from neuroconn.view.publisher import Publisher

NOW = Progress(0, 0, 0, 0, queued=9, in_flight=1, slots=2, inferred=0, seconds=0, model_seconds=0)
STATE = np.zeros((2, 3, 4), np.uint8)
VIEWS = tuple(View(f"png {axis}".encode(), (3.0, 4.0)) for axis in "zyx")
Publish = Callable[[str, Mapping[str, Any]], None]


def publisher(publish: Publish, **more: Any) -> Publisher:
    usual: dict[str, Any] = {"views": lambda: VIEWS, "every_s": 0.0}
    return Publisher(publish, "run", {"title": "brain"}, STATE, **{**usual, **more})


def test_the_last_word_is_sent_with_how_it_ended() -> None:
    board = Board()
    page = publisher(board.merge)
    for n in range(5):
        page(replace(NOW, done=n, neurite=n, seconds=float(n)))

    page.close("stopped as asked")

    (run,) = board.runs()
    assert run["chunks"]["neurite"] == 4
    assert (run["title"], run["ended"]) == ("brain", "stopped as asked")
    assert run["cells"]["z"] == {"shape": [3, 4], "rle": "12b"}
    assert board.picture("run", "y") == b"png y"
    assert board.picture("run", "q") is None
    assert run["extents"]["x"] == [3.0, 4.0]


def test_a_page_that_hangs_does_not_hold_the_walk_up() -> None:
    hanging = threading.Event()
    page = publisher(lambda run, fields: hanging.wait(20) and None)

    start = time.monotonic()
    for n in range(1000):
        page(replace(NOW, done=n))
    page.close(timeout=0.1)

    assert time.monotonic() - start < 10
    hanging.set()


def test_a_page_that_fails_is_given_up_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def fail(run: str, fields: Mapping[str, Any]) -> None:
        calls.append(run)
        raise ModuleNotFoundError("No module named 'neuroconn'")

    with caplog.at_level(logging.WARNING):
        page = publisher(fail)
        for _ in range(10):
            page(NOW)
        page.close()

    assert not page.alive
    assert len(calls) == 1
    assert len(caplog.records) == 1
    assert "The run goes on" in caplog.text


def test_a_map_without_the_brain_is_sent_all_the_same() -> None:
    def broken() -> tuple[View, ...]:
        raise OSError("the brain is gone")

    board = Board()
    page = publisher(board.merge, views=broken)
    page(NOW)
    page.close()

    assert page.alive
    assert "cells" in board.runs()[0]


def test_messages_are_few() -> None:
    sent: list[Mapping[str, Any]] = []
    page = publisher(lambda run, fields: sent.append(fields), every_s=30.0)

    for n in range(2000):
        page(replace(NOW, done=n))
    page.close()

    # The greeting, the pictures, one state, the last state.
    assert len(sent) <= 4
    assert sent[0]["new"] is True
