"""Losses on distance maps: functions on tensors of shape (batch, 1, z, y, x), and module twins.

``DESIGN.md`` beside this file says what the connectivity losses do.
"""

from typing import NoReturn

from neuroconn.loss.connectivity import L2D, L3D, LConn, l_2d, l_3d, l_conn
from neuroconn.loss.objective import Objective, build_objective
from neuroconn.loss.regression import MSE, Huber, huber, mse
from neuroconn.loss.skeleton_recall import SkeletonRecall, skeleton_recall
from neuroconn.loss.soft_cldice import SoftClDice, soft_cldice
from neuroconn.loss.term import Term
from neuroconn.loss.topology import LTopo, l_topo

try:
    from neuroconn.loss.snake import SnakeLoss, moved, snake
except ModuleNotFoundError as error:
    # The snake moves an annotation, and annotations need numba; the other losses do without.
    if error.name != "numba":
        raise

__all__ = [
    "L2D",
    "L3D",
    "MSE",
    "Huber",
    "LConn",
    "LTopo",
    "Objective",
    "SkeletonRecall",
    "SnakeLoss",
    "SoftClDice",
    "Term",
    "build_objective",
    "huber",
    "l_2d",
    "l_3d",
    "l_conn",
    "l_topo",
    "moved",
    "mse",
    "skeleton_recall",
    "snake",
    "soft_cldice",
]


def __getattr__(name: str) -> NoReturn:
    if name in __all__:
        raise ImportError(f"neuroconn.loss.{name} needs numba: pip install 'neuroconn[topo]'")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
