"""What a phantom looks like. Defaults follow light-sheet volumes of cleared mouse brain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from neuroconn.config import Settings


class Tissue(Settings):
    """Background: value-noise octaves, dark pits, stripes along x and plane flicker."""

    brightness: float = Field(750.0, ge=0)
    """Mean grey level of tissue above the camera offset."""
    octaves: tuple[tuple[PositiveFloat, float], ...] = (
        (700, 0.28),
        (160, 0.16),
        (24, 0.09),
        (5, 0.10),
    )
    """(pitch in voxels, weight) of each octave of value noise, relative to the brightness."""
    pits: float = Field(0.55, ge=0)
    """Depth of dark pits (vessels, ventricles)."""
    pit_pitch: float = Field(9.0, gt=0)
    """Their size in voxels."""
    stripes: float = Field(0.05, ge=0)
    """Light-sheet shadows along x."""
    flicker: float = Field(0.02, ge=0)
    """Brightness steps from plane to plane."""
    cells: float = Field(1.2e-5, ge=0)
    """Unlabelled round cells per voxel; they must not be taken for neurites."""
    cell_brightness: float = Field(650.0, ge=0)
    """Median peak of a cell; log-normal with sigma 0.7."""
    cell_radius: tuple[float, float] = (1.2, 3.8)
    """Range of their radii in voxels."""
    puncta: float = Field(0.0, ge=0)
    """Unlabelled bright specks per voxel: boutons cut off, dirt, autofluorescence."""
    puncta_brightness: float = Field(300.0, ge=0)
    """Median peak of a speck; log-normal with sigma 0.7."""
    puncta_radius: tuple[float, float] = (0.3, 1.5)
    """Range of their radii in voxels."""


class Optics(Settings):
    """The point-spread function."""

    psf: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.75, 0.7, 0.7)
    """Gaussian sigma along (z, y, x), in voxels."""


class Camera(Settings):
    """The detector."""

    offset: float = Field(700.0, ge=0)
    """Grey level without light."""
    gain: float = Field(3.2, gt=0)
    """Grey levels per photon."""
    read: float = Field(10.0, ge=0)
    """Standard deviation of read noise, in grey levels."""


class Neurites(Settings):
    """How bright, thick, beaded and broken neurites are."""

    brightness: float = Field(650.0, gt=0)
    """Median peak of a neurite above the background."""
    spread: float = Field(0.45, ge=0)
    """Log-normal sigma of brightness between neurons."""
    variation: float = Field(0.40, ge=0)
    """Log-normal sigma of brightness along a neurite (Ornstein-Uhlenbeck over 60 voxels)."""
    fading: float = Field(0.45, ge=0, le=1)
    """Share of brightness lost far (1,500 voxels) from the root."""
    axon_radius: float = Field(0.2, ge=0)
    """Radius of an axon in voxels; SWC radii are dummies and are not used for axons."""
    dendrite_gain: float = Field(2.2, ge=0)
    """How much brighter dendrites are than axons."""
    gaps: float = Field(0.10, ge=0, le=1)
    """Share of the stretches of axon that nearly vanish; their label stays continuous."""
    gap_length: float = Field(14.0, gt=0)
    """Length of a stretch that vanishes or does not, in voxels."""
    gap_brightness: float = Field(0.12, ge=0, le=1)
    """What remains of the brightness in a gap."""
    bead_spacing: float = Field(16.0, gt=0)
    """Mean distance between beads along an axon, in voxels."""
    bead_radius: tuple[float, float] = (0.75, 1.25)
    """Range of bead radii in voxels."""
    soma: bool = True
    """Whether roots carry a soma."""
    wobble: float = Field(0.0, ge=0)
    """Annotation error in voxels: the image strays from the centreline by this much."""
    blur: float = Field(0.0, ge=0)
    """Extra blur in voxels: fibres out of focus."""
    labelled: bool = True
    """Whether they belong to the ground truth; unlabelled ones are distractors."""
    visible: float = Field(0.0, ge=0)
    """Stretches dimmer than this, gaps aside, carry no label: nobody could annotate them."""
    shortest: float = Field(0.0, ge=0)
    """Visible stretches shorter than this, in voxels, carry no label: they are specks."""
    taper: float = Field(0.0, ge=0)
    """Branch order after which radius and brightness halve; 0 for never."""


class PhantomSettings(Settings):
    """Everything but the neurons and the seed."""

    kind: Literal["light-sheet"] = "light-sheet"
    """The modality imitated."""
    tissue: Tissue = Tissue()
    """Background."""
    optics: Optics = Optics()
    """Blur."""
    camera: Camera = Camera()
    """Noise."""
    neurites: Neurites = Neurites()
    """Signal."""
    tortuosity: float = Field(1.0, ge=0)
    """Smooth wandering of neurites around their nodes, in voxels; feeds image and truth alike."""
