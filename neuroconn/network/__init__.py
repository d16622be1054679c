"""Networks from images to distance maps, their reach, and their weights on disk.

Names are imported when used, so that the torch-free part (cards and normalisation) stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroconn.network.allocator import keep_pages
    from neuroconn.network.base import Network
    from neuroconn.network.card import ModelCard, load_card
    from neuroconn.network.cenet import CENet
    from neuroconn.network.checkpoint import from_report
    from neuroconn.network.medicalnet import Matched, load_medicalnet
    from neuroconn.network.normalisation import Constants, Normalisation
    from neuroconn.network.pickled import read_state
    from neuroconn.network.receptive import (
        ReceptiveField,
        check_exact,
        check_tiling,
        receptive_field,
    )
    from neuroconn.network.registry import (
        architecture,
        build,
        from_architecture,
        from_settings,
    )
    from neuroconn.network.resunet import ResUNet
    from neuroconn.network.resunetpp import ResUNetPP
    from neuroconn.network.unet import UNet
    from neuroconn.network.weights import Model, load_model, save_model

_HOME = {
    "CENet": "cenet",
    "Constants": "normalisation",
    "Matched": "medicalnet",
    "Model": "weights",
    "ModelCard": "card",
    "Network": "base",
    "Normalisation": "normalisation",
    "ReceptiveField": "receptive",
    "ResUNet": "resunet",
    "ResUNetPP": "resunetpp",
    "UNet": "unet",
    "architecture": "registry",
    "build": "registry",
    "check_exact": "receptive",
    "check_tiling": "receptive",
    "from_report": "checkpoint",
    "keep_pages": "allocator",
    "from_architecture": "registry",
    "from_settings": "registry",
    "load_card": "card",
    "load_medicalnet": "medicalnet",
    "load_model": "weights",
    "read_state": "pickled",
    "receptive_field": "receptive",
    "save_model": "weights",
}

__all__ = [
    "CENet",
    "Constants",
    "Matched",
    "Model",
    "ModelCard",
    "Network",
    "Normalisation",
    "ReceptiveField",
    "ResUNet",
    "ResUNetPP",
    "UNet",
    "architecture",
    "build",
    "check_exact",
    "check_tiling",
    "from_architecture",
    "from_report",
    "from_settings",
    "keep_pages",
    "load_card",
    "load_medicalnet",
    "load_model",
    "read_state",
    "receptive_field",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
