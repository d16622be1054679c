"""Settings of the overlay that Vaa3D shows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from neuroconn.config.base import Settings


class OverlaySettings(Settings):
    """How raw image and distance map become one volume for tracing."""

    clip: float = Field(default=6.0, gt=0, le=1000)
    """Distance in voxels at which the glow around a neurite ends; at most what the network saw."""
    power: float = Field(default=2.0, gt=0, le=16)
    """How steeply the glow falls off; 1 is linear, higher is thinner."""
    factor: float = Field(default=2.0, ge=0, le=1000)
    """Weight of the distance map against the image; 0 shows the image alone. Background reaches
    1/(1 + factor) of full brightness: set the tracing threshold about there."""
    image: float = Field(default=1.0, ge=0, le=1)
    """Weight of the image where there is a prediction; 0 shows the prediction alone. Where nobody
    looked the image keeps its 1/(1 + factor), so that what is left to explore stays in sight."""
    low_percentile: float = Field(default=1.0, ge=0, lt=100)
    """Percentile of the brain's intensities shown as black."""
    high_percentile: float = Field(default=99.9, gt=0, le=100)
    """Percentile of the brain's intensities shown as white."""
    colour: Literal["grey", "rgb"] = "grey"
    """``rgb`` puts the image in magenta and the distance in green; single files only, since one
    colour tile crashes TeraFly."""
    downsample: Literal["max", "mean"] = "max"
    """How coarser TeraFly levels are made; ``max`` keeps thin neurites in the overview."""
    isotropic: bool = False
    """Halve z only once y and x voxels have grown as long, for brains with thick slices."""
    avoid_powers_of_two: bool = True
    """Lower 16-bit values that are exact powers of two by one: a view whose maximum is one shows
    its brightest voxels black in TeraFly."""

    @model_validator(mode="after")
    def _percentiles_rise(self) -> OverlaySettings:
        if self.low_percentile >= self.high_percentile:
            raise ValueError("low_percentile must lie below high_percentile")
        return self

    @model_validator(mode="after")
    def _something_shows(self) -> OverlaySettings:
        if not self.image + self.factor:
            raise ValueError("image and factor are both 0, so nothing would show")
        return self
