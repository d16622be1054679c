"""Distance maps become trees: thinning block by block, tidying, SWC."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroconn.tracing.report import TraceReport
    from neuroconn.tracing.settings import TraceSettings
    from neuroconn.tracing.tracer import Tracing, trace

# Loaded when asked for: the command line reads the settings' defaults without zarr.
_HOME = {
    "TraceReport": "report",
    "TraceSettings": "settings",
    "Tracing": "tracer",
    "trace": "tracer",
}

__all__ = ["TraceReport", "TraceSettings", "Tracing", "trace"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
