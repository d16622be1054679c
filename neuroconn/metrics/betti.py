"""Betti numbers: how many pieces, loops and cavities a mask has, and how many it should have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cc3d
import numpy as np
from numpy.typing import NDArray

from neuroconn.geometry import Box


@dataclass(frozen=True, slots=True)
class Betti:
    """Errors of the Betti numbers, summed over windows; those of separate blocks add up.

    Examples
    --------
    >>> (Betti((2, 0, 1), windows=1) + Betti((0, 1, 0), windows=1)).mean
    (1.0, 0.5, 0.5)
    """

    errors: tuple[int, int, int] = (0, 0, 0)
    """``|b_k(prediction) - b_k(truth)|`` for pieces, loops and cavities."""
    windows: int = 0
    """Windows with anything in them."""

    def __add__(self, other: Betti) -> Betti:
        a, b, c = (x + y for x, y in zip(self.errors, other.errors, strict=True))
        return Betti((a, b, c), self.windows + other.windows)

    @property
    def mean(self) -> tuple[float, float, float]:
        """Errors of an average window; 0 without windows."""
        a, b, c = (error / self.windows if self.windows else 0.0 for error in self.errors)
        return a, b, c


def betti(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, window: int | None = None
) -> Betti:
    """Compare the Betti numbers of two masks.

    Parameters
    ----------
    prediction, truth : ndarray of bool, shape (z, y, x)
        The same voxels.
    window : int, optional
        Compare windows of this edge, laid out from the first voxel and cut at the last, on their
        own: an extra piece here then does not make up for a missing one there. Windows in which
        both masks are empty are left out, lest emptiness look like success. None compares the
        whole.

    Returns
    -------
    Betti

    References
    ----------
    .. [1] X. Hu, F. Li, D. Samaras, C. Chen, "Topology-preserving deep image segmentation",
       NeurIPS 2019, section 4.

    Examples
    --------
    >>> line = np.zeros((3, 3, 9), dtype=bool)
    >>> line[1, 1] = True
    >>> broken = line.copy()
    >>> broken[1, 1, 4] = False
    >>> betti(broken, line).errors
    (1, 0, 0)
    """
    if prediction.shape != truth.shape or prediction.ndim != 3:
        raise ValueError(
            f"prediction and truth must be (z, y, x) masks of the same voxels, "
            f"got shapes {prediction.shape} and {truth.shape}"
        )
    if window is not None and window < 1:
        raise ValueError(f"window must be 1 voxel or more, got {window}")
    z, y, x = prediction.shape
    volume, total = Box.of_shape((z, y, x)), Betti()
    edge = max(volume.shape) if window is None else window
    for box in volume.split((edge, edge, edge)) if volume.size else ():
        mine, theirs = prediction[box.slices], truth[box.slices]
        if mine.any() or theirs.any():
            numbers = zip(betti_numbers(mine), betti_numbers(theirs), strict=True)
            a, b, c = (abs(p - t) for p, t in numbers)
            total += Betti((a, b, c), windows=1)
    return total


def betti_numbers(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Count the pieces, loops and cavities of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
        Voxels are closed cubes: they connect across faces, edges and corners, the background
        across faces. Outside of the array is background.

    Returns
    -------
    (b0, b1, b2) : ints
        Connected components; independent loops, by Euler's formula ``b0 - b1 + b2 = chi``; and
        enclosed parts of the background.

    Examples
    --------
    >>> ring = np.ones((1, 3, 3), dtype=bool)
    >>> ring[0, 1, 1] = False
    >>> betti_numbers(ring)
    (1, 1, 0)
    """
    if not mask.any():
        return 0, 0, 0
    # Only the box around the mask matters, and a layer of background around it.
    places = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    inside = tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)
    padded = np.pad(np.asarray(mask[inside], dtype=bool), 1)
    _, pieces = cc3d.connected_components(padded, connectivity=26, return_N=True)
    _, outside = cc3d.connected_components(~padded, connectivity=6, return_N=True)
    cavities = int(outside) - 1
    return int(pieces), int(pieces) + cavities - euler_number(padded), cavities


def euler_number(mask: NDArray[np.bool_]) -> int:
    """Vertices - edges + faces - cubes of the closed voxels of a mask with an empty rim.

    A face belongs to the two voxels beside it, an edge to four and a vertex to eight; each is there
    if one of them is.
    """
    total = 0
    for axes in product((False, True), repeat=3):
        cells = mask
        for axis in np.flatnonzero(axes):
            before, after = [slice(None)] * 3, [slice(None)] * 3
            before[axis], after[axis] = slice(None, -1), slice(1, None)
            cells = cells[tuple(before)] | cells[tuple(after)]
        total += (-1) ** (3 - sum(axes)) * int(np.count_nonzero(cells))
    return total
