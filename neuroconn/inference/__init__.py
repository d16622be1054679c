"""The distributed closure walk: frontier, verdicts, journal, engine, workers.

The names below are imported when used: a worker that reads its task needs no scheduler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroconn.inference.rehearsal.rehearse import rehearse
    from neuroconn.inference.report import InferReport
    from neuroconn.inference.run import RunOptions, infer

_HOME = {
    "InferReport": "report",
    "RunOptions": "run",
    "infer": "run",
    "rehearse": "rehearsal.rehearse",
}

__all__ = ["InferReport", "RunOptions", "infer", "rehearse"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
