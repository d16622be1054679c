"""Settings for all tests: the same examples every time, one thread per library."""

import os
import sys

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

settings.register_profile("neuroconn", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("neuroconn")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Keep torch on one thread where it is loaded already; nothing is loaded for it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
