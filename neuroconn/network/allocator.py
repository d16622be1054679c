"""Keep the memory of large tensors between tiles. Free of torch.

The C library gives every block of more than 32 MB back to the system when it is freed and asks for
it again, page by page, for the next tensor. At tiles of 128 voxels a float32 network spends half
its time on these page faults, in training too.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # numbers of glibc's malloc.h


@cache
def keep_pages() -> bool:
    """Let this process reuse freed blocks instead of returning them to the system.

    Its memory then stays at its peak, which a fixed tile shape bounds. Call it early: threads that
    have allocated before keep an arena of their own, whose large blocks are returned as before.

    Returns
    -------
    bool
        Whether it took effect; on systems without glibc it does not, and nothing is lost but time.
    """
    # Read by torch at its first large tensor: huge pages mean fewer faults when memory is new.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    largest = 2**31 - 1
    options = ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, largest), (_ARENA_MAX, 1))
    done = [mallopt(option, value) for option, value in options]
    return all(done)
