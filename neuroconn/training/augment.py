"""What is done to a crop before the network sees it.

Flips and turns by 90 degrees in the plane keep a distance map exact; rotations out of the plane
would mix the axial blur with the lateral one.
"""

from __future__ import annotations

import numpy as np

from neuroconn.config.train import AugmentSettings
from neuroconn.network.normalisation import Constants, Normalisation
from neuroconn.training.bounds import Bounds
from neuroconn.training.crop import Crop
from neuroconn.training.mirror import mirror_faces
from neuroconn.training.moves import Move
from neuroconn.training.sample import Sample


def augment(
    crop: Crop, settings: AugmentSettings, normalisation: Normalisation, rng: np.random.Generator
) -> Sample:
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
    Sample
        Image, distance map and graph have moved together.
    """
    constants = _vary(normalisation.constants(crop.statistics), settings, rng)
    image = constants.apply(crop.image).astype(np.float32, copy=False)
    move = _draw_move(settings, image.shape, rng)
    image = move.volume(image)
    if settings.noise:
        strength = settings.noise * rng.random() ** 2
        image = image + strength * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.ascontiguousarray(image, dtype=np.float32)
    distance = np.ascontiguousarray(move.volume(crop.distance), dtype=np.float32)
    bounds = None if crop.bounds is None else crop.bounds.moved(move.volume)
    if settings.mirror and rng.random() < settings.mirror:
        image, outside = mirror_faces(image, rng)
        bounds = (bounds or Bounds.exact(distance)).without(outside)
    return Sample(
        image,
        distance if bounds is None else bounds.low,
        move.graph(crop.graph, crop.image.shape),
        crop.where,
        bounds=bounds,
    )


def plain(crop: Crop, normalisation: Normalisation) -> Sample:
    """Normalise a crop and leave it as it is; for validation."""
    image = normalisation.constants(crop.statistics).apply(crop.image)
    return Sample(np.ascontiguousarray(image, np.float32), crop.distance, crop.graph, crop.where)


def _draw_move(settings: AugmentSettings, shape: tuple[int, ...], rng: np.random.Generator) -> Move:
    flips = tuple(map(int, np.flatnonzero(rng.random(3) < 0.5))) if settings.flips else ()
    square = shape[1] == shape[2]
    return Move(flips, int(rng.integers(4)) if settings.rotations and square else 0)


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
