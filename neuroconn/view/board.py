"""What runs told about themselves: kept on a scheduler, shown by its pages. No Dask in here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

_RUNS = 12
_QUIET_S = 120.0
"""A client that says nothing for so long is gone; it speaks at least every 15 s."""


class Board:
    """The latest fields of every run.

    Examples
    --------
    >>> board = Board()
    >>> board.merge("a", {"title": "brain 1", "inferred": 3})
    >>> board.merge("a", {"inferred": 4})
    >>> [(run["run"], run["title"], run["inferred"]) for run in board.runs()]
    [('a', 'brain 1', 4)]
    """

    def __init__(self) -> None:
        self._runs: dict[str, dict[str, Any]] = {}

    def merge(self, run: str, fields: Mapping[str, Any]) -> None:
        """Take in what a run says; a field said before is replaced."""
        if fields.get("new"):
            self._runs.pop(run, None)
        known = self._runs.pop(run, {"run": run})  # the one that spoke last comes last
        self._runs[run] = {**known, **fields, "heard": time.time()}
        for name in list(self._runs)[:-_RUNS]:
            del self._runs[name]

    def runs(self) -> list[dict[str, Any]]:
        """All runs as plain values without pictures, those under way first, then the latest."""
        now = time.time()
        shown = []
        for fields in self._runs.values():
            plain = {k: v for k, v in fields.items() if k not in ("pictures", "new")}
            quiet = now - fields["heard"]
            gone = quiet > _QUIET_S and "ended" not in fields
            shown.append({**plain, "quiet": round(quiet, 1), **({"ended": "lost"} if gone else {})})
        return sorted(shown, key=lambda r: ("ended" in r, -r.get("started", 0)))

    def picture(self, run: str, axis: str) -> bytes | None:
        """Return the PNG of a run's brain along an axis."""
        pictures: Mapping[str, bytes] = self._runs.get(run, {}).get("pictures", {})
        return pictures.get(axis)
