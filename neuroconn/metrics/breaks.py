"""Breaks of neurites where chunks meet, against breaks elsewhere."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from neuroconn.annotation import Graph
from neuroconn.geometry import ZYX


@dataclass(frozen=True, slots=True)
class Breaks:
    """Breaks near chunk faces and far from them; those of separate volumes add up.

    Examples
    --------
    >>> seams = Breaks(at_faces=6, interior=20, face_length=100.0, interior_length=400.0)
    >>> seams.total, seams.ratio
    (26, 1.2)
    """

    at_faces: float = 0.0
    """Breaks near a face; a break with one end there and one elsewhere counts half."""
    interior: float = 0.0
    """Breaks elsewhere."""
    face_length: float = 0.0
    """Length of the truth near faces."""
    interior_length: float = 0.0
    """Length of the truth elsewhere."""
    crossings: int = 0
    """How often the truth passes from one chunk into another."""

    def __add__(self, other: Breaks) -> Breaks:
        return Breaks(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> float:
        """All breaks."""
        return self.at_faces + self.interior

    @property
    def per_crossing(self) -> float:
        """Breaks near faces for every crossing; 0 without crossings."""
        return self.at_faces / self.crossings if self.crossings else 0.0

    @property
    def interior_per_crossing(self) -> float:
        """Breaks of as much length elsewhere as a crossing has near its face."""
        if not (self.crossings and self.interior_length):
            return 0.0
        return self.interior / self.interior_length * self.face_length / self.crossings

    @property
    def ratio(self) -> float | None:
        """Breaks a length near faces, to those elsewhere; None if there is no telling."""
        if not (self.face_length and self.interior_length and self.interior):
            return None
        return (self.at_faces / self.face_length) / (self.interior / self.interior_length)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Bounds of the ratio, taking breaks for independent; (0, inf) if they say nothing.

        Given their total, breaks at faces then are binomial, so the bounds are those of Clopper
        and Pearson.
        """
        if not (self.face_length and self.interior_length):
            return 0.0, math.inf
        tail, n, k = (1 - confidence) / 2, self.total, self.at_faces
        low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
        scale = self.interior_length / self.face_length
        return scale * low / (1 - low), scale * high / (1 - high) if high < 1 else math.inf


def breaks_at_faces(
    truth: Graph,
    segments: NDArray[np.int64],
    *,
    chunk: ZYX,
    shape: ZYX,
    width: float = 5.0,
) -> Breaks:
    """Count breaks where chunks meet and where they do not.

    A break is a stretch of the truth in no segment between or beside stretches that are in one, or
    an edge from one segment to another. What counts is where its ends lie, so that the length of
    breaks does not matter: were they spread evenly, the ratio would be 1.

    Parameters
    ----------
    truth : Graph
        In voxels, with edges of about a voxel (`subdivide`).
    segments : ndarray of int, shape (n,)
        Of every node, 0 for none, as for `erl`.
    chunk : (z, y, x) ints
        Size of a chunk; the first begins at voxel 0.
    shape : (z, y, x) ints
        Of the volume, whose own faces are none.
    width : float, optional
        How far from a face a point still is near it.

    Returns
    -------
    Breaks
        Trees that are missed from end to end have no break.

    Examples
    --------
    >>> row = Graph([[0, 0, x] for x in range(40)], [[x, x + 1] for x in range(39)])
    >>> found = np.repeat([1, 0, 2], [19, 3, 18])
    >>> breaks_at_faces(row, found, chunk=(20, 20, 20), shape=(20, 20, 40)).at_faces
    1.0
    """
    ids = np.asarray(segments, dtype=np.int64)
    if ids.shape != (len(truth),):
        raise ValueError(f"a graph of {len(truth)} nodes needs as many segments, got {ids.shape}")
    ends = truth.positions[truth.edges]
    near = _near_faces(ends.mean(axis=1), chunk, shape, width)
    home = np.floor((ends + 0.5) / np.asarray(chunk))
    weight = _breaks_of_edges(truth, ids)
    lengths = truth.lengths
    return Breaks(
        at_faces=float(weight[near].sum()),
        interior=float(weight[~near].sum()),
        face_length=float(lengths[near].sum()),
        interior_length=float(lengths[~near].sum()),
        crossings=int(np.count_nonzero((home[:, 0] != home[:, 1]).any(axis=1))),
    )


def _breaks_of_edges(truth: Graph, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of a break at every edge: 1 from segment to segment, else 1 / ends of the gap."""
    first, second = ids[truth.edges].T
    weight: NDArray[np.float64]
    weight = ((first > 0) & (second > 0) & (first != second)).astype(np.float64)
    inside = truth.edges[(first == 0) & (second == 0)]
    gap = truth.with_edges(inside).components()
    rim = np.flatnonzero((first == 0) != (second == 0))
    lost = gap[np.where(first[rim] == 0, truth.edges[rim, 0], truth.edges[rim, 1])]
    ends = np.bincount(lost, minlength=len(truth))
    weight[rim] = 1 / ends[lost]
    return weight


def _near_faces(
    points: NDArray[np.float64], chunk: ZYX, shape: ZYX, width: float
) -> NDArray[np.bool_]:
    """Which points lie at most ``width`` from a plane between two chunks."""
    near = np.zeros(len(points), dtype=bool)
    for axis, (size, extent) in enumerate(zip(chunk, shape, strict=True)):
        last = -(-extent // size) - 1
        if last >= 1:
            plane = np.clip(np.floor((points[:, axis] + 0.5) / size + 0.5), 1, last)
            near |= np.abs(points[:, axis] - (plane * size - 0.5)) <= width
    return near
