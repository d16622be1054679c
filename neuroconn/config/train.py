"""Settings of ``neuroconn train``. A preset in ``configs/train`` holds only what differs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neuroconn.config.base import Settings


class NetworkSettings(Settings):
    """Which network learns."""

    name: Literal["unet"] = "unet"
    """Architecture."""
    levels: int = Field(4, ge=1, le=6)
    """Poolings; 4 is the report's "5 levels"."""
    width: int = Field(32, ge=1)
    """Channels at full resolution."""
    convolutions: int = Field(2, ge=1)
    """Convolutions per level, each way."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of channels dropped."""


class OptimiserSettings(Settings):
    """Adam with the report's schedule: ``rate / (1 + decay * iteration)``."""

    rate: float = Field(1e-3, gt=0)
    """Learning rate at the start."""
    decay: float = Field(1e-3, ge=0)
    """How fast it falls, per iteration."""
    weight_decay: float = Field(1e-4, ge=0)
    """L2 penalty on the weights."""
    warmup: int = Field(0, ge=0)
    """Iterations over which the rate climbs from zero."""
    cooldown: float = Field(0.0, ge=0, le=1)
    """Share of the iterations, at the end, over which the rate falls linearly to zero."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay of the running mean of the weights that is saved; 0 saves the weights themselves."""


class AugmentSettings(Settings):
    """What is done to a crop before the network sees it."""

    flips: bool = True
    """Mirror along each axis with probability one half."""
    rotations: bool = True
    """Turn by multiples of 90 degrees in the plane."""
    offset: float = Field(1.0, ge=0)
    """Shift of the median the crop is normalised with, in median absolute deviations."""
    gain: float = Field(2.0, ge=1)
    """Factor by which the deviation it is normalised with may be wrong, either way."""
    noise: float = Field(0.1, ge=0)
    """Largest standard deviation of added noise, in units of the network's input."""


class BrainSource(Settings):
    """An annotated brain."""

    brain: str
    """Path of its OME-Zarr."""
    swc: tuple[str, ...]
    """Paths of its annotations."""
    units: Literal["um", "voxel"] | float = "voxel"
    """Unit of the annotations: µm, voxels, or the number of µm in one unit."""
    y_flip: bool = False
    """Whether y counts from the last row."""
    weight: float = Field(1.0, gt=0)
    """How often crops come from here, against the other sources."""


class PhantomSource(Settings):
    """Phantoms drawn at random, without end."""

    weight: float = Field(1.0, ge=0)
    """How often crops come from here, against the other sources; 0 for never."""
    margin: int = Field(16, ge=0)
    """Voxels of phantom around the largest part a crop is cut from."""
    variety: dict[str, object] = Field(default_factory=dict)
    """What may occur in them; see ``neuroconn.phantom.Variety``."""


class NormalisationSettings(Settings):
    """How grey values become input; see ``neuroconn.network.Normalisation``."""

    kind: Literal["asinh", "percentile"] = "asinh"
    """The curve."""
    softening: float = Field(3.0, gt=0)
    """Deviations above the median where the curve bends."""
    scale: float = Field(1.0, gt=0)
    """Divisor of the result."""


class TrainSettings(Settings):
    """Everything that decides what a training run produces."""

    name: str = "unet-mse"
    """Name of the model, for reports."""
    network: NetworkSettings = NetworkSettings()
    """Architecture."""
    loss: Literal["mse", "huber"] = "mse"
    """On the clipped distance map: squared error, or absolute error beyond one voxel."""
    clip: float = Field(10.0, gt=0)
    """Where distances are cut off, in voxels."""
    spacing_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Voxel size of phantoms and brains, for the model's card."""
    crop: int = Field(96, ge=8)
    """Edge of a crop, in voxels; a multiple of 2**levels."""
    batch: int = Field(4, ge=1)
    """Crops per iteration."""
    iterations: int = Field(50_000, ge=1)
    """Updates of the weights."""
    minimum_voxels: int = Field(100, ge=0)
    """Centreline voxels a crop must hold, inclusive, to be learnt from."""
    background: float = Field(0.1, ge=0, le=1)
    """Share of crops taken as they come, neurite or not."""
    optimiser: OptimiserSettings = OptimiserSettings()
    """Adam."""
    augment: AugmentSettings = AugmentSettings()
    """Augmentation."""
    normalisation: NormalisationSettings = NormalisationSettings()
    """Input normalisation."""
    phantoms: PhantomSource = PhantomSource()
    """Synthetic crops."""
    brains: tuple[BrainSource, ...] = ()
    """Annotated brains."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Mixed precision: auto takes bf16 where the device has units for it."""
    seed: int = Field(0, ge=0)
    """Every crop, augmentation and initial weight follows from it."""
    validate_every: int = Field(500, ge=1)
    """Iterations between validations."""
    validation_crops: int = Field(8, ge=1)
    """Crops held out for them; never seen in training."""
    checkpoint_every: int = Field(250, ge=1)
    """Iterations between checkpoints."""

    @model_validator(mode="after")
    def _check(self) -> TrainSettings:
        if self.crop % 2**self.network.levels:
            raise ValueError(
                f"crop of {self.crop} voxels is not a multiple of 2**levels = "
                f"{2**self.network.levels}, which the poolings need"
            )
        if not self.brains and not self.phantoms.weight:
            raise ValueError("nothing to learn from: give brains, or phantoms a weight above 0")
        return self
