"""Ridges and blobs of a block of voxels, by the curvature of the smoothed image.

With eigenvalues a, b, c of the Hessian of a bright line (two clearly negative, one near 0), a plane
(one negative) and a blob (three), all turned positive, the invariants

    e1 = a + b + c        e2 = ab + ac + bc        e3 = abc

tell them apart without solving for them: 9 e3 / e1 is 0 on lines and planes and 3 a² in a blob, e2
is 0 on planes, a² on lines and 3 a² in blobs. So e2 - 9 e3 / e1 is left of lines only. What planes
leave out is what brains are full of: stripes, flicker from plane to plane, edges of tiles.

On the flank of a blob the image is a line too, but a steep one: the gradient is subtracted.

Sums of whole numbers below 2^53 are exact in any order and with any instruction set: smoothing with
whole weights gives the same bits on every machine and in whatever blocks a volume is read. All that
follows are single additions, products, quotients and roots, which IEEE 754 rounds in one way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Sigma: TypeAlias = tuple[float, float, float]
Volume: TypeAlias = NDArray[np.float32]

CHANNELS = ("ridge", "wide ridge", "blob")
"""What :func:`responses` looks for, by index."""

_SCALES = (1.0, 2.0, 3.0)
"""Smoothing of each channel, in voxels of the finest axis."""
_LEAST = 0.6
"""Smoothing along an axis of long voxels: below it a kernel is a single weight."""
_WHOLE = 1 << 12
"""Sum of the weights of a kernel: three passes over 16 bits stay below 2^53."""
_CUT = 4.0
"""Standard deviations after which a kernel is cut."""
_LARGEST = 1e9
"""Beyond it products of three curvatures leave float32."""
_STEEP = 0.25
"""How much of the squared gradient is held against a voxel: half a voxel off a line costs 6 %."""


def halo(spacing: Sequence[float]) -> tuple[int, int, int]:
    """Voxels around a block that :func:`responses` looks at, along (z, y, x).

    Examples
    --------
    >>> halo((1.0, 1.0, 1.0)), halo((4.0, 1.0, 1.0))
    ((13, 13, 13), (4, 13, 13))
    """
    z, y, x = (_reach(s) + 1 for s in _sigma(_SCALES[-1], spacing))
    return z, y, x


def responses(voxels: NDArray[np.generic], spacing: Sequence[float]) -> Iterator[Volume]:
    """How much each voxel looks like a line, a wide line and a blob, in units of shot noise.

    Parameters
    ----------
    voxels : (z, y, x) array
        Grey values with :func:`halo` voxels on each face. Whole numbers of at most 16 bits make
        the result the same everywhere; of other values the last digits may differ.
    spacing : (z, y, x) floats
        Size of a voxel in any unit: kernels are as wide in space, not in voxels.

    Yields
    ------
    (z, y, x) float32 array
        One for each of :data:`CHANNELS`, without the halo. 0 where there is nothing; the noise of
        light is a few tenths.
    """
    margin = halo(spacing)
    sigmas = [_sigma(scale, spacing) for scale in _SCALES]
    smooth = [_smoothed(voxels, sigma, margin) for sigma in sigmas]
    # Shot noise grows with the light around; 1 where it is dark.
    noise = np.sqrt(np.maximum(_core(smooth[1]), np.float32(1)))
    yield np.divide(_line(smooth[0], sigmas[0]), noise, dtype=np.float32)
    yield np.divide(_line(smooth[1], sigmas[1]), noise, dtype=np.float32)
    yield np.divide(_blob(smooth[2], sigmas[2]), noise, dtype=np.float32)


def _line(smooth: Volume, sigma: Sigma) -> Volume:
    e1, e2, e3, steep = _invariants(smooth, sigma)
    squared = e2 - 9 * np.maximum(e3, 0) / e1 - np.float32(_STEEP) * steep
    return np.sqrt(np.where(e2 > 0, np.maximum(squared, 0), 0))


def _blob(smooth: Volume, sigma: Sigma) -> Volume:
    e1, e2, e3, steep = _invariants(smooth, sigma)
    squared = 3 * np.maximum(e3, 0) / e1 - np.float32(_STEEP) * steep
    return np.sqrt(np.where(e2 > 0, np.maximum(squared, 0), 0))


def _invariants(smooth: Volume, sigma: Sigma) -> tuple[Volume, Volume, Volume, Volume]:
    """Return e1, e2 and e3 of the negated Hessian, and the squared gradient.

    Where e1 is not positive the voxel is no maximum of any kind: e1 is infinite and e2 is 0.
    """
    zz, yy, xx, zy, zx, yx = _hessian(smooth, sigma)
    e1 = -(zz + yy + xx)
    minor = yy * xx - yx * yx
    e2 = zz * (yy + xx) - zy * zy - zx * zx + minor
    e3 = -(zz * minor - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx))
    rising = e1 <= 0
    e1[rising], e2[rising] = np.inf, 0
    steep = np.zeros_like(e1)
    for axis, s in enumerate(sigma):
        step = (_core(smooth, axis, 1) - _core(smooth, axis, -1)) * np.float32(s / 2)
        steep += step * step
    return e1, e2, e3, steep


def _hessian(smooth: Volume, sigma: Sigma) -> list[Volume]:
    """Second differences zz, yy, xx, zy, zx, yx, each times its kernel's widths."""
    twice = 2 * _core(smooth)
    out = []
    for axis, s in enumerate(sigma):
        around = _core(smooth, axis, 1) + _core(smooth, axis, -1)
        out.append((around - twice) * np.float32(s * s))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        same = _core(smooth, a, 1, b, 1) + _core(smooth, a, -1, b, -1)
        cross = _core(smooth, a, 1, b, -1) + _core(smooth, a, -1, b, 1)
        out.append((same - cross) * np.float32(sigma[a] * sigma[b] / 4))
    return out


def _core(volume: Volume, *moves: int) -> Volume:
    """Return the volume without its outer voxels, moved by pairs of (axis, step)."""
    shift = [0, 0, 0]
    for axis, step in zip(moves[::2], moves[1::2], strict=True):
        shift[axis] += step
    z, y, x = (slice(1 + s, n - 1 + s) for s, n in zip(shift, volume.shape, strict=True))
    return volume[z, y, x]


def _smoothed(voxels: NDArray[np.generic], sigma: Sigma, margin: tuple[int, int, int]) -> Volume:
    """Smooth, and cut to what the kernels and one voxel around the block leave valid."""
    if voxels.dtype.kind == "f":
        voxels = np.nan_to_num(voxels.astype(np.float64), nan=0.0).clip(-_LARGEST, _LARGEST)
    smooth = voxels.astype(np.float32)
    for axis, s in enumerate(sigma):
        smooth = ndimage.correlate1d(smooth, _kernel(s), axis, output=np.float32, mode="nearest")
        # What lies at the ends has seen the edge of the block, and nobody asks for it.
        keep = slice(margin[axis] - 1, smooth.shape[axis] - margin[axis] + 1)
        smooth = smooth[(slice(None),) * axis + (keep,)]
    return np.multiply(smooth, np.float32(_WHOLE**-3.0), dtype=np.float32)


@cache
def _kernel(sigma: float) -> NDArray[np.float64]:
    """Whole weights of a Gaussian, of a fixed sum."""
    at = np.arange(-_reach(sigma), _reach(sigma) + 1)
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    whole = np.rint(weights * (_WHOLE / weights.sum()))
    whole[len(at) // 2] += _WHOLE - whole.sum()
    return np.asarray(whole, dtype=np.float64)


def _reach(sigma: float) -> int:
    return max(1, math.ceil(_CUT * sigma))


def _sigma(scale: float, spacing: Sequence[float]) -> Sigma:
    finest = min(spacing)
    z, y, x = (max(_LEAST, round(scale * finest / s, 3)) for s in spacing)
    return z, y, x
