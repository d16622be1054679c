"""Training: crops of phantoms and annotated brains, augmentation, the loop."""

from neuroconn.training.crops import Crop, CropSource, Mixture
from neuroconn.training.loop import Trainer, TrainReport, learning_rate, train

__all__ = ["Crop", "CropSource", "Mixture", "TrainReport", "Trainer", "learning_rate", "train"]
