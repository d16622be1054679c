"""Whether a tracing lies on the neurites of an image, or is flipped, shifted, of another brain.

A bounds check cannot tell: a tracing flipped in y stays inside. Its nodes, though, fall on voxels
no brighter than any others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation.alternatives import Alternative
from neuroconn.annotation.forest import Forest
from neuroconn.annotation.placement import flip_y, inside, require_inside
from neuroconn.errors import AnnotationError
from neuroconn.geometry import ZYX

MARGIN = 20.0
"""Percentile points by which nodes on neurites beat random voxels, and the right y the wrong."""

_CHUNKS = 64
_DRAWS = 4096
_GOOD = 97.0
"""Percentile from which no other placement is tried."""


class Volume(Protocol):
    """An image that is read a box at a time: a NumPy or a Zarr array, (z, y, x)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along (z, y, x)."""

    def __getitem__(self, box: tuple[slice, slice, slice], /) -> Any:
        """Return the voxels of a box."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """How bright the image is at the nodes of a forest, as percentiles of random voxels."""

    inside: float
    """Share of the nodes inside the volume."""
    percentile: float
    """Median mid-rank percentile at the nodes: near 50 they miss the neurites."""
    flipped: float
    """The same with y counted from the other side."""
    random: float
    """The same at random voxels: 50, but for chance."""
    warnings: tuple[str, ...]
    """What looks wrong, one sentence each."""

    def __str__(self) -> str:
        return (
            f"{self.inside:.1%} of the nodes are inside; median intensity percentile at the nodes "
            f"{self.percentile:.1f} ({self.flipped:.1f} with y flipped, "
            f"{self.random:.1f} at random voxels)"
        )


def check_alignment(
    forest: Forest,
    volume: Volume,
    *,
    others: Iterable[Alternative] = (),
    seed: int = 0,
) -> Alignment:
    """Compare the image at the nodes, as they are and flipped in y, with random voxels.

    At most some 200 chunks are read, however large the volume.

    Parameters
    ----------
    forest : Forest
        Nodes in voxels of the volume.
    volume : array of shape (z, y, x)
        The image: a NumPy array, or a Zarr array, which is read by its chunks.
    others : iterable of Alternative, optional
        Other ways to lay the tracing, tried if it does not lie on the brightest voxels as it is.
    seed : int, optional
        Of the sample.

    Returns
    -------
    Alignment
        Percentiles, and ``warnings``: empty when the tracing looks right.

    Raises
    ------
    AnnotationError
        If there is no node, or fewer than 95 % of them lie inside the volume.
    """
    if len(volume.shape) != 3:
        raise ValueError(f"volume must be (z, y, x), got shape {volume.shape}")
    if not len(forest):
        raise AnnotationError("the annotation holds no nodes, so its alignment cannot be judged")
    depth, height, width = volume.shape
    shape = depth, height, width
    share = require_inside(forest, shape)
    rng = np.random.default_rng(seed)
    reference = np.sort(_sample(volume, _random_voxels(volume, rng), rng))
    again = _sample(volume, _random_voxels(volume, rng), rng)
    stored, flipped = (
        _median_percentile(_sample(volume, _voxels(nodes, shape), rng), reference)
        for nodes in (forest, flip_y(forest, height))
    )
    best = None
    if max(stored, flipped) < _GOOD:
        best = _best(others, volume, shape, reference, rng)
    return Alignment(
        inside=share,
        percentile=stored,
        flipped=flipped,
        random=_median_percentile(again, reference),
        warnings=tuple(_warnings(stored, flipped, best)),
    )


def _best(
    others: Iterable[Alternative],
    volume: Volume,
    shape: ZYX,
    reference: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[float, str] | None:
    """Return the brightest of the other placements; the first of those that are equal."""
    found = None
    for other in others:
        values = _sample(volume, _voxels(other.forest, shape), rng)
        percentile = _median_percentile(values, reference)
        if found is None or percentile > found[0]:
            found = percentile, other.advice
    return found


def _beats(other: float, stored: float) -> bool:
    """Whether another placement is clearly the right one.

    In a brain with dark space around it all that lies in tissue is brighter than most voxels; there
    the share of brighter voxels that is left tells.
    """
    return other > stored + MARGIN or (stored < 90.0 and 100.0 - other < (100.0 - stored) / 4)


def _warnings(
    stored: float, flipped: float, best: tuple[float, str] | None = None
) -> Iterator[str]:
    if best is not None and _beats(best[0], stored):
        yield (
            f"The image is brighter at the nodes with {best[1]} (median percentile {best[0]:.0f}) "
            f"than as they are ({stored:.0f}): try that, and check the result in a viewer."
        )
    elif _beats(flipped, stored):
        yield (
            f"The image is brighter at the nodes with y flipped (median percentile {flipped:.0f}) "
            f"than as they are ({stored:.0f}): the tracing probably counts y from the other side; "
            "try the y flip (flip: y)."
        )
    elif max(stored, flipped) < 50.0 + MARGIN:
        yield (
            f"The image is hardly brighter at the nodes than anywhere else (median percentile "
            f"{stored:.0f}, {flipped:.0f} with y flipped): check the units, the origin and that "
            "this is the brain they were traced in."
        )


def _voxels(forest: Forest, shape: ZYX) -> NDArray[np.int64]:
    found = forest.positions[inside(forest.positions, shape)]
    # -0.5 rounds to voxel 0, and the largest float below the far face may round up past it
    voxels: NDArray[np.int64] = np.floor(found + 0.5).astype(np.int64)
    return np.clip(voxels, 0, np.subtract(shape, 1))


def _chunk(volume: Volume) -> NDArray[np.int64]:
    chunks = getattr(volume, "chunks", None) or (64, 64, 64)
    return np.asarray([c if isinstance(c, int) else 64 for c in chunks], dtype=np.int64)


def _random_voxels(volume: Volume, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw voxels uniformly, in few chunks: of each voxel drawn, more from its chunk."""
    shape, chunk = np.asarray(volume.shape), _chunk(volume)
    start = rng.integers(0, shape, size=(_CHUNKS, 3)) // chunk * chunk
    stop = np.minimum(start + chunk, shape)
    return rng.integers(start, stop, size=(_DRAWS // _CHUNKS, _CHUNKS, 3)).reshape(-1, 3)


def _sample(
    volume: Volume, voxels: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Values at a random part of ``voxels`` that lies in few chunks, each read once."""
    voxels = rng.permutation(voxels)[:_DRAWS]
    _, first, group = np.unique(
        voxels // _chunk(volume), axis=0, return_index=True, return_inverse=True
    )
    values = [np.empty(0)]
    for index in np.argsort(first)[:_CHUNKS]:
        here = voxels[group == index]
        low, high = here.min(axis=0), here.max(axis=0) + 1
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        block = np.asarray(volume[z, y, x])
        values.append(block[tuple((here - low).T)].astype(np.float64))
    return np.concatenate(values)


def _median_percentile(values: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Median over ``values`` of the share of the sorted ``reference`` below, ties by half."""
    if not values.size:
        return 0.0
    below = np.searchsorted(reference, values, side="left")
    up_to = np.searchsorted(reference, values, side="right")
    return float(np.median((below + up_to) / 2) / len(reference) * 100)
