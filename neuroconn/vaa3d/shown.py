"""What the voxels of a volume become before Vaa3D shows them and looks for a click in them.

TeraFly turns every 16-bit view into 8 bits, stretched by the view's own maximum; the 3D viewer
reads 16-bit files opened directly as signed numbers. Markers are placed in what comes out of this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_shown_by_terafly(view: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn a view into the 8 bits that TeraFly shows of it ("local max", its default).

    With the view's maximum ``m`` and ``k = ceil(log2(m))``, a voxel is the upper byte of the lower
    16 bits of ``v * 2 ** (16 - k)``. Where ``m`` is a power of two that is 0 for the brightest
    voxels: a fault of TeraFly, kept here.

    Parameters
    ----------
    view : ndarray of uint8 or uint16
        The voxels loaded at once; bytes are shown as they are.

    Returns
    -------
    ndarray of uint8, same shape

    Raises
    ------
    ValueError
        If the voxels are neither: TeraFly reads no other.

    Examples
    --------
    >>> as_shown_by_terafly(np.array([0, 100, 3000], dtype=np.uint16))
    array([  0,   6, 187], dtype=uint8)
    >>> as_shown_by_terafly(np.array([0, 100, 4096], dtype=np.uint16))
    array([0, 6, 0], dtype=uint8)
    """
    if view.dtype == np.uint8:
        return view
    if view.dtype != np.uint16:
        raise ValueError(f"TeraFly reads uint8 and uint16, not {view.dtype}")
    bits = (int(view.max(initial=0)) - 1).bit_length() if view.size else 0
    if bits == 0 or not view.any():  # a maximum of 1: all of its one bit is shifted out
        return np.zeros(view.shape, dtype=np.uint8)
    return ((view << np.uint16(16 - bits)) >> np.uint16(8)).astype(np.uint8)


def as_opened_directly(volume: NDArray[Any]) -> NDArray[Any]:
    """Reinterpret 16-bit voxels as signed, as the 3D viewer does with a file that was opened.

    Above 32767 the brightest voxels turn negative, and a click avoids them.

    Examples
    --------
    >>> as_opened_directly(np.array([1, 32767, 65535], dtype=np.uint16)).tolist()
    [1, 32767, -1]
    """
    return volume.view(np.int16) if volume.dtype == np.uint16 else volume
