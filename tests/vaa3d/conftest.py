"""Makes the helpers of this folder importable by name; tests do not wait for the disk."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is there for every process at once; only a machine that stops needs more."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
