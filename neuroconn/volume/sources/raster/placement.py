"""Where a header with world coordinates puts the voxels of a brain, which has none but its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TURN = 1e-3
"""Direction cosines below this count as 0: 0.06 degrees, float32 quaternions stay under it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Spacing and origin as a brain keeps them, and what a user should know about the rest."""

    spacing_um: tuple[float, float, float] | None = None
    """(z, y, x)."""
    origin_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(z, y, x), centre of the first voxel."""
    notes: tuple[str, ...] = ()


def placement(
    steps: ArrayLike, origin: ArrayLike, um: Sequence[float | None], unit: str
) -> Placement:
    """Reduce an affine transform to spacing and origin; voxels keep their stored order.

    Parameters
    ----------
    steps : array of shape (3, n)
        One row for each stored axis, x first: how far one voxel leads along each world axis.
    origin : array of shape (n,)
        World position of the centre of the first voxel.
    um : sequence of n floats
        Micrometres in the unit of each world axis; None where that is unknown.
    unit : str
        What the file says of its unit, to follow "the voxel size is given".

    Returns
    -------
    Placement
        The length of each step as spacing. The origin only where stored and world axes agree:
        on turned or mirrored axes it would name another corner. Notes say what was left out.
    """
    matrix, first = np.asarray(steps, np.float64), np.asarray(origin, np.float64)
    known = [factor for factor in um if factor is not None]
    notes = []
    if len(known) < len(um):
        known = [1.0] * len(um)
        notes.append(
            f"the voxel size (z, y, x) {_sizes(matrix)} is given {unit}: --spacing sets it"
        )
    lengths = np.linalg.norm(matrix * known, axis=1)
    usable = bool(np.isfinite(lengths).all() and (lengths > 0).all())
    if not usable:
        notes = [f"the voxel size (z, y, x) {_sizes(matrix)} is not positive: --spacing sets it"]
        return Placement(notes=tuple(notes))
    directions = matrix * known / lengths[:, None]
    if _is_turned(directions):
        notes.append(_turned(directions))
    agree = directions.shape == (3, 3) and bool(np.abs(directions - np.eye(3)).max() < _TURN)
    corner = first * known
    if not (agree and np.isfinite(corner).all()):
        if not agree and np.any(first):
            notes.append(
                f"the origin (x, y, z) {_plain(first)} is left out: the file's axes run otherwise"
            )
        corner = np.zeros(3)
    if None in um:
        return Placement(notes=tuple(notes))
    z, y, x = (float(n) for n in lengths[::-1])
    oz, oy, ox = (float(n) + 0.0 for n in corner[::-1])
    return Placement((z, y, x), (oz, oy, ox), tuple(notes))


def _is_turned(directions: NDArray[np.float64]) -> bool:
    """Whether axes are more than swapped and mirrored."""
    large = np.abs(directions) > _TURN
    return bool((large.sum(axis=1) != 1).any() or (large.sum(axis=0) > 1).any())


def _turned(directions: NDArray[np.float64]) -> str:
    rows = ", ".join(f"{name} {_plain(row)}" for name, row in zip("xyz", directions, strict=True))
    return f"the stored axes are turned in the world ({rows}): voxels are kept in stored order"


def _sizes(matrix: NDArray[np.float64]) -> str:
    return _plain(np.linalg.norm(matrix, axis=1)[::-1])


def _plain(values: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{float(v) + 0.0:.6g}" for v in values) + ")"
