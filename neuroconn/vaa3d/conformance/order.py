"""Work in threads whose results come in the order of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

AHEAD = 64
"""Items that wait, run or are done before their turn; what bounds memory."""


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[_Result]:
    """Yield the results of ``work`` in the order of ``items``, which are taken as needed."""
    window: deque[Future[_Result]] = deque()
    try:
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) >= AHEAD:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        for waiting in window:
            waiting.cancel()
