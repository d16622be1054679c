"""The page ``/neuroconn`` of the Dask dashboard, its JSON, and our series in ``/metrics``.

The client of a run brings the page along (:func:`publish`), to a scheduler it started and to one
that ran before, as long as neuroconn is installed there. Or the scheduler has it from the start::

    dask scheduler --preload neuroconn.view.dashboard

States of chunks come from the client in small messages, a few a second at most; the scheduler only
keeps the latest. Nothing is fetched from elsewhere: the page works offline.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin
from distributed.http.utils import RequestHandler

from neuroconn.view.board import Board
from neuroconn.view.metrics import register

logger = logging.getLogger(__name__)

_NAME = "neuroconn-dashboard"
_OP = "neuroconn_publish"
_TIMEOUT_S = 10


class Page(RequestHandler):
    """The page itself; it asks for the rest."""

    def get(self) -> None:
        """Answer with HTML that needs no other file."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.write(page())


class State(RequestHandler):
    """The latest of all runs."""

    def get(self) -> None:
        """Answer with one JSON object."""
        self.set_header("Cache-Control", "no-store")
        board: Board = self.extra["board"]
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps({"runs": board.runs()}))


class Brain(RequestHandler):
    """The brain of a run along an axis."""

    def get(self, run: str, axis: str) -> None:
        """Answer with a PNG, or 404."""
        found = self.extra["board"].picture(run, axis)
        if found is None:
            self.send_error(404)
            return
        self.set_header("Content-Type", "image/png")
        self.set_header("Cache-Control", "max-age=60")
        self.write(found)


class DashboardPlugin(SchedulerPlugin):
    """Adds page, JSON and metrics to a scheduler; a second one changes nothing."""

    name = _NAME
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Install everything."""
        install(scheduler)


def dask_setup(scheduler: Scheduler) -> None:
    """Install everything; what ``dask scheduler --preload`` calls."""
    install(scheduler)


def install(scheduler: Scheduler) -> None:
    """Add routes, a message handler and metrics to a scheduler, unless it has them."""
    if _OP in scheduler.handlers:
        return
    board = Board()

    async def take(run: str, fields: Mapping[str, Any]) -> None:
        board.merge(run, fields)

    scheduler.handlers[_OP] = take
    given = {"dask_server": scheduler, "extra": {"board": board}}
    # Whatever --dashboard-prefix was set, it comes first in the path.
    scheduler.http_application.add_handlers(
        ".*$",
        [
            (r"(?:/.*)?/neuroconn/?", Page, given),
            (r"(?:/.*)?/neuroconn\.json", State, given),
            (r"(?:/.*)?/neuroconn/([\w.-]+)/([zyx])\.png", Brain, given),
        ],
    )
    register(board)


def publish(client: Client, run: str, fields: Mapping[str, Any]) -> None:
    """Show fields of a run on the page of the client's scheduler.

    Raises
    ------
    Exception
        If the scheduler cannot be reached, or cannot import neuroconn.
    """
    if fields.get("new"):
        client.register_plugin(DashboardPlugin())
    client.sync(  # type: ignore[no-untyped-call]
        getattr(client.scheduler, _OP),
        run=run,
        fields=dict(fields),
        callback_timeout=_TIMEOUT_S,
    )


@cache
def page() -> str:
    """Return the HTML of the page."""
    return files("neuroconn.view").joinpath("dashboard.html").read_text("utf-8")
