"""Work on many stored objects at the same time, where each mostly waits for the storage."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from neuroconn.volume.address import Address, ObjectPath

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_NEAR, _FAR = 4, 16


def threads_for(where: Address) -> int:
    """How many objects of a place are worth having under way."""
    return _FAR if isinstance(where, ObjectPath) else _NEAR


def at_once(
    work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int
) -> Iterator[tuple[_Item, _Result]]:
    """Yield items with what ``work`` makes of them, in order, a few under way and none far ahead.

    When the caller stops, or ``work`` raises, what is under way is waited for and no more begun.

    Examples
    --------
    >>> list(at_once(str, range(3), threads=2))
    [(0, '0'), (1, '1'), (2, '2')]
    """
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
