"""How much of a phantom's neurites a model finds, and how much of what it finds is there.

Three sets, all fixed and far from the seeds of training:

* ``moderate``: lone branching axons in the tissue that phantoms have by default, with gaps, beads
  and fading; every stretch is labelled, also where it nearly vanishes;
* ``somata``: the same axons, each starting in a soma inside the volume. Its label is the centreline
  that runs into its middle; what else is predicted there is wrong;
* ``recipe``: what training draws from, extremes included: tangles at the noise, bundles, trunks
  four voxels thick, haze.

A skeleton voxel is right within three voxels of a true centreline, which a phantom knows exactly;
a voxel of the centreline is found within three voxels of the skeleton.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.annotation import distance_map
from neuroconn.geometry import ZYX, Box
from neuroconn.metrics import CCQ, skeleton
from neuroconn.metrics.centreline import ON_LINE
from neuroconn.phantom import Growth, Neurites, Phantom, PhantomSettings, grow, random_phantom

SHAPE: ZYX = (128, 128, 128)
MARGIN = 16
"""Voxels at each face that are context only: 96^3 voxels are scored."""
THRESHOLD, TOLERANCE = 3.0, 3.0
FIRST_SEED = 10**9
FEWEST = 100
"""Centreline voxels from which a phantom counts as one with neurites."""
AXONS = 4
VISIBILITY = (0.0, 1.0, 2.5, 5.0, 10.0, np.inf)
"""Bins of brightness above the background, in standard deviations of the noise."""

Predict = Callable[[NDArray[np.uint16]], NDArray[np.float32]]


def recipe(number: int, shape: ZYX = SHAPE) -> Phantom:
    """Draw from the same distribution as training, with a seed it never reaches."""
    return random_phantom(shape, seed=FIRST_SEED + number)


def moderate(number: int, shape: ZYX = SHAPE, *, soma: bool = False) -> Phantom:
    """Grow a few axons in default tissue: about 0.1 % of the voxels are centreline."""
    seed = FIRST_SEED + number
    rng = np.random.default_rng([seed, 5])
    around = Box.of_shape(shape).grow(40)
    roots = rng.uniform(0, shape, (AXONS, 3))
    growth = Growth(length=400.0, persistence=60.0, branching=0.01)
    forests = [grow(growth, rng, root=tuple(root), bounds=around) for root in roots]
    return Phantom(shape, forests, PhantomSettings(neurites=Neurites(soma=soma)), seed=seed)


def somata(number: int, shape: ZYX = SHAPE) -> Phantom:
    """Draw the axons of ``moderate``, each with a soma at its root."""
    return moderate(number, shape, soma=True)


SETS: Mapping[str, Callable[[int], Phantom]] = {
    "moderate": moderate,
    "somata": somata,
    "recipe": recipe,
}


@dataclass
class Breakdown:
    """Where centreline was missed and where skeleton was invented, in voxels."""

    truth: NDArray[np.int64] = field(default_factory=lambda: np.zeros(5, np.int64))
    """Centreline voxels by visibility."""
    found: NDArray[np.int64] = field(default_factory=lambda: np.zeros(5, np.int64))
    stray: int = 0
    """False skeleton voxels less than 6 voxels from a centreline: thick trunks, bends, blobs."""
    unlabelled: int = 0
    """Farther away, but on light of a neuron: somata, haze, stretches too dim to be labelled."""
    invented: int = 0
    """Neither: cells, tissue, noise."""

    def __iadd__(self, other: Breakdown) -> Breakdown:
        self.truth, self.found = self.truth + other.truth, self.found + other.found
        self.stray += other.stray
        self.unlabelled += other.unlabelled
        self.invented += other.invented
        return self

    def rows(self) -> Iterator[tuple[str, int, int]]:
        """Yield (brightness, centreline voxels, those found)."""
        bins = zip(pairwise(VISIBILITY), self.truth, self.found, strict=True)
        for (low, high), truth, found in bins:
            yield f"{low:g} to {high:g}", int(truth), int(found)


@dataclass
class PhantomScores:
    """Scores of one set."""

    name: str
    counts: list[CCQ] = field(default_factory=list)
    """Of each phantom with neurites."""
    empty: list[int] = field(default_factory=list)
    """Skeleton voxels in each phantom without."""
    breakdown: Breakdown = field(default_factory=Breakdown)

    @property
    def pooled(self) -> CCQ:
        """All voxels together."""
        return sum(self.counts, CCQ())

    def quartiles(self) -> dict[str, list[float]]:
        """Quartiles over phantoms; one where nothing is predicted has no precision."""
        precision = [c.correctness for c in self.counts if c.predicted]
        recall = [c.completeness for c in self.counts]
        return {
            "precision": np.percentile(precision or [0.0], (25, 50, 75)).tolist(),
            "recall": np.percentile(recall or [0.0], (25, 50, 75)).tolist(),
        }

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        breakdown = self.breakdown
        return {
            "phantoms": len(self.counts),
            "precision": self.pooled.correctness,
            "recall": self.pooled.completeness,
            "quartiles": self.quartiles(),
            "per_phantom": [(c.correctness, c.completeness) for c in self.counts],
            "skeleton_voxels_in_empty": self.empty,
            "recall_by_visibility": {n: [t, f] for n, t, f in breakdown.rows()},
            "false_voxels": {
                "stray": breakdown.stray,
                "unlabelled": breakdown.unlabelled,
                "invented": breakdown.invented,
            },
        }


def score_phantoms(name: str, count: int, predict: Predict) -> PhantomScores:
    """Score ``count`` phantoms with neurites of a set.

    Parameters
    ----------
    name : {"moderate", "somata", "recipe"}
        Which set.
    count : int
        Phantoms with at least 100 voxels of centreline in the scored part; the others on the way
        count for what is invented in them.
    predict : callable
        Grey values of a whole phantom to distances in voxels.
    """
    scores = PhantomScores(name)
    number = 0
    while len(scores.counts) < count:
        phantom = SETS[name](number)
        number += 1
        truth = phantom.distance(clip=2 * TOLERANCE)
        lines = skeleton(predict(phantom.image()) < THRESHOLD)
        counts = judge(lines, truth)
        if counts.truth < FEWEST:
            scores.empty.append(counts.predicted)
            continue
        scores.counts.append(counts)
        scores.breakdown += explain(lines, truth, visibility(phantom))
    return scores


def core(shape: tuple[int, ...], margin: int = MARGIN) -> tuple[slice, ...]:
    """Return the voxels that are scored."""
    return tuple(slice(margin, n - margin) for n in shape)


def judge(lines: NDArray[np.bool_], truth: NDArray[np.float32], *, margin: int = MARGIN) -> CCQ:
    """Count skeleton voxels within the tolerance of the truth, and the other way round.

    Parameters
    ----------
    lines : ndarray of bool, shape (z, y, x)
        Skeleton of the prediction.
    truth : ndarray of float32, same shape
        Exact distance to the nearest centreline, in voxels.
    margin : int, optional
        Voxels at each face that are not counted, but seen.
    """
    inner = core(lines.shape, margin)
    near = distance_map(lines, clip=2 * TOLERANCE)[inner] <= TOLERANCE
    predicted, right = lines[inner], truth[inner] <= TOLERANCE
    line = truth[inner] <= ON_LINE
    return CCQ(
        predicted=int(np.count_nonzero(predicted)),
        correct=int(np.count_nonzero(predicted & right)),
        truth=int(np.count_nonzero(line)),
        found=int(np.count_nonzero(line & near)),
    )


def explain(
    lines: NDArray[np.bool_],
    truth: NDArray[np.float32],
    bright: NDArray[np.float32],
    *,
    margin: int = MARGIN,
) -> Breakdown:
    """Sort what was missed by brightness, and what was invented by what is there instead."""
    inner = core(lines.shape, margin)
    near = distance_map(lines, clip=2 * TOLERANCE)[inner] <= TOLERANCE
    away, bright, line = truth[inner], bright[inner], truth[inner] <= ON_LINE
    false = lines[inner] & (away > TOLERANCE)
    stray = false & (away < 2 * TOLERANCE)
    unlabelled = false & ~stray & (bright >= 1)
    return Breakdown(
        truth=np.histogram(bright[line], VISIBILITY)[0],
        found=np.histogram(bright[line & near], VISIBILITY)[0],
        stray=int(np.count_nonzero(stray)),
        unlabelled=int(np.count_nonzero(unlabelled)),
        invented=int(np.count_nonzero(false & ~stray & ~unlabelled)),
    )


def visibility(phantom: Phantom) -> NDArray[np.float32]:
    """Light of neurites, the brightest within a voxel, in standard deviations of the noise."""
    bare = Phantom(phantom.shape, [], phantom.settings, seed=phantom.seed)
    light = phantom.light(phantom.bounds) - bare.light(phantom.bounds)
    brightest: NDArray[np.float32] = ndimage.maximum_filter(light, 3)
    return (np.maximum(brightest, 0) / noise(phantom.settings)).astype(np.float32)


def noise(settings: PhantomSettings) -> np.float32:
    """Standard deviation of photons, detector and fine texture at the background's brightness."""
    camera, tissue = settings.camera, settings.tissue
    fine = sum((w * tissue.brightness) ** 2 / 6 for pitch, w in tissue.octaves if pitch < 15)
    return np.float32(np.sqrt(camera.gain * tissue.brightness + camera.read**2 + fine))
