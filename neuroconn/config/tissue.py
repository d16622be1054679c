"""Settings of training crops cut from real tissue without a full annotation."""

from __future__ import annotations

from pydantic import Field, model_validator

from neuroconn.config.base import Settings
from neuroconn.geometry import ZYX


class PlaneLabels(Settings):
    """A few planes of a volume, labelled by hand."""

    path: str
    """TIFF of the brain's shape."""
    planes: tuple[int, ...] = Field(min_length=1)
    """The planes to learn from; keep others back to judge by."""
    neurite: int = 2
    """Label of neurites."""
    background: int = 1
    """Label of what is none. Every other label says nothing."""
    weight: float = Field(16.0, gt=0)
    """Weight of their voxels in the loss, against 1 of others: a plane is a small part of a
    crop."""


class TissueSource(Settings):
    """A real volume of which little is known: what an earlier model sees, a few labelled planes."""

    brain: str
    """Path of its OME-Zarr."""
    weight: float = Field(1.0, gt=0)
    """How often crops come from here, against the other sources."""
    part: tuple[ZYX, ZYX] | None = None
    """First voxel, and the one behind the last, of the part to use; by default all. It is held in
    memory."""
    distance: str | None = None
    """Map of the brain by an earlier model; without one, the brain holds no neurite."""
    sure: float = Field(3.0, gt=0)
    """Distance in that map below which there is a neurite."""
    shortest: int = Field(12, ge=0)
    """Skeletons of fewer voxels there may be a neurite, or none."""
    labels: PlaneLabels | None = None
    """Planes labelled by hand; they overrule the map."""
    light: float = Field(0.6, ge=0, le=1)
    """Share of the crops in which phantom neurites shine."""

    @model_validator(mode="after")
    def _check(self) -> TissueSource:
        if self.part and not all(0 <= a < b for a, b in zip(*self.part, strict=True)):
            raise ValueError(f"part {self.part} must give a first voxel and one behind the last")
        return self
