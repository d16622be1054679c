"""Score a distance map against an annotation, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Units
from neuroconn.errors import UsageError, VolumeError
from neuroconn.geometry import ZYX, Box
from neuroconn.inference.encoding import Encoding
from neuroconn.metrics import CCQ, ccq, skeleton
from neuroconn.metrics.truth import Truth, open_truth
from neuroconn.volume import Image, open_image
from neuroconn.volume.address import Address

BLOCK = 192
"""Voxels scored at once, along each axis; a block takes some 300 MB at work."""

_THINNING_REACH = 32
"""Context for thinning: a mask cut at a block's face loses about its radius there."""

_CODES = {"uint8": 250, "uint16": 65_000}


@dataclass(frozen=True, slots=True)
class Scores:
    """How well a distance map and an annotation agree."""

    counts: CCQ
    """Voxels predicted, correct, true and found, and what follows from them."""
    unexplored: int
    """Voxels of the truth where nobody looked; they count as not found."""
    threshold: float
    """A distance below it is a prediction, in voxels."""
    slack: float
    """Farthest two voxels match, in voxels."""
    thinned: bool
    """Whether the skeleton of the prediction was scored, or the mask as it is."""
    planes: int | None = None
    """How many labelled planes were scored in 2D; None if the volume was, in 3D."""

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return {
            "correctness": self.counts.correctness,
            "completeness": self.counts.completeness,
            "quality": self.counts.quality,
            "predicted_voxels": self.counts.predicted,
            "correct_voxels": self.counts.correct,
            "truth_voxels": self.counts.truth,
            "found_voxels": self.counts.found,
            "unexplored_truth_voxels": self.unexplored,
            "threshold": self.threshold,
            "slack": self.slack,
            "thinned": self.thinned,
            "planes": self.planes,
        }

    def __str__(self) -> str:
        counts = self.counts
        what = "skeleton" if self.thinned else "mask"
        where = "in 3D" if self.planes is None else f"in 2D on {self.planes} planes"
        return "\n".join(
            [
                f"{what} of distances below {self.threshold:g}, slack {self.slack:g}, {where}",
                f"correctness   {counts.correctness:.3f}  "
                f"{counts.correct} of {counts.predicted} predicted voxels",
                f"completeness  {counts.completeness:.3f}  {counts.found} of {counts.truth} "
                f"true voxels ({self.unexplored} are unexplored)",
                f"quality       {counts.quality:.3f}",
            ]
        )


def evaluate(
    prediction: str | Address,
    truth: str | Path | Iterable[str | Path],
    *,
    threshold: float = 3.0,
    slack: float = 3.0,
    thin: bool = True,
    units: Units | None = None,
    y_flip: bool = False,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: int | None = None,
    ignore: int | None = None,
    planes: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Correctness, completeness and quality of a distance map.

    Parameters
    ----------
    prediction : path
        A distance map as `neuroconn infer` writes it.
    truth : path or paths
        SWC files (or a folder of them), or one labelled volume: a TIFF or an OME-Zarr of the
        prediction's shape.
    threshold : float, optional
        Distances below it, in voxels, are taken for neurite.
    slack : float, optional
        Farthest a voxel may lie from the other side and still match it, in voxels.
    thin : bool, optional
        Score the skeleton of the prediction. False scores the mask itself, which rewards width.
    units, y_flip, origin
        Of SWC files, as for `neuroconn.annotation.read_forest`; voxels are the prediction's.
    label : int, optional
        The value of neurites in a labelled volume; without it, every value but 0.
    ignore : int, optional
        The value of voxels nobody labelled; predictions there are neither right nor wrong.
    planes : bool, optional
        Score every plane that holds a label on its own, in 2D; planes without one are left out.
    progress : callable, optional
        Called with the number of blocks done and of blocks in all.

    Returns
    -------
    Scores
        Of the whole volume, whatever the blocks: each is read with the context it needs. Thinning
        may differ by a voxel at their faces; up to 192 voxels an axis there is one block.

    Raises
    ------
    VolumeError
        If the prediction is no distance map, or the labels have another shape.
    AnnotationError
        If an SWC file is broken or lies outside the volume.
    UsageError
        If an option is out of range, or does not fit the kind of truth.
    """
    image = open_image(prediction)
    encoding = _encoding(image)
    _check_options(image, encoding, threshold, slack, units)
    known = open_truth(
        truth,
        shape=image.shape,
        frame=image.frame,
        units=units,
        y_flip=y_flip,
        origin=origin,
        label=label,
        ignore=ignore,
    )
    if planes:
        regions = [(plane, plane) for plane in known.planes()]
    else:
        reach = math.ceil(slack) + (_THINNING_REACH if thin or known.thinned else 0)
        regions = list(_blocks(image.shape, reach))
    counts, unexplored = CCQ(), 0
    for done, (core, block) in enumerate(regions, 1):
        distance = encoding.decode(np.asarray(image.array()[block.slices]))
        # NaN, where nobody looked, is not below any threshold
        mask = skeleton(distance < threshold) if thin else distance < threshold
        more, missed = _score(mask, np.isnan(distance), known, core, block, slack)
        counts, unexplored = counts + more, unexplored + missed
        if progress is not None:
            progress(done, len(regions))
    return Scores(counts, unexplored, threshold, slack, thin, len(regions) if planes else None)


def _score(
    mask: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    truth: Truth,
    core: Box,
    block: Box,
    slack: float,
) -> tuple[CCQ, int]:
    """Count in a core, also how many voxels of the truth nobody explored."""
    lines, judged, inner = truth.lines(block), truth.judged(block), core.within(block)
    missed = int(np.count_nonzero(lines[inner] & unknown[inner]))
    near = core.grow(math.ceil(slack)).clip(block)  # what thinning needed beyond is done with
    view = near.within(block)
    counts = ccq(
        mask[view],
        lines[view],
        slack=slack,
        core=core.within(near),
        judged=None if judged is None else judged[view],
    )
    return counts, missed


def _blocks(shape: ZYX, reach: int) -> Iterator[tuple[Box, Box]]:
    volume = Box.of_shape(shape)
    for core in volume.split((BLOCK, BLOCK, BLOCK)):
        yield core, core.grow(reach).clip(volume)


def _encoding(image: Image) -> Encoding:
    if image.kind != "distance":
        raise VolumeError(
            f"{image.path} is a brain, not a distance map: score what `neuroconn infer` wrote"
        )
    array = image.array()
    name, scale = array.dtype.name, array.attrs.get("scale_factor")
    if name == "float32":
        return Encoding(name, clip=float(np.finfo(np.float32).max))
    if name not in _CODES or not isinstance(scale, int | float) or not scale > 0:
        raise VolumeError(
            f"{image.path} stores {name} with scale_factor {scale!r}: not a distance map"
        )
    # 0.04 * 250 is the clip but for the last bits; a clip has few digits
    return Encoding(name, clip=float(f"{scale * _CODES[name]:.12g}"))


def _check_options(
    image: Image, encoding: Encoding, threshold: float, slack: float, units: Units | None
) -> None:
    if not 0 < threshold <= encoding.clip:
        raise UsageError(
            f"threshold must be above 0 and at most {encoding.clip:g} voxels, where this map goes "
            f"flat and everything would be neurite; got {threshold}"
        )
    if not (math.isfinite(slack) and slack >= 0):
        raise UsageError(f"slack must be 0 voxels or more, got {slack}")
    if units not in (None, "voxel") and not image.spacing_known:
        raise UsageError(
            f"{image.path} does not say how large its voxels are, so an SWC in µm cannot be laid "
            "over it; give voxels (--units voxel), or convert the brain again with --spacing"
        )
