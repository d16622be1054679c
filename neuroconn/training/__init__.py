"""Training: crops of phantoms and annotated brains, augmentation, the loop.

Names are imported when used: making a dataset needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neuroconn.training.crops import Crop, CropSource, Mixture

if TYPE_CHECKING:
    from neuroconn.training.loop import TrainReport, train
    from neuroconn.training.schedule import learning_rate
    from neuroconn.training.trainer import Trainer

_HOME = {
    "TrainReport": "neuroconn.training.loop",
    "Trainer": "neuroconn.training.trainer",
    "learning_rate": "neuroconn.training.schedule",
    "train": "neuroconn.training.loop",
}

__all__ = ["Crop", "CropSource", "Mixture", "TrainReport", "Trainer", "learning_rate", "train"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
