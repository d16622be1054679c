"""Phantom neurites in real tissue.

The image of a fluorescent volume is a sum: the light of a neurite added to it is what the camera
would have seen had the neurite been there. So real texture, cells and noise teach what is no
neurite, and the phantom knows to the voxel where one is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from neuroconn.geometry import Box
from neuroconn.phantom import Phantom
from neuroconn.phantom.recipes import noise_of
from neuroconn.phantom.tissue import background

Volume = NDArray[np.float32]

_FINE = 3.0
"""Structures of fewer voxels are what a neurite must stand out from."""


def shine(
    image: Volume, phantom: Phantom, box: Box, *, dark: float, rng: np.random.Generator
) -> Volume:
    """Add a phantom's neurites, cells and specks to a real image.

    Parameters
    ----------
    image : ndarray of float32, shape ``box.shape``
        Grey levels.
    phantom : Phantom
        Its tissue is left out; its light is scaled so that a neurite stands as far above the
        image's granularity as above its own.
    box : Box
        The part of the phantom.
    dark : float
        Grey level of the image without light: noise grows with the light above it.
    rng : numpy.random.Generator
        Source of the photons' noise.

    Returns
    -------
    ndarray of float32, same shape
        Saturates as 16 bits do.
    """
    fine, white = granularity(image)
    light = phantom.light(box) - background(box, phantom.settings.tissue, phantom.seed)
    light = np.maximum(light, 0) * np.float32(fine / noise_of(phantom.settings))
    above = max(float(np.median(image)) - dark, white, 1e-6)
    photons = rng.standard_normal(light.shape, dtype=np.float32)
    lit: Volume = image + light + np.float32(white) * np.sqrt(light / np.float32(above)) * photons
    np.minimum(lit, np.float32(65535), out=lit)
    return lit


def granularity(image: Volume) -> tuple[float, float]:
    """Measure fine texture with noise, and noise alone, as standard deviations.

    Medians of absolute deviations, which what few voxels hold does not move: of the image minus its
    smoothed self, and of the differences of neighbours along x.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(100, 5, (32, 32, 32)).astype(np.float32)
    >>> [round(value) for value in granularity(noise)]
    [5, 5]
    """
    fine = image - ndimage.gaussian_filter(image, _FINE, mode="nearest")
    return _spread(fine), _spread(np.diff(image, axis=2)) / 2**0.5


def _spread(values: Volume) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
