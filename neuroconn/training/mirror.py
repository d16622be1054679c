"""Faces of a volume: what a network sees there, and beyond them.

Inference fills the halo by reflection, so that a texture meets its mirror image, and the outermost
voxels of a resampled or stitched volume are often brighter than the tissue behind them. Either
makes a ridge along the face, which a network that saw no face takes for a neurite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]

_LEAST = 4
_RIMS = 0.5
"""Share of faces with a bright rim."""
_RIM = 1.5
"""Its largest brightness in the second of two random factors, in units of the network's input."""
_PATCH = 3.0
"""Extent of the patches it is made of, in voxels."""
_SECOND = 0.35
"""Brightness of its second layer against the first."""


def mirror_faces(image: Volume, rng: np.random.Generator) -> tuple[Volume, NDArray[np.bool_]]:
    """Let one to three faces of a volume run through a crop.

    Parameters
    ----------
    image : ndarray of float32, shape (z, y, x)
        A crop of the inside, as the network sees it.
    rng : numpy.random.Generator
        Which faces, how far from the edge of the crop, and how bright.

    Returns
    -------
    image : ndarray of float32, same shape
        Beyond each face it is the mirror image of what is within.
    outside : ndarray of bool, same shape
        Where that is.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((16, 16, 16), np.float32)
    >>> mirrored, outside = mirror_faces(image, np.random.default_rng(1))
    >>> bool(outside.any()), outside.all()
    (True, np.False_)
    """
    image, outside = image.copy(), np.zeros(image.shape, bool)
    faces = []
    for axis in rng.permutation(3)[: rng.integers(1, 4)]:
        voxels, beyond = np.moveaxis(image, axis, 0), np.moveaxis(outside, axis, 0)
        deep = int(rng.integers(_LEAST, max(_LEAST + 1, len(voxels) // 2 - 1)))
        if rng.random() < 0.5:
            voxels, beyond = voxels[::-1], beyond[::-1]
        if rng.random() < _RIMS:
            rim = _rim(voxels.shape[1:], rng)
            voxels[deep] += rim
            voxels[deep + 1] += np.float32(_SECOND) * rim
        faces.append((voxels, beyond, deep))
    for voxels, beyond, deep in faces:  # when no rim is still to come
        voxels[:deep] = voxels[2 * deep : deep : -1]
        beyond[:deep] = True
    return image, outside


def _rim(shape: tuple[int, ...], rng: np.random.Generator) -> Volume:
    """Draw patches of light, most of them dim, of standard deviation up to the largest."""
    noise = ndimage.gaussian_filter(
        rng.standard_normal(shape, dtype=np.float32), _PATCH, mode="nearest"
    )
    noise *= np.float32(2 * np.sqrt(np.pi) * _PATCH)
    level, bright = rng.uniform(0, 1), np.float32(_RIM * rng.random() ** 2)
    rim: Volume = np.maximum(noise + np.float32(level), 0) * bright
    return rim
