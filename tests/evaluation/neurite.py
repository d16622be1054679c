"""The neurite that the tests of this folder are about."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroconn.annotation import Forest, distance_map, render
from neuroconn.geometry import Box, Frame

SHAPE = (40, 60, 70)
BOX = Box.of_shape(SHAPE)
NEURITE = Forest([[5, 10, 4], [30, 40, 33], [35, 50, 65], [8, 52, 60]], [-1, 0, 1, 1])
FRAME = Frame((2.0, 1.0, 1.0))

Save = Callable[..., Path]


def true_distance(forest: Forest = NEURITE) -> NDArray[np.float32]:
    return distance_map(render(forest, BOX))


def wrong_distance() -> NDArray[np.float32]:
    """Predict half of the neurite, and one that is not there."""
    ghost = Forest([[10, 5, 50], [30, 8, 66]], [-1, 0])
    distance = np.minimum(true_distance(), true_distance(ghost))
    distance[:, 30:45] = 10
    return distance
