"""Score a distance map against an annotation, a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from neuroconn.annotation import Units
from neuroconn.errors import UsageError
from neuroconn.evaluation.choice import METRICS, ON_GRAPHS, Choice, available
from neuroconn.evaluation.distances import truth_about
from neuroconn.evaluation.maps import score_planes, score_volume
from neuroconn.evaluation.prediction import Prediction
from neuroconn.evaluation.scores import Scores
from neuroconn.evaluation.tracings import TRACING_METRICS, score_tracings
from neuroconn.geometry import ZYX
from neuroconn.metrics.truth import is_tracing
from neuroconn.tracing.distance_map import DistanceMap
from neuroconn.volume import Image, open_image
from neuroconn.volume.address import Address


def evaluate(
    prediction: str | Address,
    truth: str | Path | Iterable[str | Path],
    *,
    metrics: Collection[str] | None = None,
    threshold: float = 3.0,
    slack: float = 3.0,
    radius: float | None = None,
    thin: bool = True,
    window: int = 64,
    chunk: int | None = None,
    units: Units | None = None,
    y_flip: bool = False,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    label: int | None = None,
    ignore: int | None = None,
    planes: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Say how well a distance map, or a tracing, agrees with an annotation.

    Parameters
    ----------
    prediction : path
        A distance map as `neuroconn infer` writes it; or an SWC file or a folder of them, which is
        compared with the truth's SWC files by the metrics of graphs.
    truth : path or paths
        SWC files (or a folder of them), or one labelled volume: a TIFF or an OME-Zarr of the
        prediction's shape. A volume of centrelines is one; so is a distance map.
    metrics : collection of str, optional
        Of ``voxel``, ``ccq``, ``cldice``, ``betti``, ``erl`` (splits, merges, omissions),
        ``breaks``, ``tlts`` and ``apls``. By default all that the truth allows: labelled planes and
        partly labelled volumes say nothing about paths.
    threshold : float, optional
        Distances below it, in voxels, are taken for neurite.
    slack : float, optional
        Farthest a voxel may lie from the other side and still match it, in voxels.
    radius : float, optional
        Voxels nearer to a line of the truth are its mask, for ``voxel``, ``cldice`` and ``betti``.
        The threshold unless given: then a perfect map scores 1.
    thin : bool, optional
        Score the skeleton of the prediction. False scores the mask itself, which rewards width.
    window : int, optional
        Edge of the windows in which Betti numbers are compared.
    chunk : int, optional
        Edge of the chunks between whose faces ``breaks`` tells; by default that of the inference.
    units, y_flip, origin
        Of SWC files, as for `neuroconn.annotation.read_forest`; voxels are the prediction's.
    label : int, optional
        The value of neurites in a labelled volume; without it, every value but 0.
    ignore : int, optional
        The value of voxels nobody labelled; predictions there are neither right nor wrong.
    planes : bool, optional
        Score every plane that holds a label on its own, in 2D; planes without one are left out.
    seed : int, optional
        Of the paths that ``tlts`` and ``apls`` sample.
    progress : callable, optional
        Called with the number of blocks done and of blocks in all.

    Returns
    -------
    Scores
        Of the whole volume, whatever the blocks: each is read with the context it needs. Blocks
        in which nothing is stored and nothing true are skipped, so that the cost is that of what
        was explored. Thinning for ``ccq`` and ``cldice`` may differ by a voxel at the faces of
        blocks; up to 192 voxels an axis there is one block.

    Raises
    ------
    VolumeError
        If the prediction is no distance map, or the labels have another shape.
    AnnotationError
        If an SWC file is broken or lies outside the volume, or the truth is empty.
    UsageError
        If an option is out of range, or does not fit the kind of truth.
    """
    choice = Choice(
        metrics=frozenset(metrics or ()),
        threshold=threshold,
        slack=slack,
        radius=threshold if radius is None else radius,
        thin=thin,
        window=window,
        seed=seed,
    )
    given = [truth] if isinstance(truth, str | Path) else list(truth)
    if isinstance(prediction, str | Path) and is_tracing(Path(prediction)):
        if label is not None or ignore is not None or planes or y_flip or any(origin):
            raise UsageError("two tracings are compared as they are: give their units and no more")
        wanted = available(metrics, TRACING_METRICS, "a tracing has neither voxels nor chunks")
        choice = replace(choice, metrics=wanted)
        return score_tracings(Path(prediction), map(Path, given), choice, units=units)
    image = open_image(prediction)
    predicted = Prediction(DistanceMap.of(image, threshold))
    _check_units(image, units)
    known = truth_about(
        image,
        predicted,
        given,
        units=units,
        y_flip=y_flip,
        origin=origin,
        label=label,
        ignore=ignore,
    )
    why = "labelled planes hold no paths" if planes else known.refusal()
    possible = set(METRICS) - (ON_GRAPHS if why else set())
    choice = replace(choice, metrics=available(metrics, possible, why or ""))
    if planes:
        return score_planes(predicted, known, choice, progress)
    return score_volume(predicted, known, choice, _chunk(chunk, predicted), progress)


def _check_units(image: Image, units: Units | None) -> None:
    if units not in (None, "voxel") and not image.spacing_known:
        raise UsageError(
            f"{image.path} does not say how large its voxels are, so an SWC in µm cannot be laid "
            "over it; give voxels (--units voxel), or convert the brain again with --spacing"
        )


def _chunk(given: int | None, prediction: Prediction) -> ZYX:
    if given is None:
        return prediction.chunk
    if given < 1:
        raise UsageError(f"chunk must be 1 voxel or more, got {given}")
    return given, given, given
