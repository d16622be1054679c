"""Settings of ``neuroconn train``. A preset in ``configs/train`` holds only what differs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neuroconn.config.base import Settings
from neuroconn.config.crops import BrainSource, DatasetSource, PhantomSource
from neuroconn.config.loss import LossSettings
from neuroconn.config.network import NetworkSettings
from neuroconn.config.tissue import TissueSource
from neuroconn.config.validation import StoppingSettings, VolumeSettings


class OptimiserSettings(Settings):
    """Adam with the report's schedule: ``rate / (1 + decay * iteration)``."""

    name: Literal["adam", "adamw"] = "adam"
    """``adam`` adds the weight decay to the gradient, ``adamw`` shrinks the weights themselves."""
    schedule: Literal["decay", "cosine"] = "decay"
    """``decay`` is the report's; ``cosine`` falls to zero at the last iteration along half a
    wave, whatever ``decay`` says."""
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

    @property
    def needs_the_end(self) -> bool:
        """Whether the rate depends on how many iterations there will be."""
        return self.schedule == "cosine" or self.cooldown > 0


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
    mirror: float = Field(0.0, ge=0, le=1)
    """Share of crops with a face of the volume in them, beyond which the image is mirrored as
    inference mirrors it; nothing is learnt from there."""


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
    loss: LossSettings = LossSettings()
    """What is minimised: the name of a loss, or several of them with weights and times."""
    clip: float = Field(10.0, gt=0)
    """Where distances are cut off, in voxels."""
    spacing_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Voxel size of phantoms and brains, for the model's card."""
    crop: int = Field(96, ge=8)
    """Edge of a crop, in voxels; a multiple of the network's pooling grid."""
    batch: int = Field(4, ge=1)
    """Crops that pass the network together; processes share them among each other."""
    accumulate: int = Field(1, ge=1)
    """Batches to an update of the weights, whose gradient is that of one batch of ``accumulate *
    batch`` crops, but for batch normalisation, which sees a batch at a time. L_TOPO is a sum over
    the crops of an update and grows with them; the other losses are means."""
    clip_gradient: float | None = Field(None, gt=0)
    """Longest gradient, over all weights together; longer ones are shortened to it."""
    iterations: int = Field(50_000, ge=1)
    """Updates of the weights."""
    initial: str | None = None
    """Model whose weights the network starts from: the same architecture and clip."""
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
    datasets: tuple[DatasetSource, ...] = ()
    """Crops on disk, made by ``neuroconn dataset``."""
    tissues: tuple[TissueSource, ...] = ()
    """Real volumes without a full annotation."""
    near: float = Field(0.0, ge=0)
    """Extra weight, over 1, of voxels less than 3 voxels from a neurite. A neurite is where the
    map is below 3, and dim ones are seldom predicted as near as they are."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Mixed precision: auto takes bf16 where the device has units for it."""
    compile: bool = False
    """Whether torch compiles the network first: minutes at the start, faster steps on a GPU."""
    seed: int = Field(0, ge=0)
    """Every crop, augmentation and initial weight follows from it."""
    validate_every: int = Field(500, ge=1)
    """Iterations between validations."""
    validation_crops: int = Field(8, ge=1)
    """Crops held out for them; never seen in training."""
    volumes: VolumeSettings = VolumeSettings()
    """Whole sub-volumes held out for them."""
    stopping: StoppingSettings = StoppingSettings()
    """Early stopping."""
    checkpoint_every: int = Field(250, ge=1)
    """Iterations between checkpoints. Like all that follows, no part of what is learnt."""
    pictures_every: int = Field(1000, ge=0)
    """Iterations between pictures of held-out crops: image, target, prediction; 0 for none."""
    workers: int | None = Field(None, ge=1)
    """Threads that make crops ahead; null takes 1 on a CPU, up to 8 beside a GPU."""
    tensorboard: bool | None = None
    """Whether TensorBoard can follow the run; null says yes where it is installed."""

    @property
    def crops_per_iteration(self) -> int:
        """Crops that one update of the weights is made of."""
        return self.batch * self.accumulate

    @model_validator(mode="after")
    def _check(self) -> TrainSettings:
        self.network.check_crop(self.crop)
        volumes = self.volumes
        phantoms = volumes.phantoms and self.phantoms.weight
        stored = volumes.stored and self.datasets
        self.stopping.check_judged(bool(phantoms or stored or (volumes.brains and self.brains)))
        sources = (self.brains, self.datasets, self.tissues, self.phantoms.weight)
        if not any(sources):
            raise ValueError(
                "nothing to learn from: give datasets, brains, or phantoms a weight above 0"
            )
        if (self.tissues or self.augment.mirror) and not any(
            term.name in ("mse", "huber") for term in self.loss.terms
        ):
            raise ValueError(
                "nothing to minimise on crops that tissues and augment.mirror leave open in "
                "places: add mse or huber to the loss; the other terms learn from whole crops"
            )
        return self
