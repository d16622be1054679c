"""What is done to a crop before the network sees it.

Flips and turns by 90 degrees in the plane keep a distance map exact; rotations out of the plane
would mix the axial blur with the lateral one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroconn.config.train import AugmentSettings
from neuroconn.network.normalisation import Constants, Normalisation
from neuroconn.training.crops import Crop

Volume = NDArray[np.float32]


def augment(
    crop: Crop, settings: AugmentSettings, normalisation: Normalisation, rng: np.random.Generator
) -> tuple[Volume, Volume]:
    """Normalise and vary one crop.

    Parameters
    ----------
    crop : Crop
        As it comes from its source.
    settings : AugmentSettings
        What may be varied.
    normalisation : Normalisation
        How grey values become input. The constants are varied instead of the image: a brain's
        median and deviation never fit each of its regions.
    rng : numpy.random.Generator
        Source of every random choice.

    Returns
    -------
    image, distance : ndarrays of float32, shape (z, y, x)
    """
    constants = _vary(normalisation.constants(crop.statistics), settings, rng)
    image = constants.apply(crop.image).astype(np.float32)
    distance = crop.distance
    if settings.flips:
        axes = tuple(map(int, np.flatnonzero(rng.random(3) < 0.5)))
        image, distance = np.flip(image, axes), np.flip(distance, axes)
    if settings.rotations and image.shape[1] == image.shape[2]:
        turns = int(rng.integers(4))
        image, distance = (np.rot90(v, turns, axes=(1, 2)) for v in (image, distance))
    if settings.noise:
        strength = settings.noise * rng.random() ** 2
        image = image + strength * rng.standard_normal(image.shape, dtype=np.float32)
    return (
        np.ascontiguousarray(image, dtype=np.float32),
        np.ascontiguousarray(distance, dtype=np.float32),
    )


def plain(crop: Crop, normalisation: Normalisation) -> tuple[Volume, Volume]:
    """Normalise a crop and leave it as it is; for validation."""
    image = normalisation.constants(crop.statistics).apply(crop.image)
    return np.ascontiguousarray(image, dtype=np.float32), crop.distance


def _vary(constants: Constants, settings: AugmentSettings, rng: np.random.Generator) -> Constants:
    shift = settings.offset * rng.uniform(-1, 1)
    factor = float(np.exp(rng.uniform(-1, 1) * np.log(settings.gain)))
    return Constants(
        constants.curve,
        # The divisor is a few deviations; a shift by a third of it is about one.
        offset=constants.offset + shift * constants.divisor / 3,
        divisor=constants.divisor * factor,
        scale=constants.scale,
    )
