"""Distance maps as squares, without loss.

The distance between two voxels is the root of a whole number, so the map is stored as that number:
a byte up to a clip of 15, two bytes up to 255. What lies at the clip or beyond has a code of its
own, the largest, for the clip need not be such a root.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def code_type(clip: float) -> np.dtype[Any]:
    """Type of the codes of a map clipped at ``clip``."""
    return np.dtype("uint8" if clip**2 <= 255 else "uint16")


def encode(distance: NDArray[np.float32], clip: float) -> NDArray[Any]:
    """Squares of a distance map in voxels; ``clip`` and beyond is the largest code.

    Examples
    --------
    >>> encode(np.sqrt(np.float32([0, 2, 50, 100])), clip=10.0)
    array([  0,   2,  50, 255], dtype=uint8)
    """
    kind = code_type(clip)
    far = np.iinfo(kind).max
    squares = np.rint(np.square(distance, dtype=np.float32))
    return np.where(distance >= np.float32(clip), far, squares).astype(kind)


def decode(codes: NDArray[Any], clip: float) -> NDArray[np.float32]:
    """Distance map that was encoded with ``clip``, bit for bit.

    Examples
    --------
    >>> decode(np.array([0, 4, 255], dtype=np.uint8), clip=10.0)
    array([ 0.,  2., 10.], dtype=float32)
    """
    distance: NDArray[np.float32] = np.take(_table(np.dtype(codes.dtype), clip), codes)
    return distance


def _table(kind: np.dtype[Any], clip: float) -> NDArray[np.float32]:
    values = np.sqrt(np.arange(np.iinfo(kind).max + 1, dtype=np.float32))
    table = np.minimum(values, np.float32(clip))
    table[-1] = clip
    return table
