"""Flips and quarter turns, of voxels and of the lines between them.

They map voxel centres to voxel centres, so a distance map that is moved is the map of the moved
annotation, and positions stay exact: ``p' = n - 1 - p``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Graph

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Move:
    """Mirrored ``axes``, then ``turns`` by 90 degrees in the plane (y, x).

    Examples
    --------
    >>> move = Move(axes=(0,), turns=1)
    >>> volume = np.zeros((4, 4, 4))
    >>> volume[0, 1, 3] = 1
    >>> np.argwhere(move.volume(volume)).tolist()
    [[3, 0, 1]]
    >>> move.points(np.array([[0.0, 1.0, 3.0]]), (4, 4, 4)).tolist()
    [[3.0, 0.0, 1.0]]
    """

    axes: tuple[int, ...] = ()
    turns: int = 0

    def volume(self, voxels: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return the moved voxels, as a view."""
        return np.rot90(np.flip(voxels, self.axes), self.turns, axes=(1, 2))

    def points(self, positions: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return moved positions.

        Parameters
        ----------
        positions : ndarray of float64, shape (n, 3)
            In voxels (z, y, x); integers are voxel centres.
        shape : (z, y, x) ints
            Of the volume before the move.
        """
        moved = positions.copy()
        for axis in self.axes:
            moved[:, axis] = shape[axis] - 1 - moved[:, axis]
        _, height, width = shape
        for _ in range(self.turns % 4):
            moved = np.stack([moved[:, 0], width - 1 - moved[:, 2], moved[:, 1]], axis=1)
            height, width = width, height
        return moved

    def graph(self, graph: Graph | None, shape: tuple[int, ...]) -> Graph | None:
        """Return the moved graph; None stays None."""
        return None if graph is None else graph.at(self.points(graph.positions, shape))
