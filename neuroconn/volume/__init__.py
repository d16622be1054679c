"""Brains and distance maps on disk: sources, the OME-Zarr store, conversion, lazy reading."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuroconn.volume.regions import read_region, write_region
from neuroconn.volume.statistics import intensity_statistics
from neuroconn.volume.store import Image, create_image, open_image

if TYPE_CHECKING:
    from neuroconn.volume.comparison import verify_against
    from neuroconn.volume.converter import convert
    from neuroconn.volume.describe import info
    from neuroconn.volume.open import open_volume
    from neuroconn.volume.pyramid_tree import open_pyramid
    from neuroconn.volume.sources import open_source
    from neuroconn.volume.verify import verify_image

# Loaded when asked for: a worker that reads tiles needs neither xarray nor tifffile.
_HOME = {
    "convert": "neuroconn.volume.converter",
    "info": "neuroconn.volume.describe",
    "open_pyramid": "neuroconn.volume.pyramid_tree",
    "open_source": "neuroconn.volume.sources",
    "open_volume": "neuroconn.volume.open",
    "verify_against": "neuroconn.volume.comparison",
    "verify_image": "neuroconn.volume.verify",
}

__all__ = [
    "Image",
    "convert",
    "create_image",
    "info",
    "intensity_statistics",
    "open_image",
    "open_pyramid",
    "open_source",
    "open_volume",
    "read_region",
    "verify_against",
    "verify_image",
    "write_region",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
