"""The overlay as a table of every raw value and every stored distance.

A voxel of the overlay depends on two small integers, so the formula is worked out once for each
pair and looked up for each voxel: the same numbers as :func:`neuroconn.vaa3d.overlay.overlay`,
which makes the table, in a fraction of the time and without temporaries of real numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroconn.vaa3d.overlay import Window

Mix = Callable[[NDArray[Any], NDArray[np.float64]], NDArray[Any]]
"""The overlay of raw values and distances (NaN: nobody looked), voxel by voxel."""

_CODES = 256
_ROWS = 1024


class LookupTable:
    """The overlay of unsigned raw values and 8-bit codes of distances.

    Parameters
    ----------
    mix : callable
        The overlay. Raw values outside the window must show as those at its ends do.
    window : Window
        Raw intensities of black and white; the table has a row for each value between them.
    distances : ndarray of float, shape (256,)
        What each code means in voxels; NaN where nobody looked.
    largest : int
        The largest raw value there can be.

    Examples
    --------
    >>> from neuroconn.config.overlay import OverlaySettings
    >>> from neuroconn.vaa3d.overlay import overlay
    >>> window = Window(10, 20)
    >>> def mix(raw, distance):
    ...     return overlay(raw, distance, OverlaySettings(), window)
    >>> table = LookupTable(mix, window, np.arange(256) / 25, largest=255)
    >>> table(np.array([[[0, 15, 99]]], np.uint8), np.array([[[0, 250, 250]]], np.uint8))
    array([[[43690, 10923, 21845]]], dtype=uint16)
    """

    def __init__(
        self, mix: Mix, window: Window, distances: NDArray[np.float64], largest: int
    ) -> None:
        if distances.shape != (_CODES,):
            raise ValueError(f"there are {_CODES} codes, got {distances.shape} distances")
        self.low = min(max(0, math.floor(window.low)), largest)
        high = max(min(largest, math.ceil(window.high)), self.low)
        rows = np.arange(self.low, high + 1)
        self.table = np.concatenate(
            [
                _rows(mix, rows[start : start + _ROWS], distances)
                for start in range(0, len(rows), _ROWS)
            ]
        )

    def __call__(self, raw: NDArray[Any], codes: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the overlay of (z, y, x) raw values and codes."""
        values = np.empty(raw.shape, dtype=self.table.dtype)
        self.into(raw, codes, values)
        return values

    def into(self, raw: NDArray[Any], codes: NDArray[np.uint8], out: NDArray[Any]) -> None:
        """Write the overlay into ``out``."""
        # Imported here: numba takes longer to load than a crop takes to export.
        from neuroconn.vaa3d.kernels import look_up

        look_up(raw, codes, self.table, self.low, out)


def _rows(mix: Mix, raw: NDArray[Any], distances: NDArray[np.float64]) -> NDArray[Any]:
    shape = 1, len(raw), _CODES
    pairs = np.broadcast_to(raw[:, None], shape), np.broadcast_to(distances, shape)
    mixed: NDArray[Any] = mix(*pairs)[0]
    return mixed
