"""Workers for commands that do well without any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroconn.config.access import Access

HERE = (None, "threads", "sync")
"""Names of no cluster at all."""


@contextmanager
def clients(scheduler: str | None, access: Access) -> Iterator[Any]:
    """Yield a Dask client of what ``--scheduler`` names, None where all stays in this process."""
    if scheduler in HERE:
        yield None
        return
    from neuroconn.sites import connect

    with connect(scheduler, resource=None, access=access) as client:
        yield client
