"""Deterministic synthetic brains with exact ground truth, of any size, drawn chunk by chunk."""

from neuroconn.phantom.brain import Phantom
from neuroconn.phantom.recipes import Variety, random_phantom
from neuroconn.phantom.settings import Camera, Neurites, Optics, PhantomSettings, Tissue
from neuroconn.phantom.trees import Growth, grow

__all__ = [
    "Camera",
    "Growth",
    "Neurites",
    "Optics",
    "Phantom",
    "PhantomSettings",
    "Tissue",
    "Variety",
    "grow",
    "random_phantom",
]
