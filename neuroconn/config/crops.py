"""Where training crops come from: settings of the sources that ``train`` and ``dataset`` share."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from neuroconn.config.base import Settings

Units: TypeAlias = Literal["um", "voxel"] | float


class Annotated(Settings):
    """A brain, and how its annotation lies on it."""

    brain: str
    """Path of its OME-Zarr."""
    swc: tuple[str, ...] = Field(min_length=1)
    """Paths of its annotations, SWC, ESWC or ANO; a folder stands for those in it."""
    units: Units = "voxel"
    """Unit of the annotations: µm, voxels, or the number of µm in one unit."""
    y_flip: bool = False
    """Whether y counts from the last row; the same as ``flip: y``."""
    flip: str = Field("", pattern="^[zyx]{0,3}$")
    """Axes that count from the far side: ``y``, or ``zy``."""
    axes: Literal["xyz", "xzy", "yxz", "yzx", "zxy", "zyx"] = "xyz"
    """Which axis each of the three coordinate columns of the SWC counts."""
    alignment: Literal["check", "warn"] = "check"
    """Whether an annotation that lies beside the neurites is an error, or a warning."""
    traced_in: str | None = None
    """The TeraFly tree or the crop it was traced in, where that is a part of the brain or a coarser
    level: its voxels are what the annotations count."""

    @model_validator(mode="after")
    def _counts_one_thing(self) -> Annotated:
        if self.traced_in is not None and (self.units != "voxel" or self.flips):
            raise ValueError("traced_in says what is counted: units must be voxel, without flips")
        return self

    @model_serializer(mode="wrap")
    def _without_what_was_not_said(self, rest: SerializerFunctionWrapHandler) -> dict[str, object]:
        # What older versions wrote, cards and datasets, must stay equal to what they are made of.
        told: dict[str, object] = rest(self)
        return {key: value for key, value in told.items() if (key, value) != ("traced_in", None)}

    @property
    def flips(self) -> str:
        """The axes to flip, z, y, x."""
        wanted = {*self.flip, *("y" if self.y_flip else "")}
        return "".join(axis for axis in "zyx" if axis in wanted)


class BrainSource(Annotated):
    """An annotated brain, crops of which are cut while the network learns."""

    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the annotation that validation crops come from, and no others: a slab across the
    longest axis. 0 learns from all of it, and validates on what was learnt."""
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
    displacement: float = Field(0.0, ge=0)
    """How far the annotation strays from the neurite: root mean square, in voxels."""
    displacement_pitch: float = Field(30.0, gt=0)
    """Over how many voxels it strays one way before it strays another."""


class DatasetSource(Settings):
    """A dataset made by ``neuroconn dataset``, read from disk while the network learns."""

    path: str
    """Path of the dataset."""
    weight: float = Field(1.0, gt=0)
    """How often crops come from here, against the other sources."""


class DatasetBrain(Annotated):
    """An annotated brain of a dataset."""

    units: Units
    """Unit of the annotations: µm, voxels, or the number of µm in one unit."""
    split: Literal["regions", "train", "validation", "test"] = "regions"
    """Where its crops go: shared out by region, or all to one split."""


class SplitSettings(Settings):
    """How a brain is cut into regions; their shares are of the annotated length."""

    train: float = Field(0.8, ge=0)
    """Share to learn from."""
    validation: float = Field(0.1, ge=0)
    """Share to choose by."""
    test: float = Field(0.1, ge=0)
    """Share to report on."""
    guard: int | None = Field(None, ge=0)
    """Voxels between regions that belong to none; the clip if not given, and never less."""
    axis: Literal["z", "y", "x"] | None = None
    """Axis the brain is cut across; that of the longest annotation if not given."""

    @model_validator(mode="after")
    def _check(self) -> SplitSettings:
        if not self.train + self.validation + self.test > 0:
            raise ValueError("one of train, validation and test must be above 0")
        return self


class DatasetSettings(Settings):
    """Everything that decides what ``neuroconn dataset`` writes."""

    brains: tuple[DatasetBrain, ...] = Field(min_length=1)
    """Annotated brains, in the order their crops are stored."""
    size: int = Field(128, ge=8)
    """Edge of a crop, in voxels; larger than those a network learns from, which are cut of it."""
    stride: int | None = Field(None, ge=1)
    """Voxels between the starts of neighbouring crops; the size if not given, so that none
    overlap. Crops of different splits never do."""
    jitter: int = Field(0, ge=0)
    """Voxels a crop is moved by at random, at most, along each axis."""
    minimum_voxels: int = Field(100, ge=0)
    """Neurite voxels a crop must hold, inclusive."""
    background: float = Field(0.0, ge=0, lt=1)
    """Share of crops that hold less, drawn at random from what is left."""
    clip: float = Field(10.0, gt=0, le=255)
    """Where distances are cut off, in voxels."""
    split: SplitSettings = SplitSettings()
    """Regions to learn from, to choose by and to report on."""
    mixed_spacing: bool = False
    """Whether brains of different voxel sizes may share a dataset."""
    compression: Literal["archive", "speed", "scratch"] = "speed"
    """How crops are packed, as for ``neuroconn convert``; all are lossless."""
    seed: int = Field(0, ge=0)
    """Which regions go where, jitter and background follow from it."""
