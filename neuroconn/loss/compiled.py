"""Whether losses run compiled: numba is an optional extra, and every kernel has a twin without."""

from __future__ import annotations

import importlib
import os
from functools import cache

from neuroconn.errors import UsageError

CHOICE = "NEUROCONN_TOPOLOGY"
"""Variable of the environment: ``numba``, ``python``, or ``auto`` for numba where it is there."""


def compiled() -> bool:
    """Tell whether to use numba.

    Raises
    ------
    UsageError
        If the environment asks for numba and it is not installed, or for what does not exist.
    """
    choice = os.environ.get(CHOICE, "auto")
    if choice not in ("auto", "numba", "python"):
        raise UsageError(f"{CHOICE} must be auto, numba or python, got {choice!r}")
    if choice == "numba" and not _found():
        raise UsageError(f"{CHOICE}=numba, but numba is missing: pip install 'neuroconn[topo]'")
    return choice != "python" and _found()


@cache
def _found() -> bool:
    try:
        importlib.import_module("numba")
    except ImportError:  # missing, or too old for this numpy
        return False
    return True
