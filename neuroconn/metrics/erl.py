"""Expected run length: how far one can follow a neurite before an error stops it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph


@dataclass(frozen=True, slots=True)
class ERL:
    """What follows from the segment of every node; counts of separate volumes add up.

    Lengths are in the unit of the spacing that `erl` was given.
    """

    length: float = 0.0
    """Of all edges of the truth."""
    squares: float = 0.0
    """Squared length of the truth in each pair of tree and segment, without merging segments."""
    squares_with_merges: float = 0.0
    """The same with them: as if merges did no harm."""
    squares_of_trees: float = 0.0
    """Squared length of each tree."""
    edges: int = 0
    """Edges of the truth."""
    splits: int = 0
    """Edges whose ends lie in two segments."""
    omitted_edges: int = 0
    """Edges with an end in no segment."""
    omitted_length: float = 0.0
    """Length of these."""
    merges: int = 0
    """Segments that hold nodes of two trees or more."""
    merged_length: float = 0.0
    """Length of edges inside of such segments."""

    def __add__(self, other: ERL) -> ERL:
        return ERL(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def run_length(self) -> float:
        """Expected length of the correct segment at a random point of the truth."""
        return self.squares / self.length if self.length else 0.0

    @property
    def run_length_with_merges(self) -> float:
        """The same if merges cost nothing: what splits and omissions leave."""
        return self.squares_with_merges / self.length if self.length else 0.0

    @property
    def perfect_run_length(self) -> float:
        """The same of a segmentation without an error."""
        return self.squares_of_trees / self.length if self.length else 0.0

    @property
    def omitted(self) -> float:
        """Share of the length that is omitted; 0 if there is none."""
        return self.omitted_length / self.length if self.length else 0.0


def erl(
    truth: Graph,
    segments: NDArray[np.int64],
    *,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> ERL:
    """Measure how much of each tree lies in one segment.

    Parameters
    ----------
    truth : Graph
        Trees are its connected components. Cut long edges first (`subdivide`): an edge is right or
        wrong as a whole.
    segments : ndarray of int, shape (n,)
        Of every node, 0 for none; `segments_at` looks them up in a mask.
    spacing : sequence of float, optional
        Of the positions along (z, y, x), for the lengths.

    Returns
    -------
    ERL
        An edge is correct if both ends lie in one segment that holds nodes of no other tree.

    References
    ----------
    .. [1] M. Januszewski et al., "High-precision automated reconstruction of neurons with
       flood-filling networks", Nature Methods 15, 2018.

    Examples
    --------
    Eleven nodes in a row; the sixth edge is lost, and ten voxels become runs of five and four.

    >>> row = Graph([[0, 0, x] for x in range(11)], [[x, x + 1] for x in range(10)])
    >>> found = erl(row, np.array([1] * 6 + [2] * 5))
    >>> found.run_length, found.splits, found.perfect_run_length
    (4.1, 1, 10.0)
    """
    ids = np.asarray(segments, dtype=np.int64)
    if ids.shape != (len(truth),):
        raise ValueError(f"a graph of {len(truth)} nodes needs as many segments, got {ids.shape}")
    lengths = truth.at(truth.positions * np.asarray(spacing, dtype=float)).lengths
    tree = truth.components()
    merging = _shared(ids, tree)
    first, second = ids[truth.edges].T
    omitted = (first == 0) | (second == 0)
    inside = ~omitted & (first == second)
    correct = inside & ~np.isin(first, merging)
    trees = tree[truth.edges[:, 0]]
    return ERL(
        length=float(lengths.sum()),
        squares=_squares(trees[correct], first[correct], lengths[correct]),
        squares_with_merges=_squares(trees[inside], first[inside], lengths[inside]),
        squares_of_trees=_squares(trees, trees, lengths),
        edges=len(lengths),
        splits=int(np.count_nonzero(~omitted & (first != second))),
        omitted_edges=int(np.count_nonzero(omitted)),
        omitted_length=float(lengths[omitted].sum()),
        merges=len(merging),
        merged_length=float(lengths[inside & ~correct].sum()),
    )


def _shared(ids: NDArray[np.int64], tree: NDArray[np.int64]) -> NDArray[np.int64]:
    """Segments with nodes of several trees."""
    pairs = np.unique(np.stack([ids, tree], axis=1)[ids > 0], axis=0)
    names, trees = np.unique(pairs[:, 0], return_counts=True)
    return names[trees > 1]


def _squares(
    trees: NDArray[np.int64], ids: NDArray[np.int64], lengths: NDArray[np.float64]
) -> float:
    """Sum of the squared length of each pair of a tree and a segment."""
    if not len(ids):
        return 0.0
    _, pair = np.unique(np.stack([trees, ids], axis=1), axis=0, return_inverse=True)
    return float((np.bincount(pair.ravel(), lengths) ** 2).sum())
