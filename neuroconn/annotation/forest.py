"""The traced neurites of one brain, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroconn.errors import AnnotationError
from neuroconn.geometry import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees of nodes; each node but the roots is linked to its parent by a straight segment.

    Nodes keep the order they were given in: a parent may come after its children. Units are those
    of whoever made the forest: an SWC's own after `read_swc`, voxels of level 0 after
    `read_forest`.

    Examples
    --------
    >>> forest = Forest([[0, 0, 0], [0, 0, 10]], parents=[-1, 0])
    >>> forest.edges
    array([[1, 0]])
    >>> forest.length
    10.0
    """

    positions: NDArray[np.float64]
    """(n, 3) node centres, (z, y, x)."""
    parents: NDArray[np.int64]
    """(n,) index of each node's parent, -1 for a root."""
    radii: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(n,) radii as stored; 1 where none are given. Whole-brain tracings carry a dummy 1."""
    kinds: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """(n,) SWC types: 1 soma, 2 axon, 3 dendrite, 4 apical, others custom; 0 where not given."""

    def __post_init__(self) -> None:
        positions = np.array(self.positions, dtype=np.float64).reshape(-1, 3)
        count = len(positions)
        parents = np.array(self.parents, dtype=np.int64)
        radii = np.array(self.radii if len(self.radii) else np.ones(count), dtype=np.float64)
        kinds = np.array(self.kinds if len(self.kinds) else np.zeros(count), dtype=np.int64)
        if {parents.shape, radii.shape, kinds.shape} != {(count,)}:
            raise AnnotationError(
                f"a forest of {count} nodes needs as many parents, radii and kinds, "
                f"got {parents.shape}, {radii.shape} and {kinds.shape}"
            )
        if not np.isfinite(positions).all():
            raise AnnotationError("node positions must be finite: nan and inf have no place")
        if count and not -1 <= parents.min() <= parents.max() < count:
            raise AnnotationError(f"parents must be -1 or an index below {count}, got {parents}")
        for name, values in zip(
            ("positions", "parents", "radii", "kinds"),
            (positions, parents, radii, kinds),
            strict=True,
        ):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.parents)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Forest):
            return NotImplemented
        return (
            np.array_equal(self.positions, other.positions)
            and np.array_equal(self.parents, other.parents)
            and np.array_equal(self.radii, other.radii)
            and np.array_equal(self.kinds, other.kinds)
        )

    @property
    def edges(self) -> NDArray[np.int64]:
        """(m, 2) node indices of every link: child, parent."""
        children = np.flatnonzero(self.parents >= 0)
        return np.stack([children, self.parents[children]], axis=1)

    @property
    def roots(self) -> NDArray[np.int64]:
        """Indices of the nodes without a parent, one a tree."""
        return np.flatnonzero(self.parents < 0)

    @property
    def segments(self) -> NDArray[np.float64]:
        """(m, 2, 3) end points of every link; a tree of one node is a segment of length 0."""
        linked = np.zeros(len(self), dtype=bool)
        linked[self.edges] = True
        alone = np.flatnonzero(~linked)
        pairs = np.concatenate([self.edges, np.stack([alone, alone], axis=1)])
        ends: NDArray[np.float64] = self.positions[pairs]
        return ends

    @property
    def length(self) -> float:
        """Cable length: the summed length of all links, in the unit of the positions."""
        child, parent = self.edges.T
        steps = self.positions[child] - self.positions[parent]
        return float(np.sqrt((steps**2).sum(axis=1)).sum())

    def transform(
        self, scale: float | Sequence[float] = 1.0, origin: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> Forest:
        """Move every node to ``position * scale + origin``; radii are left as they are."""
        moved = self.positions * np.asarray(scale) + np.asarray(origin, dtype=np.float64)
        return self.at(moved)

    def at(self, positions: ArrayLike) -> Forest:
        """Return the same trees with their nodes at other ``positions``, (n, 3)."""
        return Forest(np.asarray(positions, dtype=float), self.parents, self.radii, self.kinds)

    def to_voxels(self, frame: Frame) -> Forest:
        """Fractional voxel coordinates of a forest in µm."""
        return self.at(frame.to_voxels(self.positions))

    def to_um(self, frame: Frame) -> Forest:
        """Positions in µm of a forest in voxels."""
        return self.at(frame.to_um(self.positions))


def concatenate(forests: Sequence[Forest]) -> Forest:
    """Put the trees of several forests into one, in order; of none, the empty forest."""
    if not forests:
        return Forest(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    shifts = np.cumsum([0] + [len(forest) for forest in forests[:-1]])
    parents = [
        np.where(forest.parents < 0, -1, forest.parents + shift)
        for forest, shift in zip(forests, shifts, strict=True)
    ]
    return Forest(
        np.concatenate([forest.positions for forest in forests]),
        np.concatenate(parents),
        np.concatenate([forest.radii for forest in forests]),
        np.concatenate([forest.kinds for forest in forests]),
    )
