"""neuroconn: distance maps of neurites that do not break axons.

The names below are the tour. Each is imported when first used, so that ``import neuroconn`` costs
nothing: see ``neuroconn --help`` for the same verbs on the command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuroconn._version import __version__

if TYPE_CHECKING:
    from neuroconn.geometry import Box, ChunkGrid, Frame

_HOME = {
    "Box": "neuroconn.geometry",
    "ChunkGrid": "neuroconn.geometry",
    "Frame": "neuroconn.geometry",
}

__all__ = ["Box", "ChunkGrid", "Frame", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
