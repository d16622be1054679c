"""A brain with its annotation, opened and checked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neuroconn.annotation import Alignment, Forest, check_alignment
from neuroconn.annotation.alternatives import Alternative, alternatives
from neuroconn.annotation.placement import inside, place, read_files, require_inside
from neuroconn.config.crops import Annotated
from neuroconn.errors import AnnotationError, VolumeError
from neuroconn.geometry import ZYX
from neuroconn.vaa3d.exported import frame_of_export
from neuroconn.volume import Image, open_image

logger = logging.getLogger(__name__)

_MOSTLY = 0.8
"""Share of nodes inside from which it is no question of units or axes."""


@dataclass(frozen=True)
class AnnotatedBrain:
    """A brain and the forest that was traced in it."""

    name: str
    """Its path, as given."""
    image: Image
    """Where its voxels are."""
    statistics: Mapping[str, Any]
    """Intensities of the whole brain, which normalise every part of it."""
    forest: Forest
    """Nodes in voxels of level 0."""
    alignment: Alignment
    """How bright the image is at the nodes."""

    @property
    def shape(self) -> ZYX:
        """Voxels of level 0."""
        return self.image.shape


def open_annotated(source: Annotated) -> AnnotatedBrain:
    """Open a brain and its annotation, and make sure that they belong together.

    Parameters
    ----------
    source : Annotated
        Paths, units, flips, and whether a bad alignment is an error.

    Raises
    ------
    VolumeError
        If the brain cannot be read or has no intensity statistics.
    AnnotationError
        If the annotation is broken or empty, lies outside the brain or beside its neurites, or
        counts µm in a brain of unknown voxel size.
    UsageError
        If the export it was traced in does not say where it lies.
    """
    image = open_image(source.brain)
    if source.units != "voxel" and not image.spacing_known:
        raise AnnotationError(
            f"{source.brain} does not say how long a voxel is, and its annotation is in µm: "
            "convert it again with --spacing Z Y X, or give units: voxel"
        )
    statistics = image.attributes.get("intensity")
    if not isinstance(statistics, Mapping):
        raise VolumeError(
            f"{source.brain} has no intensity statistics, which normalise its crops: make it "
            "with neuroconn convert"
        )
    raw = _read(source, image)
    forest = placed(raw, source, image)
    if not len(forest):
        raise AnnotationError(f"{source.brain}: no annotation to learn from")
    alignment = _aligned(source, raw, forest, image)
    return AnnotatedBrain(source.brain, image, statistics, forest, alignment)


def _read(source: Annotated, image: Image) -> Forest:
    """Read the files; what was traced in an export is carried over to the voxels of the brain."""
    raw = read_files(source.swc)
    if source.traced_in is None:
        return raw
    shown = frame_of_export(source.traced_in)
    return raw.at(image.frame.to_voxels(shown.to_um(raw.positions)))


def placed(raw: Forest, source: Annotated, image: Image) -> Forest:
    """Lay the nodes of the files over a brain.

    Raises
    ------
    AnnotationError
        If too few lie inside; the message names another way that would put them there.
    """
    forest = place(
        raw,
        units=source.units,
        frame=image.frame,
        shape=image.shape,
        flip=source.flips,
        axes=source.axes,
    )
    try:
        require_inside(forest, image.shape)
    except AnnotationError as error:
        few = inside(forest.positions, image.shape).mean() < _MOSTLY
        found = next(_others(raw, source, image), None) if few else None
        hint = "" if found is None else f". They would lie inside with {found.advice}"
        raise AnnotationError(f"{source.brain}: {error}{hint}") from None
    return forest


def _others(raw: Forest, source: Annotated, image: Image) -> Iterator[Alternative]:
    return alternatives(
        raw,
        units=source.units,
        flip=source.flips,
        axes=source.axes,
        frame=image.frame,
        shape=image.shape,
    )


def _aligned(source: Annotated, raw: Forest, forest: Forest, image: Image) -> Alignment:
    """Look at the image under the nodes: a tracing with y flipped lies inside all the same."""
    alignment = check_alignment(forest, image.array(0), others=_others(raw, source, image))
    logger.info("%s: %s", source.brain, alignment)
    if alignment.warnings and source.alignment == "check":
        raise AnnotationError(
            f"{source.brain}: {' '.join(alignment.warnings)} Set alignment: warn "
            "(--no-alignment-check) if it is right all the same"
        )
    for warning in alignment.warnings:
        logger.warning("%s: %s", source.brain, warning)
    return alignment
