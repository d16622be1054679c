"""Compiled loops over the samples of a batch, in threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def each(work: Callable[[int], None], count: int) -> None:
    """Do ``work`` for every sample, in as many threads as torch computes with.

    Worth it only for loops that run without the interpreter's lock.
    """
    threads = min(count, torch.get_num_threads())
    if threads < 2:
        for i in range(count):
            work(i)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))
