"""Held-out crops as a person would look at them: image, target, prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.training.sample import Batch
from neuroconn.vaa3d.files import storage_errors
from neuroconn.view.pictures import (
    Picture,
    nearness,
    projection,
    save_png,
    side_by_side,
    stretch,
)

MOST = 4
"""Crops to a picture."""
_GAP = 4


def draw(
    crops: Sequence[Batch], predictions: Sequence[NDArray[np.float32]], *, clip: float
) -> Picture:
    """Put crops under each other, seen along z.

    Parameters
    ----------
    crops : sequence of Batch
        One crop each.
    predictions : sequence of ndarray of float32, shape (z, y, x)
        Distances in voxels.
    clip : float
        Distance that becomes black.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        A row a crop: the brightest voxel of each ray, and the smallest true and predicted distance.
    """
    rows = [
        _row(batch.images.numpy()[0, 0], batch.distances.numpy()[0, 0], prediction, clip)
        for batch, prediction in zip(crops, predictions, strict=True)
    ]
    space = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (space, row)][1:])


def save(picture: Picture, folder: Path, iteration: int) -> Path:
    """Write ``folder/ITERATION.png``.

    Raises
    ------
    StorageError
        If the disk is full.
    """
    path = folder / f"{iteration:07d}.png"
    with storage_errors(path):
        folder.mkdir(exist_ok=True)
        return save_png(path, picture, enlarge=2 if picture.shape[1] < 500 else 1)


def _row(
    image: NDArray[np.float32],
    target: NDArray[np.float32],
    prediction: NDArray[np.float32],
    clip: float,
) -> Picture:
    maps = [nearness(projection(m, minimum=True), clip=clip) for m in (target, prediction)]
    return side_by_side([stretch(projection(image), softness=0), *maps], gap=_GAP)
