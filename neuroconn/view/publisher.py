"""Carries the state of a run to a page, from a thread of its own: the walk never waits for it."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.inference.frontier.frontier import MASKED
from neuroconn.inference.watching.events import Progress
from neuroconn.view.projection import AXES, RANKS, View, cells
from neuroconn.view.recorder import RunRecorder

logger = logging.getLogger(__name__)

Publish = Callable[[str, Mapping[str, Any]], None]
"""Takes the name of a run and fields of it somewhere; may raise."""

_EVERY_S = 0.5
_DETAILS_S = 2.0
_SILENCE_S = 15.0
_COST = 0.02
"""Share of its time the thread may spend: maps of huge grids come less often."""


class Publisher:
    """A listener that sends what it hears to a page, at most twice a second.

    An error is logged once, and ends the sending, never the walk.

    Parameters
    ----------
    publish : callable
        Where messages go.
    run : str
        Name of the run, unique on the page.
    about : mapping
        What does not change: title, paths, grid; shown as it is.
    state : ndarray of uint8, shape (z, y, x)
        Of the frontier; read from the thread, never written.
    views : callable
        Makes the pictures of the brain along z, y and x; called once, in the thread.
    expected : (low, high) ints, optional
        Chunks a coarse look at the brain promised.
    every_s : float, optional
        Least time between two messages.
    """

    def __init__(
        self,
        publish: Publish,
        run: str,
        about: Mapping[str, Any],
        state: NDArray[np.uint8],
        views: Callable[[], tuple[View, ...]],
        *,
        expected: tuple[int, int] | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        self.recorder = RunRecorder(int(np.count_nonzero(state != MASKED)), expected)
        self.alive = True
        self._publish = publish
        self._run = run
        self._about = about
        self._state = state
        self._views = views
        self._every_s = every_s
        self._news = threading.Event()
        self._closing = threading.Event()
        self._ended = ""
        self._next_details = 0.0
        self._thread = threading.Thread(target=self._work, name="neuroconn-page", daemon=True)
        self._thread.start()

    def __call__(self, now: Progress) -> None:
        """Take note; returns at once."""
        self.recorder(now)
        self._news.set()

    def close(self, ended: str = "done", timeout: float = 5.0) -> None:
        """Send the last state and how the run ended, and stop; waits for it a little."""
        self._ended = ended
        self._closing.set()
        self._news.set()
        self._thread.join(timeout)

    def _work(self) -> None:
        try:
            self._greet()
            while not self._closing.is_set():
                self._news.wait(_SILENCE_S)
                self._news.clear()
                began = time.monotonic()
                self._send(self._message())
                spent = time.monotonic() - began
                self._closing.wait(max(self._every_s, spent / _COST))
            self._next_details = 0.0
            self._send({**self._message(), "ended": self._ended})
        except Exception as error:
            self.alive = False
            logger.warning(
                "no news of this run on the dashboard's page from here on: %s: %s. "
                "The run goes on.",
                type(error).__name__,
                error,
            )

    def _greet(self) -> None:
        where = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        self._send({**self._about, **where, "ranks": list(RANKS), "new": True})
        try:
            views = self._views()
        except Exception as error:  # the map is worth having without the brain behind it
            logger.info("no picture of the brain on the page: %s", error)
            return
        self._send(
            {
                "pictures": {axis: view.png for axis, view in zip(AXES, views, strict=True)},
                "extents": {axis: list(v.extent) for axis, v in zip(AXES, views, strict=True)},
            }
        )

    def _message(self) -> dict[str, Any]:
        fields = self.recorder.fields()
        if time.monotonic() >= self._next_details:
            began = time.monotonic()
            fields |= self.recorder.details() | {"cells": pack(cells(self._state))}
            spent = time.monotonic() - began
            self._next_details = time.monotonic() + max(_DETAILS_S, spent / _COST)
        return fields

    def _send(self, fields: Mapping[str, Any]) -> None:
        self._publish(self._run, fields)


def pack(views: tuple[NDArray[np.uint8], ...]) -> dict[str, dict[str, Any]]:
    """Write views of :func:`neuroconn.view.projection.cells` as short text, by axis.

    Returns
    -------
    dict
        For each axis ``shape`` and ``rle``: lengths and ranks of runs, as ``"3a2c"`` for three
        cells of rank 0 and two of rank 2.

    Examples
    --------
    >>> view = np.array([[1, 1, 4]], dtype=np.uint8)
    >>> pack((view, view, view))["z"]
    {'shape': [1, 3], 'rle': '2b1e'}
    """
    packed = {}
    for axis, view in zip(AXES, views, strict=True):
        flat = view.ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=255))
        lengths = np.diff(starts, append=len(flat))
        text = "".join(
            f"{n}{chr(97 + rank)}"
            for n, rank in zip(lengths.tolist(), flat[starts].tolist(), strict=True)
        )
        packed[axis] = {"shape": list(view.shape), "rle": text}
    return packed
